"""Depthwise convolution, with a form that is fast on a CPU and one for a TPU's first layers.

XLA's CPU backend runs a grouped convolution about 30 times slower than a sum of k * k shifted multiply-adds, and its
gradient slower still. On a TPU a grouped convolution runs on the vector unit; by the compiler estimate a dense
convolution on the matrix unit is faster if there are few channels (docs/tpu_compiler.md). On a GPU the plain
convolution is right. `depthwise_conv` chooses the form by the platform for which the program is compiled. Tests hold
all forms equal, forward and gradient.

Shapes: x [B, H, W, C]; kernel [k, k, 1, C]; y [B, ceil(H / stride), ceil(W / stride), C]. The padding is TensorFlow's
SAME (asymmetric at stride 2).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.ops.mapped_frames import all_pictures_at_once
from chimp_jax.programs.platforms import by_platform

# Rows of a TPU's matrix unit. With at most this many channels, a dense convolution takes one pass for each tap.
MATRIX_UNIT = 128

GROUP = 16  # rows, see _group


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Returns the depthwise convolution with TensorFlow's SAME padding; equals `plain_depthwise`."""
    return by_platform(
        x,
        kernel,
        cpu=functools.partial(_shifted, stride=stride, size=x.shape[1:3]),
        tpu=functools.partial(dense if x.shape[-1] <= MATRIX_UNIT else plain_depthwise, stride=stride),
        default=functools.partial(plain_depthwise, stride=stride),
    )


