"""How programs are traced, and how their traces are kept for later starts."""
