"""The sound of a window: its log-mel picture through a backbone of its own (config.model.audio).

The author of the method tried this alone, with EfficientNet-B0 (Ivanov 2021, section 10.1). data_prep.sound makes the
rows.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from chimp_jax.models.efficientnet import FEATURES, STAGES, EfficientNet, Stage

ALONE, WITH_FRAMES = 'alone', 'with_frames'
AUDIO = ('', ALONE, WITH_FRAMES)  # values of config.model.audio


def check_audio(audio: str, regions: bool, frozen: str) -> None:
    """Raises ValueError if config.model.audio is not one of AUDIO, or does not go with other fields."""
    if audio not in AUDIO:
        raise ValueError(f'model.audio is {", ".join(map(repr, AUDIO[:-1]))} or {AUDIO[-1]!r}, not {audio!r}')
    if audio and regions:
        raise ValueError(
            f'model.audio={audio} hears one sound for all animals, but model.regions=True gives each animal a distance '
            'of its own; set one of the two'
        )
    if audio and frozen:
        raise ValueError(
            f'model.audio={audio} trains a backbone for the sound, but train.frozen={frozen} trains on kept features '
            "of frames alone; set --config.train.frozen=''"
        )


class SoundEncoder(nn.Module):
    """Encodes log-mel pictures: rows [N, R, bands] uint8, 0 where there is no sound -> features [N, 1280].

    A picture without any sound gets a learnt constant. In training, the batch statistics do not see it.
    normalize: from pictures 0..255 [N, R, bands, 3] to floats.
    """

    normalize: Any
    axis_name: str | None = None  # of the replicas, for batch statistics over all of them
    drop_connect: float = 0.2
    bn_momentum: float = 0.9801
    dtype: Any = jnp.float32
    stages: tuple[Stage, ...] = STAGES
    backbone: str = 'efficientnet_b0'

    @nn.compact
    def __call__(self, rows: jax.Array, train: bool) -> jax.Array:
        has_sound = (rows > 0).any(axis=(1, 2))
        if train:
            rows = rows[_with_sound(has_sound)]
        pictures = self.normalize(jnp.broadcast_to(rows[..., None], (*rows.shape, 3)))
        encoder = EfficientNet(
            drop_connect=self.drop_connect,
            bn_momentum=self.bn_momentum,
            axis_name=self.axis_name,
            dtype=self.dtype,
            stages=self.stages,
            backbone=self.backbone,
            name='backbone',
        )
        features = encoder(x=pictures, train=train)
        unheard = self.param('unheard', nn.initializers.zeros_init(), (FEATURES,), jnp.float32)
        return jnp.where(has_sound[:, None], features, unheard.astype(features.dtype))


def _with_sound(has_sound: jax.Array) -> jax.Array:
    """Returns for each place [N] itself, or if it has no sound one of those that have."""
    heard = jnp.argsort(~has_sound, stable=True)
    place = jnp.arange(len(has_sound))
    return jnp.where(has_sound, place, heard[place % jnp.maximum(has_sound.sum(), 1)])
