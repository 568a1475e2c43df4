"""Files that want to harm the programs that read them: python -m bench.hostile."""
