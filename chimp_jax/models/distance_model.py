"""The published model: EfficientNet-B0 on every frame, an LSTM over the window, a dense head (Ivanov 2021, section 6).

The model has two halves, so that a frame that several windows share is encoded once: `encode` turns frames into
features, and `distance` turns windows of features into metres. Training calls both by `__call__`. Training with a
frozen backbone calls `look` once for each frame, and `distances_of_look` in each update.

With `audio`, the sound of the window has a backbone of its own (sound.py), whose feature joins the LSTM's output or
replaces frames and LSTM.

With `regions`, a frame has a token for the whole frame, which is the published feature, and one for each animal
(regions.py). LSTM and head take windows of either. over_time.py has other modules in the place of the LSTM.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from chimp_jax.models.efficientnet import STAGES, EfficientNet, Stage
from chimp_jax.models.over_time import make_over_time
from chimp_jax.models.regions import Pooled, RegionBranch, pool_boxes
from chimp_jax.models.sound import ALONE, SoundEncoder
from data_prep.sound.log_mel import BANDS, ROWS

REPLICA_AXIS = 'replica'  # name of the mapped axis of replicas, one per device
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DTYPES = ('float32', 'bfloat16', 'float16')  # of the computation


def compute_dtype(name: Any) -> Any:
    """Returns the dtype of config.model.dtype. Raises ValueError for all but DTYPES."""
    try:
        found = jnp.dtype(name)
    except TypeError:
        found = None
    if found is None or found.name not in DTYPES:
        raise ValueError(f'model.dtype is {", ".join(map(repr, DTYPES[:-1]))} or {DTYPES[-1]!r}, not {str(name)!r}')
    return jnp.dtype(found.name)  # in the byte order of this machine


def normalize(frames: jax.Array, kind: str, dtype: Any) -> jax.Array:
    """Converts pictures 0..255 (uint8, or float32 if augmented) to floats by x / 255 (kind `unit`, as published).

    With kind `imagenet` the function then subtracts ImageNet's mean and divides by its standard deviation.
    """
    x = frames.astype(jnp.float32) / 255.0
    if kind == 'imagenet':
        x = (x - jnp.array(IMAGENET_MEAN)) / jnp.array(IMAGENET_STD)
    elif kind != 'unit':
        raise ValueError(f"model.normalization is 'unit' or 'imagenet', not {kind!r}")
    return x.astype(dtype)


class FrameEncoder(nn.Module):
    """Maps the backbone over frames: [B, S, H, W, 3] float -> features [B, S, 1280].

    All frames share the weights. Batch statistics cover the batch and the frames of a replica, as if both axes were
    merged. Evaluation merges both axes. Drop-connect is drawn for each frame.
    with_maps: returns the two maps of EfficientNet besides, [B, S, h, w, C] each.
    """

    drop_connect: float = 0.2
    bn_momentum: float = 0.9801
    bn_over_replicas: bool = False
    dtype: Any = jnp.float32
    stages: tuple[Stage, ...] = STAGES
    backbone: str = 'efficientnet_b0'
    with_maps: bool = False

    @nn.compact
    def __call__(self, frames: jax.Array, train: bool) -> jax.Array | tuple[jax.Array, jax.Array, jax.Array]:
        b, s, *picture = frames.shape
        settings = {
            'drop_connect': self.drop_connect,
            'bn_momentum': self.bn_momentum,
            'axis_name': ('frame', REPLICA_AXIS) if self.bn_over_replicas else 'frame',
            'dtype': self.dtype,
            'stages': self.stages,
            'backbone': self.backbone,
            'with_maps': self.with_maps,
            'name': 'backbone',
        }
        if not train:  # evaluation takes no batch statistics, so the frames need no axis of their own
            encoded = EfficientNet(**settings)(x=frames.reshape(b * s, *picture), train=False)
            return jax.tree.map(lambda x: x.reshape(b, s, *x.shape[1:]), encoded)
        mapped = nn.vmap(
            EfficientNet,
            in_axes=(1, None),
            out_axes=1,
            variable_axes={'params': None, 'batch_stats': None},
            split_rngs={'params': False, 'dropout': True},
            axis_name='frame',
        )
        return mapped(**settings)(frames, train)  # positional: nn.vmap maps every keyword argument, also `train`


class DistanceModel(nn.Module):
    """The network from uint8 frames and their windows to distances in metres, float32, unbounded.

    The fields are the fields of config.model (configs/base.py gives their units and reasons) and `stages`.
    """

    dtype: Any = jnp.float32
    backbone: str = 'efficientnet_b0'
    normalization: str = 'unit'
    drop_connect: float = 0.2
    bn_momentum: float = 0.9801
    bn_over_replicas: bool = False
    temporal: str = 'lstm'
    lstm_units: int = 1024
    dense_units: int = 300
    regions: bool = False
    audio: str = ''
    stages: tuple[Stage, ...] = STAGES  # tests use fewer stages, which compile faster

    def setup(self):
        dtype = compute_dtype(self.dtype)  # config.model.dtype is a name
        settings = {
            'drop_connect': self.drop_connect,
            'bn_momentum': self.bn_momentum,
            'dtype': dtype,
            'stages': self.stages,
            'backbone': self.backbone,
        }
        if self.audio:
            self.sound_encoder = SoundEncoder(
                normalize=functools.partial(normalize, kind=self.normalization, dtype=dtype),
                axis_name=REPLICA_AXIS if self.bn_over_replicas else None,
                **settings,
            )
        if self.sees_frames:
            self.encoder = FrameEncoder(bn_over_replicas=self.bn_over_replicas, with_maps=self.regions, **settings)
            self.over_time = make_over_time(self.temporal, self.lstm_units, dtype)
        if self.regions:
            self.region_branch = RegionBranch(dtype=dtype)
        self.dense = nn.Dense(self.dense_units, dtype=dtype, kernel_init=nn.initializers.glorot_uniform())
        # The output stays float32: in bfloat16 distances from 16 m on would have steps of 1/8 m.
        self.output = nn.Dense(1, dtype=jnp.float32, kernel_init=nn.initializers.glorot_uniform())

    @property
    def sees_frames(self) -> bool:
        """Whether the model takes frames, and not the sound alone."""
        return self.audio != ALONE

    def __call__(
        self,
        frames: jax.Array | None,
        window: jax.Array,
        boxes: jax.Array | None = None,
        sound: jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Predicts distances: frames [B, S, H, W, 3] uint8, window [B, K, T] positions of frames -> [B, K] metres.

        With boxes [B, S, A, 5] (regions.py) the result is [B, K, 1 + A]: the whole frame's distance, then one for each
        slot of boxes. A slot holds the same animal in all frames. A slot without a box in the window has the whole
        frame's distance.
        A model with `audio` takes the rows around each frame, sound [B, S, R, bands] uint8. With the sound alone,
        frames are None.
        """
        if self.audio:
            return self._distances_with_sound(frames, window, sound, train)
        tokens = self.encode(frames=frames, boxes=boxes, train=train)
        if boxes is None:
            return self._distances(tokens[:, :, None], window)[..., 0]
        # The whole frames' windows are a call of their own, so their products have the published shapes and bits.
        whole, animals = self._distances(tokens[:, :, :1], window), self._distances(tokens[:, :, 1:], window)
        return _with_unseen(whole, animals, window, boxes)

    def _distances_with_sound(self, frames, window: jax.Array, sound: jax.Array, train: bool) -> jax.Array:
        b, k, t = window.shape

        def cut(table):
            chosen = jax.vmap(lambda table, index: table[index])(table, window)
            return chosen.reshape(b * k, t, *table.shape[2:])

        rows = cut(sound)
        heard = self.hear(rows=rows.reshape(b * k, -1, rows.shape[-1]), train=train)
        windows = cut(self.encode(frames=frames, train=train)) if self.sees_frames else None
        return self.distance(windows=windows, heard=heard).reshape(b, k)

    def hear(self, rows: jax.Array, train: bool = False) -> jax.Array:
        """Encodes the rows of windows, [N, T * R, bands] uint8 -> features [N, 1280]."""
        return self.sound_encoder(rows=rows, train=train)

    def _distances(self, tokens: jax.Array, window: jax.Array) -> jax.Array:
        """tokens [B, S, P, 1280], window [B, K, T] -> the distance of each of the P places, [B, K, P] metres."""
        b, k, t = window.shape
        windows = jax.vmap(lambda table, index: table[index])(tokens, window).swapaxes(2, 3)
        places = windows.shape[2]
        return self.distance(windows=windows.reshape(b * k * places, t, -1)).reshape(b, k, places)

    def distances_of_look(
        self, features: jax.Array, window: jax.Array, pooled: Pooled | None = None, boxes: jax.Array | None = None
    ) -> jax.Array:
        """Predicts distances from the results of `look` [B, S, ...]: window [B, K, T] -> as `__call__`.

        The LSTM's product of the inputs is computed once for each frame, and all windows of an example share it. So the
        last bits may differ from those of `__call__`.
        """
        tokens = features[:, :, None] if boxes is None else self.tokens(features=features, pooled=pooled, boxes=boxes)
        inputs = self.over_time.product(tokens)
        # A product with zeros and ones in place of indexing: its gradient is a product, too, and not a scatter.
        chosen = jax.nn.one_hot(window, inputs.shape[1], dtype=inputs.dtype)
        windows = jnp.einsum('bkts,bspu->bkptu', chosen, inputs, precision='highest')
        metres = self._head(self.over_time.after_product(windows.reshape(-1, *windows.shape[3:])))
        metres = metres.reshape(windows.shape[:3])
        return metres[..., 0] if boxes is None else _with_unseen(metres[..., :1], metres[..., 1:], window, boxes)

    def encode(self, frames: jax.Array, boxes: jax.Array | None = None, train: bool = False) -> jax.Array:
        """Encodes frames [B, S, H, W, 3] uint8 -> features [B, S, 1280].

        With boxes [B, S, A, 5] the result is [B, S, 1 + A, 1280]: the frame's feature, then a token for each box. A
        model without `regions` raises ValueError for boxes.
        """
        features, pooled = self.look(frames=frames, boxes=boxes, train=train)
        return features if boxes is None else self.tokens(features=features, pooled=pooled, boxes=boxes)

    def look(
        self, frames: jax.Array, boxes: jax.Array | None = None, train: bool = False
    ) -> tuple[jax.Array, Pooled | None]:
        """Runs the backbone alone: frames [B, S, H, W, 3] uint8 -> features [B, S, 1280], what boxes pool (or None)."""
        pixels = normalize(frames, kind=self.normalization, dtype=jnp.dtype(self.dtype))
        encoded = self.encoder(frames=pixels, train=train)
        if not self.regions:
            if boxes is not None:
                raise ValueError('boxes require a model with model.regions=True')
            return encoded, None
        features, middle, top = encoded
        return features, None if boxes is None else pool_boxes(middle, top, boxes)

    def tokens(self, features: jax.Array, pooled: Pooled, boxes: jax.Array) -> jax.Array:
        """features [B, S, 1280] and what boxes [B, S, A, 5] pool -> tokens [B, S, 1 + A, 1280]."""
        return self.region_branch(features=features, pooled=pooled, boxes=boxes)

    def product(self, features: jax.Array) -> jax.Array:
        """Returns what windows with a common token share: features [N, 1280] -> [N, 4 U] (over_time.py)."""
        return self.over_time.product(features)

    def distance(
        self, windows: jax.Array | None, multiplied: bool = False, heard: jax.Array | None = None
    ) -> jax.Array:
        """Predicts the distance of each window of features: [N, T, 1280] -> [N] metres, float32.

        multiplied: the windows [N, T, 4 U] hold the results of `product`. heard: of a model with `audio`, the results
        of `hear` [N, 1280]; with the sound alone, windows are None.
        """
        parts = [] if heard is None else [heard]
        if windows is not None:
            parts.insert(0, self.over_time.after_product(windows) if multiplied else self.over_time(features=windows))
        return self._head(parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1))

    def _head(self, hidden: jax.Array) -> jax.Array:
        hidden = nn.relu(self.dense(inputs=hidden))
        return self.output(inputs=hidden.astype(jnp.float32))[:, 0]


