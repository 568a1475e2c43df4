"""What can be wrong with a config, as far as it can be known without records.

This file does not import TensorFlow, because the process that only starts trainings should stay small.
"""

from collections.abc import Sequence

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.models.distance_model import compute_dtype
from chimp_jax.models.losses import check_loss
from chimp_jax.models.over_time import check_temporal
from chimp_jax.models.sound import check_audio
from chimp_jax.training.bounds import check_bounds, check_words
from chimp_jax.workdir import check_owner

_FROZEN = ('', 'backbone')  # values of config.train.frozen


def check_configs(configs: Sequence[ConfigDict], workdir) -> None:
    """Raises ValueError if a config cannot be trained, as far as it can be known without records."""
    for config in configs:
        check_bounds(config)
        check_words(config)
        compute_dtype(config.model.dtype)
        check_temporal(config.model.temporal)
        check_audio(config.model.audio, config.model.regions, config.train.frozen)
        check_loss(config.train.loss, config.train.bin_edges_m, config.model.regions)
        check_frozen(config)
        check_owner(epath.Path(workdir) / config.recipe, config)


def check_frozen(config: ConfigDict) -> None:
    """Raises ValueError if the config asks for a frozen backbone and for something that it rules out."""
    if config.train.frozen not in _FROZEN:
        raise ValueError(f'train.frozen is {" or ".join(map(repr, _FROZEN))}, not {config.train.frozen!r}')
    if not config.train.frozen:
        return
    if config.start.init == 'random':
        raise ValueError(
            'train.frozen=backbone would keep the random backbone of start.init=random; set --config.start.init=lite0, '
            'imagenet, a file or the folder of a trained recipe'
        )
    if config.data.composite_probability:
        raise ValueError(
            f'data.composite_probability={config.data.composite_probability} changes pictures, but train.frozen='
            'backbone encodes each picture once; set --config.data.composite_probability=0'
        )
