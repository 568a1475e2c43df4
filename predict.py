"""Distances from trained members: python predict.py --members runs --records data --out distances.csv

Flags only; `python predict.py --help` lists them. The console script chimp-distance is the same command.
"""

from chimp_jax.commands import entry

if __name__ == '__main__':
    entry.start()
