"""1x1 convolution: a product over the channels, written as a convolution for a TPU."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from chimp_jax.ops.mapped_frames import all_pictures_at_once
from chimp_jax.programs.platforms import by_platform

NUMBERS = (((3,), (0,)), ((), ()))


def pointwise_dot_general(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
    """The `dot_general` of nn.Dense for pictures: x [B, H, W, C], kernel [C, F] -> [B, H, W, F].

    The TPU compiler puts W into the lanes around products, and B around convolutions. By its estimate, a network of
    both spends a fourth of its step on copies between the two layouts (docs/tpu_compiler.md).
    Raises ValueError for any other product.
    """
    if x.ndim != 4 or dimension_numbers != NUMBERS:
        raise ValueError(f'expected a product over the channels of pictures, not {dimension_numbers} of {x.shape}')

    return by_platform(
        x,
        kernel,
        cpu=functools.partial(cpu_product, precision=precision),
        tpu=functools.partial(pointwise_convolution, precision=precision),
        default=functools.partial(plain_pointwise, precision=precision),
    )


def plain_pointwise(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The definition: a product over the channels."""
    return lax.dot_general(x, kernel, NUMBERS, precision=precision)


def pointwise_convolution(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The same product, written as a convolution."""
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), 'VALID', dimension_numbers=numbers, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cpu_product(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """`plain_pointwise` with a gradient that is fast on a CPU."""
    return plain_pointwise(x, kernel, precision)


def _forward(x, kernel, precision):
    return plain_pointwise(x, kernel, precision), (x, kernel)


def _backward(precision, saved, grad):
    x, kernel = saved
    return all_pictures_at_once(functools.partial(_gradients, precision=precision), sums=(1,))(kernel, x, grad)


cpu_product.defvjp(_forward, _backward)


def _gradients(kernel: jax.Array, x: jax.Array, grad: jax.Array, precision: Any) -> tuple[jax.Array, jax.Array]:
    """Returns the gradients of x and of the kernel.

    A product transposes one operand. The kernel's gradient transposes the narrow one, which moves 6 times fewer bytes.
    """
    channels, filters = kernel.shape
    pixels, grads = x.reshape(-1, channels), grad.reshape(-1, filters)
    narrow, wide = (pixels, grads) if channels < filters else (grads, pixels)
    product = lax.dot_general(narrow, wide, (((0,), (0,)), ((), ())), precision=precision)
    of_pixels = lax.dot_general(grads, kernel, (((1,), (1,)), ((), ())), precision=precision)
    return of_pixels.reshape(x.shape), product if channels < filters else product.T


def gated_dot_general(gate: jax.Array) -> Callable:
    """Returns `pointwise_dot_general` of x times gate [B, 1, 1, C]. On a CPU the gate is multiplied into the kernel.

    It is for evaluation, in which a CPU works picture by picture. With many pictures, the many kernels save no time.
    """

    def product(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
        def on_cpu(x, gate, kernel):
            return jnp.einsum('bhwc,bcf->bhwf', x, gate[:, 0, 0, :, None] * kernel, precision=precision)

        def elsewhere(x, gate, kernel):
            return pointwise_dot_general(x * gate, kernel, dimension_numbers, precision)

        return by_platform(x, gate, kernel, cpu=on_cpu, default=elsewhere)

    return product
