"""1x1 convolution: a product on the channels, of which a TPU's compiler has to be told that it is a convolution."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.ops.mapped_frames import all_pictures_at_once

NUMBERS = (((3,), (0,)), ((), ()))


def pointwise_dot_general(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
    """x [B, H, W, C], kernel [C, F] -> [B, H, W, F], for `dot_general` of nn.Dense.

    Around products the TPU's compiler lays pictures out with W in the lanes, around convolutions with B; a network
    of both spends a fourth of its step in copies from one to the other (docs/tpu_compiler.md).
    Raises ValueError for any other product.
    """
    if x.ndim != 4 or dimension_numbers != NUMBERS:
        raise ValueError(f'a product over the channels of pictures is meant, not {dimension_numbers} of {x.shape}')

    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(cpu_product, precision=precision),
        tpu=functools.partial(pointwise_convolution, precision=precision),
        default=functools.partial(plain_pointwise, precision=precision),
    )


def plain_pointwise(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The definition."""
    return lax.dot_general(x, kernel, NUMBERS, precision=precision)


def pointwise_convolution(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The same, said as a convolution."""
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), 'VALID', dimension_numbers=numbers, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cpu_product(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """`plain`, with a gradient for a CPU."""
    return plain_pointwise(x, kernel, precision)


def _forward(x, kernel, precision):
    return plain_pointwise(x, kernel, precision), (x, kernel)


def _backward(precision, saved, grad):
    x, kernel = saved
    return all_pictures_at_once(functools.partial(_gradients, precision=precision), sums=(1,))(kernel, x, grad)


cpu_product.defvjp(_forward, _backward)


def _gradients(kernel: jax.Array, x: jax.Array, grad: jax.Array, precision: Any) -> tuple[jax.Array, jax.Array]:
    """One of a product's operands is transposed: for the kernel's gradient the narrow one, 6 times less to move."""
    channels, filters = kernel.shape
    pixels, grads = x.reshape(-1, channels), grad.reshape(-1, filters)
    narrow, wide = (pixels, grads) if channels < filters else (grads, pixels)
    product = lax.dot_general(narrow, wide, (((0,), (0,)), ((), ())), precision=precision)
    of_pixels = lax.dot_general(grads, kernel, (((1,), (1,)), ((), ())), precision=precision)
    return of_pixels.reshape(x.shape), product if channels < filters else product.T


def gated_dot_general(gate: jax.Array) -> Callable:
    """`pointwise_dot_general` of x times gate [B, 1, 1, C]: on a CPU the gate is multiplied into the kernel.

    For evaluation, where a CPU works picture by picture: many kernels in one product are no quicker.
    """

    def product(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
        def on_cpu(x, gate, kernel):
            return jnp.einsum('bhwc,bcf->bhwf', x, gate[:, 0, 0, :, None] * kernel, precision=precision)

        def elsewhere(x, gate, kernel):
            return pointwise_dot_general(x * gate, kernel, dimension_numbers, precision)

        return lax.platform_dependent(x, gate, kernel, cpu=on_cpu, default=elsewhere)

    return product