def _with_unseen(whole: jax.Array, animals: jax.Array, window: jax.Array, boxes: jax.Array) -> jax.Array:
    """whole [B, K, 1], animals [B, K, A] metres -> [B, K, 1 + A]. A slot without a box in the window gets `whole`."""
    seen = jax.vmap(lambda table, index: table[index].any(axis=1))(boxes[..., 4] > 0, window)
    return jnp.concatenate([whole, jnp.where(seen, animals, whole)], axis=-1)


def fresh_variables(model: DistanceModel, seed: int) -> dict[str, Any]:
    """Returns {'params', 'batch_stats'} by the initialisers of the layers."""
    inputs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), smallest_inputs(model))
    # rbg is XLA's own generator. threefry, unrolled for a hundred arrays, takes half a minute to compile on a CPU.
    return _init(model, jax.random.key(seed, impl='rbg'), inputs)


def smallest_inputs(model: DistanceModel) -> dict[str, jax.ShapeDtypeStruct | None]:
    """Returns the shapes of inputs for model.init.

    Parameters depend neither on the picture's size nor on the number of frames, so the smallest ones are enough.
    """
    inputs = {
        'frames': jax.ShapeDtypeStruct((1, 1, 32, 32, 3), jnp.uint8) if model.sees_frames else None,
        'window': jax.ShapeDtypeStruct((1, 1, 1), jnp.int32),
    }
    if model.regions:
        inputs['boxes'] = jax.ShapeDtypeStruct((1, 1, 1, 5), jnp.float32)
    if model.audio:
        inputs['sound'] = jax.ShapeDtypeStruct((1, 1, ROWS, BANDS), jnp.uint8)
    return inputs


@functools.partial(jax.jit, static_argnums=0)  # here and not within a function, so that all folds share what is traced
def _init(model: DistanceModel, key: jax.Array, inputs: dict[str, jax.Array]) -> dict[str, Any]:
    return model.init(key, **inputs)
