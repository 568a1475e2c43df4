"""Trains members: python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

`python train.py --help` lists the flags. The console script chimp-train is the same command.
"""

from chimp_jax.commands.training import chimp_train

if __name__ == '__main__':
    chimp_train.start()
