"""A depthwise convolution between two functions of pixels, in strips of rows, so that wide maps stay in a CPU's cache.

In evaluation, the layers before a depthwise convolution (1x1 convolution, batch norm, swish) and after it act on each
pixel alone. At 512 x 512 the widest map has 25 MB, and a core waits for memory longer than it computes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.ops.depthwise import depthwise_conv, same_padding, sum_shifted
from chimp_jax.programs.platforms import by_platform

Pixelwise = Callable[[jax.Array], jax.Array]

WIDE_BYTES = 8 << 20  # a larger map is computed in strips
STRIP_BYTES = 7 << 19  # largest strip of a map, including its overlap with the next strip


def depthwise_between(x: jax.Array, kernel: jax.Array, stride: int, before: Pixelwise, after: Pixelwise) -> jax.Array:
    """Returns after(depthwise_conv(before(x), kernel, stride)); before and after act on each pixel alone.

    x [B, H, W, F], before(x) [B, H, W, C], kernel [k, k, 1, C] -> [B, ceil(H / stride), ceil(W / stride), C].
    """

    def whole(x: jax.Array) -> jax.Array:
        return after(depthwise_conv(before(x), kernel, stride))

    n = n_strips(x.shape, kernel.shape, stride)
    if n == 1:
        return whole(x)
    return by_platform(x, cpu=lambda x: in_strips(x, kernel, stride, before, after, n), default=whole)


def n_strips(shape: tuple[int, ...], kernel_shape: tuple[int, ...], stride: int) -> int:
    """Returns the number of strips that fit the cache, for pictures [B, H, W, _] and a kernel [k, k, 1, C], float32."""
    b, height, width, _ = shape
    k, channels = kernel_shape[0], kernel_shape[-1]
    row_bytes = 4 * b * width * channels
    if stride == 1 or row_bytes * height <= WIDE_BYTES:  # at stride 1 the result is as wide: strips save nothing
        return 1
    rows, _, _ = same_padding(height, k, stride)
    fitting = (n for n in range(1, rows) if rows % n == 0 and row_bytes * _seen(rows // n, k, stride) <= STRIP_BYTES)
    return next(fitting, rows)


def _seen(rows: int, k: int, stride: int) -> int:
    """Returns the number of input rows on which `rows` neighbouring rows of the result depend."""
    return (rows - 1) * stride + k


def in_strips(x: jax.Array, kernel: jax.Array, stride: int, before: Pixelwise, after: Pixelwise, n: int) -> jax.Array:
    """The form for a CPU: n strips, one after the other. n must divide the number of rows of the result."""
    b, height, width, _ = x.shape
    k = len(kernel)
    rows, top, bottom = same_padding(height, k, stride)
    _, left, right = same_padding(width, k, stride)
    around = jnp.pad(x, ((0, 0), (top, bottom), (0, 0), (0, 0)))
    seen = _seen(rows // n, k, stride)

    def strip(number: jax.Array) -> jax.Array:
        first = number * (rows // n) * stride  # a row of `around`
        h = before(lax.dynamic_slice_in_dim(around, first, seen, axis=1))
        # The convolution must see zeros around before(x), but before(0) is not 0.
        row = first - top + jnp.arange(seen)
        h = jnp.where(((row >= 0) & (row < height))[:, None, None], h, 0)
        # Without the barrier, XLA computes the operation before the padding k * k times, once for each shift.
        h = lax.optimization_barrier(jnp.pad(h, ((0, 0), (0, 0), (left, right), (0, 0))))
        return after(sum_shifted(h, kernel, stride))

    strips = lax.map(strip, jnp.arange(n))
    return jnp.moveaxis(strips, 0, 1).reshape(b, rows, *strips.shape[3:])
