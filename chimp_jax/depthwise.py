"""Depthwise convolution: one meaning, a form of it that is quick on a CPU, and one for a TPU's first layers.

XLA's CPU backend runs a grouped convolution about 30 times slower than a sum of k * k shifted multiply-adds, and its
gradient slower still. A TPU runs it on its vector unit; with few channels a dense convolution on the matrix unit is
quicker by the compiler's own account (docs/tpu_compiler.md). On a GPU the plain convolution is right.
`depthwise_conv` chooses inside one program, by the platform that the program is compiled for; tests hold all forms
equal, forward and gradient.

Shapes: x [B, H, W, C]; kernel [k, k, 1, C]; y [B, ceil(H / stride), ceil(W / stride), C]; padding as TensorFlow's
SAME (asymmetric at stride 2).
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

# Rows of a TPU's matrix unit: with as many channels or fewer a dense convolution is one pass for each of its taps.
MATRIX_UNIT = 128


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Depthwise convolution with TensorFlow's SAME padding; equals `plain`."""
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_shifted, stride=stride),
        tpu=functools.partial(dense if x.shape[-1] <= MATRIX_UNIT else plain, stride=stride),
        default=functools.partial(plain, stride=stride),
    )


def plain(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The definition: a convolution in as many groups as channels."""
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
    """`plain` as one convolution of all channels with all, zero but for its diagonal; so is the input's gradient."""
    return _dense(x, kernel, stride)


@dense.defjvp
def _dense_jvp(stride, primals, tangents):
    x, kernel = primals
    # The kernel's gradient comes from the plain form: from the dense one, most of what is computed is thrown away.
    # A custom_jvp, not a custom_vjp, for the reason in `_shifted`.
    tangent = _dense(tangents[0], kernel, stride) + plain(x, tangents[1], stride)
    return dense(x, kernel, stride), tangent


def _dense(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    diagonal = kernel * jnp.eye(x.shape[-1], dtype=kernel.dtype)
    return lax.conv_general_dilated(x, diagonal, (stride, stride), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _shifted(x, kernel, stride):
    """The CPU's form. Only it has a gradient of its own: a custom_vjp around the plain form would, under a vmap over
    frames, compute the kernel's gradient for each frame, in layouts that cost a TPU more than the convolution."""
    return _shifted_sum(x, kernel, stride)


def _forward(x, kernel, stride):
    return _shifted_sum(x, kernel, stride), (x, kernel)


def _backward(stride, saved, grad):
    return _shifted_gradients(*saved, grad, stride)


_shifted.defvjp(_forward, _backward)


def same_padding(size: int, k: int, stride: int) -> tuple[int, int, int]:
    """Output size, padding before and after (the odd one after), as TensorFlow's SAME."""
    out = -(-size // stride)
    total = max((out - 1) * stride + k - size, 0)
    return out, total // 2, total - total // 2


def pad_same(x: jax.Array, k: int, stride: int) -> tuple[jax.Array, int, int]:
    """The padded pictures, and the rows and columns of the output."""
    _, h, w, _ = x.shape
    rows, top, bottom = same_padding(h, k, stride)
    columns, left, right = same_padding(w, k, stride)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    # Without the barrier XLA computes what is before the padding k * k times, once for each shift.
    return lax.optimization_barrier(padded), rows, columns


def _shifted_sum(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    k = kernel.shape[0]
    padded, rows, columns = pad_same(x, k, stride)
    return sum(
        padded[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
        * kernel[i, j, 0]
        for i in range(k)
        for j in range(k)
    )


def _shifted_gradients(x: jax.Array, kernel: jax.Array, grad: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    return _input_gradient(x.shape, kernel, grad, stride), _kernel_gradient(x, kernel, grad, stride)


def _input_gradient(shape: tuple[int, ...], kernel: jax.Array, grad: jax.Array, stride: int) -> jax.Array:
    """Again a shifted sum. At stride 2 each of the four parities of a pixel has its own taps; they are interleaved."""
    b, h, w, c = shape
    k = kernel.shape[0]
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


def _kernel_gradient(x: jax.Array, kernel: jax.Array, grad: jax.Array, stride: int) -> jax.Array:
    """A scan over the rows of all pictures with k * k accumulators; every row is read while it is in the cache.

    Under a vmap over frames one frame after the other: sums for all frames of a row at once are ten times slower.
    """
    k = kernel.shape[0]
    total = sequential_vmap(lambda x, grad: _tap_sums(x, grad, k, stride))(x, grad)
    return total.reshape(kernel.shape).astype(kernel.dtype)


def _tap_sums(x: jax.Array, grad: jax.Array, k: int, stride: int) -> jax.Array:
    """[k * k, C] float32: of each tap, the sum over all pixels of what it saw times the gradient."""
    padded, rows, columns = pad_same(x, k, stride)
    b, _, width, c = padded.shape

    def add_row(total, index):
        picture, row = index // rows, index % rows
        above = lax.dynamic_slice(padded, (picture, row * stride, 0, 0), (1, k, width, c))[0]
        out = lax.dynamic_slice(grad, (picture, row, 0, 0), (1, 1, columns, c))[0, 0]
        taps = [
            jnp.sum(
                above[i, j : j + stride * (columns - 1) + 1 : stride] * out,
                axis=0,
                dtype=jnp.float32,
            )
            for i in range(k)
            for j in range(k)
        ]
        return total + jnp.stack(taps), None

    return lax.scan(add_row, jnp.zeros((k * k, c), jnp.float32), jnp.arange(b * rows))[0]
