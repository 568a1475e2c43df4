"""The published recipe: third place of the Deep Chimpact challenge (I. Ivanov, 2021).

    python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

trains the five folds of one model ID. The model ID is the configuration. On a TPU v3-8, the write-up reports about two
hours per fold: 40 epochs of 126 steps of about 1.2 s.

    python train.py --config=configs/deep_chimpact.py:all --workdir=runs [--recipes='full-*'] [--folds=0,1]

trains all sixty members, twelve recipes x five folds: about 120 hours on a TPU v3-8.

Published cross-validation MAE of the five folds by clip, in metres. It includes ImageNet weights to start from:
--config.start.init=imagenet.

    down-a1p50-f7s1  1.4054        full-a1p50-f7s1  1.3903
    down-a1p50-f9s1  1.4302        full-a1p50-f9s1  1.3874
    down-a1p80-f7s1  1.4645        full-a2p50-f7s1  1.3588
    down-a2p50-f7s1  1.3936        full-a4p50-f7s1  1.3382
    down-a2p80-f7s1  1.4306        full-a4p50-f7s2  1.3806
    down-a4p50-f7s1  1.3861
    down-a4p50-f7s2  1.4173

98 % of these rows come from sites that also have clips in other folds, so the figures are optimistic for new sites. For
the error on new sites set --config.data.folds=site.
"""

from ml_collections.config_dict import ConfigDict

from configs import base


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    """Returns the config of a model ID, or of `all`."""
    return base.get_config(recipe)
