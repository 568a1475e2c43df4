"""Convolution with zeros of k // 2 pixels around a picture, as in PyTorch, with a fast form for a CPU.

A 3x3 convolution at stride 1 takes 9 products for each pixel and pair of channels. Winograd's way takes 36 for each
tile of 4x4 pixels, a quarter (A. Lavin and S. Gray 2016, "Fast Algorithms for Convolutional Neural Networks",
arXiv:1509.09308, F(4x4, 3x3)). It needs the kernel in another form, which `transform_kernel` computes once.

Only evaluation uses this form: its gradient is not faster. At stride 2, and if there are few channels, XLA's own
convolution is faster.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from chimp_jax.ops.pointwise import NUMBERS, pointwise_dot_general
from chimp_jax.programs.platforms import by_platform

TILE = 4  # pixels of a tile's side, of which the form needs SEEN pixels of the input
SEEN = TILE + 2
LEAST_CHANNELS = 48  # with fewer, the sums before and after the products take longer than the form saves

# Lavin and Gray, section 4.3: the input, the kernel and the products of a row of a tile.
OF_INPUT = np.float64(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
OF_KERNEL = np.float64([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / np.float64([[24]])
OF_PRODUCTS = np.float64([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def convolve(x: jax.Array, kernel: jax.Array, stride: int, transformed: jax.Array | None = None) -> jax.Array:
    """Returns the convolution of x [B, H, W, C] with a kernel [k, k, C, F], padded by k // 2 zeros on each side.

    transformed: `transform_kernel` of the kernel, None for XLA's own convolution. Only a CPU uses it.
    """
    if kernel.shape[:2] == (1, 1) and stride == 1:
        return pointwise_dot_general(x, kernel[0, 0], NUMBERS, lax.Precision.HIGHEST)
    plain = functools.partial(plain_convolution, stride=stride)
    if transformed is None:
        return plain(x, kernel)
    return by_platform(
        x,
        kernel,
        transformed,
        cpu=lambda x, _, transformed: in_tiles(x, transformed),
        default=lambda x, kernel, _: plain(x, kernel),
    )


def plain_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The definition."""
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        precision=lax.Precision.HIGHEST,  # a TPU or GPU rounds float32 by default
    )


def has_tiles(shape: Sequence[int], stride: int) -> bool:
    """Returns whether the form in tiles is right and faster for a kernel of this shape [k, k, C, F]."""
    return tuple(shape[:2]) == (3, 3) and stride == 1 and min(shape[2:]) >= LEAST_CHANNELS


@jax.jit
def transform_kernel(kernel: jax.Array) -> jax.Array:
    """Returns the kernel [3, 3, C, F] in the form for `in_tiles`: [36, C, F]."""
    by_row = [_weighted(row, list(kernel)) for row in OF_KERNEL]
    return jnp.stack([_weighted(column, list(row)) for row in by_row for column in OF_KERNEL])


@jax.jit  # layers of equal shapes are traced once
def in_tiles(x: jax.Array, transformed: jax.Array) -> jax.Array:
    """The form for a CPU: x [B, H, W, C], transformed [36, C, F] -> [B, H, W, F]."""
    b, height, width, channels = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    beyond = ((0, 0), (1, 1 + down * TILE - height), (1, 1 + across * TILE - width), (0, 0))
    # Without the barriers, XLA computes the operation before the padding and the sums once for each use.
    padded = lax.optimization_barrier(jnp.pad(x, beyond))

    def every(array: jax.Array, first: int, n: int, axis: int) -> jax.Array:
        return lax.slice_in_dim(array, first, first + (n - 1) * TILE + 1, TILE, axis)

    products = []
    for i, weights in enumerate(OF_INPUT):
        row = _weighted(weights, [every(padded, first, down, 1) for first in range(SEEN)])
        for j, weights in enumerate(OF_INPUT):
            point = _weighted(weights, [every(row, first, across, 2) for first in range(SEEN)])
            point = lax.optimization_barrier(point.reshape(-1, channels))
            products.append(jnp.dot(point, transformed[i * SEEN + j]))

    by_row = [[_weighted(weights, products[column::SEEN]) for column in range(SEEN)] for weights in OF_PRODUCTS]
    pixels = [_weighted(weights, row) for row in by_row for weights in OF_PRODUCTS]
    # XLA interleaves the 16 pixels of the tiles faster if they lie in one array first.
    tiles = lax.optimization_barrier(jnp.stack(pixels)).reshape(TILE, TILE, b, down, across, -1)
    whole = tiles.transpose(2, 3, 0, 4, 1, 5).reshape(b, down * TILE, across * TILE, -1)
    return whole[:, :height, :width]


def _weighted(weights: np.ndarray, arrays: Sequence[jax.Array]) -> jax.Array:
    """Returns the sum of the arrays times weights, without the terms of weight 0."""
    terms = [
        array if weight == 1 else array * np.float32(weight)
        for weight, array in zip(weights, arrays, strict=True)
        if weight
    ]
    return functools.reduce(lax.add, terms)
