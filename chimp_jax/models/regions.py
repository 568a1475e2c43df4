"""The region branch: one more token per animal of a frame, of the same shape as the published feature.

A token is the frame's feature plus a correction made from the animal's box: what the maps show inside the box, and the
box's geometry. The last layer of the correction starts at zero, so all tokens start as the frame's feature.

Boxes [..., A, 5] hold x1, y1, x2, y2 as shares of the picture (0..1, from the upper left) and the confidence. A
confidence of 0 means no box. All shapes are static, and pooling is a matrix product per axis, without a gather.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import export

BINS = 7  # of the pooled region, per axis, as in Mask R-CNN (He et al. 2017, arXiv:1703.06870)
# Samples per bin and axis. In a box as wide as the picture, a bin of the map at stride 16 has 32 / 7 = 4.6 cells, and
# one sample reads two cells: four samples leave out no cell. The same holds for one bin on the 16 cells of the top map.
BIN_SAMPLES = 4
TOP_SAMPLES = 16
# Widths. At 512 px an animal takes 2.6 million products, 0.13 % of the 2.04 billion of a frame in B0: 1.0 for pooling,
# 0.6 for the region, 0.7 for the top map, 0.3 for the last layer. Bins of 32 channels and 256 hidden units make the
# layers after pooling about as expensive as pooling.
BIN_CHANNELS = 32
HIDDEN = 256
LEAST_HEIGHT = 1e-3  # of a box, as a share of the picture, before its logarithm is taken
FEET_CUT_OFF = 0.99  # a box whose lower edge is below has no foot point in the picture


def sampling_weights(low: jax.Array, high: jax.Array, n_cells: int, bins: int, samples: int) -> jax.Array:
    """Returns the weights [..., bins, n_cells] with which RoIAlign averages the cells of one axis of a map.

    low, high: [...] the box's edges as shares of the axis. Each bin is the mean of `samples` points, evenly spread
    within the bin. A point reads the two nearest cells by linear interpolation between their centres. Beyond the
    centres of the outer cells it reads the outer cell.
    """
    low, high = (jnp.clip(edge.astype(jnp.float32), 0.0, 1.0)[..., None] for edge in (low, high))
    n = bins * samples
    share = (jnp.arange(n, dtype=jnp.float32) + 0.5) / n
    position = jnp.clip((low + (high - low) * share) * n_cells - 0.5, 0.0, n_cells - 1.0)
    weights = jax.nn.relu(1.0 - jnp.abs(position[..., None] - jnp.arange(n_cells, dtype=jnp.float32)))
    return weights.reshape(*low.shape[:-1], bins, samples, n_cells).mean(-2)


def roi_align(maps: jax.Array, boxes: jax.Array, bins: int, samples: int) -> jax.Array:
    """Pools the boxes [..., A, 4 or more] from maps [..., H, W, C] -> [..., A, bins, bins, C], rows first."""
    height, width = maps.shape[-3:-1]
    rows = sampling_weights(boxes[..., 1], boxes[..., 3], height, bins, samples).astype(maps.dtype)
    columns = sampling_weights(boxes[..., 0], boxes[..., 2], width, bins, samples).astype(maps.dtype)
    return jnp.einsum('...axw,...aywc->...ayxc', columns, jnp.einsum('...ayh,...hwc->...aywc', rows, maps))


class Pooled(NamedTuple):
    """What the maps of a frame show in its boxes: all that the region branch needs of them."""

    bins: jax.Array  # [..., A, 7, 7, C] of the middle map
    mean: jax.Array  # [..., A, 1280] of the top map


export.register_namedtuple_serialization(Pooled, serialized_name='chimp_jax.Pooled')  # for kept traces


def pool_boxes(middle: jax.Array, top: jax.Array, boxes: jax.Array) -> Pooled:
    """Pools the boxes [..., A, 5] from the maps: middle [..., H, W, C] at stride 16, top [..., h, w, 1280]."""
    return Pooled(roi_align(middle, boxes, BINS, BIN_SAMPLES), roi_align(top, boxes, 1, TOP_SAMPLES)[..., 0, 0, :])


def box_geometry(boxes: jax.Array) -> jax.Array:
    """Returns seven numbers of each box [..., A, 5] -> [..., A, 7], float32.

    They are the middle column, the lower edge, width, height and its natural logarithm, the confidence, and 1 if the
    picture cuts off the feet.
    """
    x1, y1, x2, y2, confidence = (boxes[..., i].astype(jnp.float32) for i in range(5))
    height = y2 - y1
    log_height = jnp.log(jnp.maximum(height, LEAST_HEIGHT))
    cut_off = (y2 > FEET_CUT_OFF).astype(jnp.float32)
    return jnp.stack([(x1 + x2) / 2, y2, x2 - x1, height, log_height, confidence, cut_off], axis=-1)


class RegionBranch(nn.Module):
    """Makes the tokens of frames: the whole frame's, then one for each of A boxes.

    features [..., 1280], what is pooled from boxes [..., A, 5] -> [..., 1 + A, 1280]. Without a box, a token is the
    frame's feature.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, pooled: Pooled, boxes: jax.Array) -> jax.Array:
        def dense(width: int, name: str, **settings) -> nn.Dense:
            return nn.Dense(width, dtype=self.dtype, name=name, **settings)

        # After pooling, the layer works on 49 bins of each animal instead of the whole map.
        bins = nn.relu(dense(BIN_CHANNELS, 'reduce')(inputs=pooled.bins))
        bins = bins.reshape(*bins.shape[:-3], BINS * BINS * BIN_CHANNELS)
        # One layer for each source, so that seven numbers of geometry start with as much weight as thousands of pixels.
        hidden = nn.relu(
            dense(HIDDEN, 'bins', use_bias=False)(inputs=bins)
            + dense(HIDDEN, 'mean', use_bias=False)(inputs=pooled.mean)
            + dense(HIDDEN, 'geometry')(inputs=box_geometry(boxes))
        )
        zeros = nn.initializers.zeros
        delta = dense(features.shape[-1], 'delta', kernel_init=zeros, bias_init=zeros)(inputs=hidden)
        whole = features[..., None, :]
        animals = jnp.where(boxes[..., 4:] > 0, whole + delta, whole)
        return jnp.concatenate([whole, animals], axis=-2)
