"""Swish: one meaning, and a form of its tanh that is quick on a CPU."""

import jax
import jax.numpy as jnp
from jax import lax

# tanh(x) = x P(x^2) / Q(x^2) within 4e-7 for |x| up to LARGEST, beyond which tanh is 1 in float32. They are those of
# Eigen and XLA, which spend a comparison and a choice an element on small x as well; lowest power first.
NUMERATOR = (
    4.89352455891786e-03,
    6.37261928875436e-04,
    1.48572235717979e-05,
    5.12229709037114e-08,
    -8.60467152213735e-11,
    2.00018790482477e-13,
    -2.76076847742355e-16,
)
DENOMINATOR = (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
LARGEST = 7.90531110763549805


@jax.custom_jvp
def swish(x: jax.Array) -> jax.Array:
    """x * sigmoid(x), by tanh: on a CPU quicker than by exp, on a TPU a fifth less memory in training.

    In float32, as a TPU's vector unit computes anyway: rounding in between would cost it 0.5 GiB in training.
    """
    half = 0.5 * x.astype(jnp.float32)
    return (half * tanh(half) + half).astype(x.dtype)


@swish.defjvp
def _swish_jvp(primals, tangents):
    # In closed form, of one tanh: from the automatic one XLA makes three passes over the map more.
    (x,), (tangent,) = primals, tangents
    half = 0.5 * x.astype(jnp.float32)
    t = jnp.tanh(half)
    slope = 0.5 * ((1 + t) + half * (1 - t * t))
    return (half * t + half).astype(x.dtype), (slope * tangent).astype(x.dtype)


def tanh(x: jax.Array) -> jax.Array:
    """Equals jnp.tanh, for float32."""
    return lax.platform_dependent(x, cpu=rational, default=jnp.tanh)


def rational(x: jax.Array) -> jax.Array:
    """The CPU's form."""
    x = jnp.clip(x, -LARGEST, LARGEST)
    square = lax.square(x)
    return x * _polynomial(NUMERATOR, square) / _polynomial(DENOMINATOR, square)


def _polynomial(coefficients: tuple[float, ...], x: jax.Array) -> jax.Array:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total