def plain_depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The definition: a convolution with one group for each channel."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        'SAME',
        dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
        feature_group_count=x.shape[-1],
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def dense(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Computes `plain_depthwise` as a convolution of all channels with all, whose kernel is zero off the diagonal.

    The gradient of the input has the same form.
    """
    return _dense(x, kernel, stride)


@dense.defjvp
def _dense_jvp(stride, primals, tangents):
    x, kernel = primals
    # The kernel's gradient uses the plain form: the dense form computes mostly values off the diagonal, which are
    # discarded. `_shifted` explains why this is a custom_jvp and not a custom_vjp.
    tangent = _dense(tangents[0], kernel, stride) + plain_depthwise(x, tangents[1], stride)
    return dense(x, kernel, stride), tangent


def _dense(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    diagonal = kernel * jnp.eye(x.shape[-1], dtype=kernel.dtype)
    return lax.conv_general_dilated(x, diagonal, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _shifted(x, kernel, stride, size):
    """The form for a CPU, the only one with a custom_vjp.

    Under a vmap over frames, a custom_vjp around the plain form would compute the kernel's gradient for each frame, in
    layouts that by the compiler estimate cost a TPU more than the convolution.
    """
    return _forward(x, kernel, stride, size)[0]


def _forward(x, kernel, stride, size):
    padded = pad_same(x, len(kernel), stride)
    return sum_shifted(padded, kernel, stride), (padded, kernel)


def _backward(stride, size, saved, grad):
    padded, kernel = saved
    gradients = functools.partial(_gradients, size=size, stride=stride)
    return all_pictures_at_once(gradients, sums=(1,))(kernel, padded, grad)


_shifted.defvjp(_forward, _backward)


def same_padding(size: int, k: int, stride: int) -> tuple[int, int, int]:
    """Returns the output size and TensorFlow's SAME padding before and after. An odd pixel of padding goes after."""
    out = -(-size // stride)
    total = max((out - 1) * stride + k - size, 0)
    return out, total // 2, total - total // 2


def pad_same(x: jax.Array, k: int, stride: int) -> jax.Array:
    """Pads pictures [B, H, W, C] with the zeros that the convolution sees around them."""
    _, top, bottom = same_padding(x.shape[1], k, stride)
    _, left, right = same_padding(x.shape[2], k, stride)
    around = ((0, 0), (top, bottom), (left, right), (0, 0))
    # Without the barrier, XLA computes the operation before the padding k * k times, once for each shift.
    (padded,) = all_pictures_at_once(lambda _, x: (lax.optimization_barrier(jnp.pad(x, around)),))(None, x)
    return padded


def sum_shifted(padded: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves padded pictures [B, H, W, C]: returns the sum of k * k shifted pictures."""
    k = len(kernel)
    rows, columns = ((size - k) // stride + 1 for size in padded.shape[1:3])
    return sum(_every(padded, i, j, rows, columns, stride) * kernel[i, j, 0] for i in range(k) for j in range(k))


def _gradients(
    kernel: jax.Array, padded: jax.Array, grad: jax.Array, size: tuple[int, int], stride: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of the pictures [B, *size, C] before padding and of the kernel."""
    of_kernel = _tap_sums(padded, grad, len(kernel), stride).reshape(kernel.shape).astype(kernel.dtype)
    if stride == 1:
        return _input_gradient(size, kernel, grad, stride), of_kernel
    # Picture by picture, the interleaved phases stay in the cache, and XLA does not recompute them.
    return lax.map(lambda one: _input_gradient(size, kernel, one[None], stride)[0], grad), of_kernel


@functools.partial(jax.jit, static_argnames=('size', 'stride'))
def _input_gradient(size: tuple[int, int], kernel: jax.Array, grad: jax.Array, stride: int) -> jax.Array:
    """Returns the gradient of the pictures, again a shifted sum.

    At stride 2, each of the four parities of a pixel has its own taps. The four sums are interleaved.
    """
    (h, w), k = size, len(kernel)
    b, _, _, c = grad.shape
    rows, top, _ = same_padding(h, k, stride)
    columns, left, _ = same_padding(w, k, stride)
    reach = (k - 1) // stride
    out_rows, out_columns = -(-(h + top) // stride), -(-(w + left) // stride)
    padded = lax.optimization_barrier(
        jnp.pad(
            grad,
            (
                (0, 0),
                (reach, max(out_rows - rows, 0)),
                (reach, max(out_columns - columns, 0)),
                (0, 0),
            ),
        )
    )

    def parity(p: int, q: int) -> jax.Array:
        return sum(
            padded[:, up : up + out_rows, back : back + out_columns] * kernel[i, j, 0]
            for i in range(p, k, stride)
            for j in range(q, k, stride)
            for up, back in [(reach - (i - p) // stride, reach - (j - q) // stride)]
        )

    phases = [jnp.stack([parity(p, q) for q in range(stride)], axis=3) for p in range(stride)]
    whole = jnp.stack(phases, axis=2).reshape(b, out_rows * stride, out_columns * stride, c)
    return whole[:, top : top + h, left : left + w]


@functools.partial(jax.jit, static_argnames=('k', 'stride'))  # layers of equal shapes are traced once
def _tap_sums(padded: jax.Array, grad: jax.Array, k: int, stride: int) -> jax.Array:
    """Returns the sum over all pixels of input times gradient for each tap: [k * k, C] float32.

    The function scans groups of rows that stay in the cache. It first adds the products of a group's rows, then the
    columns, as a product with ones.
    """
    b, rows, columns, c = grad.shape
    r, n = _group(rows, b)
    ones = jnp.ones((1, columns), jnp.float32)

    def add_group(total, number):
        picture, row = number // (rows // r) * n, number % (rows // r) * r
        above = lax.dynamic_slice(padded, (picture, row * stride, 0, 0), (n, (r - 1) * stride + k, *padded.shape[2:]))
        below = _rows(lax.dynamic_slice(grad, (picture, row, 0, 0), (n, r, columns, c)))

        def tap(i, j):
            seen = _rows(_every(above, i, j, r, columns, stride))
            products = map(lax.mul, seen, below)
            return jnp.matmul(ones, functools.reduce(lax.add, products).astype(jnp.float32), precision='highest')

        return total + jnp.concatenate([tap(i, j) for i in range(k) for j in range(k)]), None

    return lax.scan(add_group, jnp.zeros((k * k, c), jnp.float32), jnp.arange(b * rows // (r * n)))[0]


def _rows(pictures: jax.Array) -> list[jax.Array]:
    """Returns the rows of all pictures: [N, R, W, C] -> N * R arrays [W, C]."""
    n, r, w, c = pictures.shape
    # Indexing by jnp gives the same program; tracing it takes 5 times as long, half of the whole training step.
    return [
        lax.squeeze(lax.slice(pictures, (p, q, 0, 0), (p + 1, q + 1, w, c)), (0, 1)) for p in range(n) for q in range(r)
    ]


def _every(padded: jax.Array, i: int, j: int, rows: int, columns: int, stride: int) -> jax.Array:
    """Returns every stride-th row and column from (i, j): [B, H, W, C] -> [B, rows, columns, C]."""
    ends = (i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1)
    return lax.slice(padded, (0, i, j, 0), (len(padded), *ends, padded.shape[3]), (1, stride, stride, 1))


def _group(rows: int, pictures: int) -> tuple[int, int]:
    """Returns the number of rows and of pictures in a group: together 16 rows or a few more, in whole groups.

    XLA copies a slice, which then stays in the cache, only if the slice has 16 uses or more. With fewer rows the sums
    are three times slower.
    """
    fitting = [r for r in range(1, min(rows, 3 * GROUP) + 1) if rows % r == 0]
    r = min((r for r in fitting if r >= GROUP), default=fitting[-1])
    return r, next((n for n in range(1, pictures) if pictures % n == 0 and n * r >= GROUP), pictures)
