"""The published recipe: third place of the Deep Chimpact challenge (I. Ivanov, 2021).

    python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

trains its five folds; on a TPU v3-8 the write-up took about two hours a fold. The model ID is the configuration.
"""

from ml_collections.config_dict import ConfigDict

from configs import base

# In the order of the write-up's table, without the prefix run-20211101-1526- and so on.
PUBLISHED = (
    'down-a1p50-f7s1',
    'down-a1p50-f9s1',
    'down-a2p50-f7s1',
    'down-a2p80-f7s1',
    'down-a1p80-f7s1',
    'down-a4p50-f7s1',
    'down-a4p50-f7s2',
    'full-a1p50-f7s1',
    'full-a1p50-f9s1',
    'full-a2p50-f7s1',
    'full-a4p50-f7s1',
    'full-a4p50-f7s2',
)


def get_config(recipe: str = 'full-a4p50-f7s1') -> ConfigDict:
    return base.get_config(recipe)
