"""1x1 convolution: a product on the channels, of which a TPU's compiler has to be told that it is a convolution."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

NUMBERS = (((3,), (0,)), ((), ()))


def pointwise_dot_general(x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
    """x [B, H, W, C], kernel [C, F] -> [B, H, W, F], for `dot_general` of nn.Dense.

    Around products the TPU's compiler lays pictures out with W in the lanes, around convolutions with B; a network
    of both spends a fourth of its step in copies from one to the other (docs/tpu_compiler.md).
    Raises ValueError for any other product.
    """
    if x.ndim != 4 or dimension_numbers != NUMBERS:
        raise ValueError(f'a product over the channels of pictures is meant, not {dimension_numbers} of {x.shape}')

    product = cpu_product if _has_long_gradient(x, kernel) else plain
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(product, precision=precision),
        tpu=functools.partial(pointwise_convolution, precision=precision),
        default=functools.partial(plain, precision=precision),
    )


def plain(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The definition."""
    return lax.dot_general(x, kernel, NUMBERS, precision=precision)


def pointwise_convolution(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """The same, said as a convolution."""
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return lax.conv_general_dilated(
        x, kernel[None, None], (1, 1), 'VALID', dimension_numbers=numbers, precision=precision
    )


def _has_long_gradient(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether the product widens, and has more pixels than it has channels."""
    return kernel.shape[0] < kernel.shape[1] < x.size // x.shape[3]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def cpu_product(x: jax.Array, kernel: jax.Array, precision: Any = None) -> jax.Array:
    """`plain`, with a gradient for a CPU: one of its operands is transposed, and here that is the narrow one.

    The automatic one transposes the gradient, six times as wide in the blocks' first layers: five times slower.
    """
    return plain(x, kernel, precision)


def _forward(x, kernel, precision):
    return plain(x, kernel, precision), (x, kernel)


def _backward(precision, saved, grad):
    x, kernel = saved
    grad = lax.optimization_barrier(grad)  # else it is computed twice, once for each product
    pixels = (((0, 1, 2), (0, 1, 2)), ((), ()))
    return (
        lax.dot_general(grad, kernel, (((3,), (1,)), ((), ())), precision=precision),
        lax.dot_general(x, grad, pixels, precision=precision),
    )


cpu_product.defvjp(_forward, _backward)


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
