"""Tables of result rows that may be larger than the memory: written and read in pieces."""
