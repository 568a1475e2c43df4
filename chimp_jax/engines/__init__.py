"""Scoring on many machines: Apache Beam's runners and JAX's processes run the functions of the local commands."""
