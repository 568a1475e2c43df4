"""The published model: EfficientNet-B0 on every frame, an LSTM over the window, a dense head (Ivanov 2021, section 6).

It has two halves, so that a frame which several windows share is encoded once: `encode` turns frames into features,
`distance` turns windows of features into metres. `__call__` is both, for training.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from chimp_jax.models.efficientnet import STAGES, EfficientNet, Stage

REPLICA_AXIS = 'replica'  # name of the mapped axis of replicas, one per device
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(frames: jax.Array, kind: str, dtype: Any) -> jax.Array:
    """uint8 pictures -> floats. `unit`: x / 255, as published; `imagenet`: then ImageNet's mean and deviation."""
    x = frames.astype(jnp.float32) / 255.0
    if kind == 'imagenet':
        x = (x - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)
    elif kind != 'unit':
        raise ValueError(f"model.normalization is 'unit' or 'imagenet', not {kind!r}")
    return x.astype(dtype)


class FrameEncoder(nn.Module):
    """Frames [B, S, H, W, 3] float -> features [B, S, 1280]: the backbone mapped over the frames.

    All frames share the weights. Batch statistics are taken over batch and frames of a replica, as if both axes were
    merged. In evaluation both axes are merged. Drop-connect is drawn for each frame.
    """

    drop_connect: float = 0.2
    bn_momentum: float = 0.99
    bn_over_replicas: bool = False
    dtype: Any = jnp.float32
    stages: tuple[Stage, ...] = STAGES
    backbone: str = 'efficientnet_b0'

    @nn.compact
    def __call__(self, frames: jax.Array, train: bool) -> jax.Array:
        b, s, *picture = frames.shape
        settings = {
            'drop_connect': self.drop_connect,
            'bn_momentum': self.bn_momentum,
            'axis_name': ('frame', REPLICA_AXIS) if self.bn_over_replicas else 'frame',
            'dtype': self.dtype,
            'stages': self.stages,
            'backbone': self.backbone,
            'name': 'backbone',
        }
        if not train:  # no batch statistics are taken, so frames need no axis of their own
            return EfficientNet(**settings)(frames.reshape(b * s, *picture), train=False).reshape(b, s, -1)
        mapped = nn.vmap(
            EfficientNet,
            in_axes=(1, None),
            out_axes=1,
            variable_axes={'params': None, 'batch_stats': None},
            split_rngs={'params': False, 'dropout': True},
            axis_name='frame',
        )
        return mapped(**settings)(frames, train)  # nn.vmap maps keyword arguments, so `train` is positional


class LSTM(nn.Module):
    """Keras' LSTM: features [N, T, F] -> output of the last step [N, U].

    Gates in the order i, f, c, o from one kernel, one recurrent kernel and one bias; forget bias 1.
    """

    units: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        n, _, f = features.shape
        u = self.units
        kernel = self.param('kernel', nn.initializers.glorot_uniform(), (f, 4 * u))
        recurrent = self.param('recurrent_kernel', nn.initializers.orthogonal(), (u, 4 * u)).astype(self.dtype)
        bias = self.param('bias', lambda _: jnp.zeros(4 * u).at[u : 2 * u].set(1.0))
        # The inputs of all steps in one product; only the recurrent product has to wait for the step before.
        inputs = features.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)

        def step(carry, x):
            hidden, cell = carry
            i, f, c, o = jnp.split(x + hidden @ recurrent, 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(c)
            return (nn.sigmoid(o) * jnp.tanh(cell), cell), None

        start = jnp.zeros((n, u), self.dtype)
        (hidden, _), _ = jax.lax.scan(step, (start, start), inputs.swapaxes(0, 1))
        return hidden


class DistanceModel(nn.Module):
    """uint8 frames and windows of them -> distances in metres, float32, unbounded.

    The fields are those of config.model (configs/base.py gives their units and reasons), and `stages`.
    """

    dtype: Any = jnp.float32
    backbone: str = 'efficientnet_b0'
    normalization: str = 'unit'
    drop_connect: float = 0.2
    bn_momentum: float = 0.99
    bn_over_replicas: bool = False
    lstm_units: int = 1024
    dense_units: int = 300
    stages: tuple[Stage, ...] = STAGES  # fewer compile quickly, for tests

    def setup(self):
        dtype = jnp.dtype(self.dtype)  # config.model.dtype is a name
        self.encoder = FrameEncoder(
            drop_connect=self.drop_connect,
            bn_momentum=self.bn_momentum,
            bn_over_replicas=self.bn_over_replicas,
            dtype=dtype,
            stages=self.stages,
            backbone=self.backbone,
        )
        self.lstm = LSTM(units=self.lstm_units, dtype=dtype)
        self.dense = nn.Dense(self.dense_units, dtype=dtype, kernel_init=nn.initializers.glorot_uniform())
        # Metres stay float32: in bfloat16 distances of 16 m and more would move in steps of 1/8 m.
        self.output = nn.Dense(1, dtype=jnp.float32, kernel_init=nn.initializers.glorot_uniform())

    def __call__(self, frames: jax.Array, window: jax.Array, train: bool = False) -> jax.Array:
        """frames [B, S, H, W, 3] uint8, window [B, K, T] int positions among the S frames -> [B, K] metres."""
        b, k, t = window.shape
        features = self.encode(frames, train)
        windows = jax.vmap(lambda table, index: table[index])(features, window)
        return self.distance(windows.reshape(b * k, t, -1)).reshape(b, k)

    def encode(self, frames: jax.Array, train: bool = False) -> jax.Array:
        """frames [B, S, H, W, 3] uint8 -> features [B, S, 1280]."""
        return self.encoder(normalize(frames, kind=self.normalization, dtype=jnp.dtype(self.dtype)), train=train)

    def distance(self, windows: jax.Array) -> jax.Array:
        """windows of features [N, T, 1280] -> [N] metres, float32."""
        hidden = nn.relu(self.dense(self.lstm(windows)))
        return self.output(hidden.astype(jnp.float32))[:, 0]
