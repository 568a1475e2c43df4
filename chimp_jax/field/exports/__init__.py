"""Writes distances for other programs: the R package Distance, Camtrap DP, zamba."""
