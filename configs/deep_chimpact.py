"""The published recipe: third place of the Deep Chimpact challenge (I. Ivanov, 2021).

    python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

trains its five folds; on a TPU v3-8 the write-up took about two hours a fold. The model ID is the configuration.

    python train.py --config=configs/deep_chimpact.py:all --workdir=runs [--recipes='full-*'] [--folds=0,1]

trains all sixty members, twelve recipes x five folds, about 120 hours there.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    return base.get_config(recipe)
