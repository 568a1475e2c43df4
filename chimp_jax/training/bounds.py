"""Bounds of a config's numbers, and the words that its texts may be.

Another value would end in an error far from its cause, or train nothing.
"""

import functools
import math
import operator

from etils import epath
from ml_collections.config_dict import ConfigDict

from chimp_jax.data.folds import KINDS

_BOUNDS = {  # (least, most); None: no bound
    'seed': (0, None),
    'data.size_px': (32, None),
    'data.n_folds': (2, None),
    'data.windows_per_example': (1, None),
    'data.frames_per_example': (0, None),
    'data.shares': (1, None),
    'data.shuffle_windows': (0, None),
    'model.lstm_units': (1, None),
    'model.dense_units': (1, None),
    'train.batch_size': (1, None),
    'train.micro_batches': (1, None),
    'train.epochs': (1, None),
    'train.save_minutes': (0, None),
    'train.early_stop_epochs': (0, None),
    'train.learning_rate': (0, None),
    'train.adam_b1': (0, 1),
    'train.adam_b2': (0, 1),
    'train.adam_eps': (0, None),
    'train.warmup_steps': (0, None),
    'train.plateau.factor': (0, 1),
    'train.plateau.patience': (0, None),
    'train.plateau.min_lr': (0, None),
    'train.decay_fraction': (0, 1),
}

_WORDS = {
    'data.stream': ('down', 'full'),
    'data.folds': KINDS,
    'model.backbone': ('efficientnet_b0', 'efficientnet_lite0'),
    'model.normalization': ('unit', 'imagenet'),
    'start.output_bias': ('zero', 'median'),
}
_STARTS = ('random', 'imagenet', 'lite0')


def check_words(config: ConfigDict) -> None:
    """Raises ValueError, with the name of the flag, if a text of the config is not an allowed word or a file."""
    for name, words in _WORDS.items():
        value = functools.reduce(operator.getitem, name.split('.'), config)
        if value not in words:
            raise ValueError(f'--config.{name}={value}: give {" or ".join(words)}')
    init = config.start.init
    path = init.removesuffix(':backbone')
    if init in _STARTS:
        return
    if not path.endswith(('.h5', '.safetensors')) and '/' not in path:
        raise ValueError(
            f'--config.start.init={init}: give {", ".join(_STARTS)}, a .h5 or .safetensors file, or the folder of a '
            'trained recipe'
        )
    if path.endswith(('.h5', '.safetensors')) and '{fold}' not in path and not epath.Path(path).expanduser().exists():
        raise ValueError(f'--config.start.init={init}: there is no such file; correct the path')


def check_bounds(config: ConfigDict) -> None:
    """Raises ValueError, with the name of the flag, if a number of the config is out of its bounds."""
    for name, (least, most) in _BOUNDS.items():
        value = functools.reduce(operator.getitem, name.split('.'), config)
        if not math.isfinite(value) or value < least or (most is not None and value > most):
            wanted = f'{least} or more' if most is None else f'{least} to {most}'
            raise ValueError(f'--config.{name}={value}: give a number that is {wanted}')
