"""Swish and its CPU form of tanh, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np

from chimp_jax.activation import rational, swish

X = np.concatenate([np.linspace(-30, 30, 60001), [0.0, -0.0, 1e-30, -1e-6, 1e30, -1e30]]).astype(np.float32)


def exact(x):
    return x.astype(np.float64) / (1 + np.exp(-np.clip(x.astype(np.float64), -700, 700)))


def test_the_cpus_tanh_is_within_float32_rounding_also_far_out_and_near_zero():
    np.testing.assert_allclose(rational(X), np.tanh(X.astype(np.float64)), rtol=5e-7, atol=0)
    assert float(rational(jnp.float32(np.inf))) == 1.0
    assert np.isnan(rational(jnp.float32(np.nan)))


def test_swish_is_x_times_sigmoid():
    np.testing.assert_allclose(swish(X), exact(X), rtol=1e-6, atol=3e-6)


def test_its_derivative_is_the_closed_form():
    x = X[np.abs(X) < 100]
    sigmoid = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected = sigmoid * (1 + x * (1 - sigmoid))
    np.testing.assert_allclose(jax.vmap(jax.grad(swish))(x), expected, atol=2e-6)


def test_bfloat16_is_computed_in_float32():
    x = X[np.abs(X) < 100].astype(jnp.bfloat16)
    assert swish(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(swish(x).astype(np.float32), exact(x.astype(np.float32)), rtol=2**-8, atol=3e-6)


def test_only_a_cpu_has_the_rational_function():
    traced = jax.jit(swish).trace(jax.ShapeDtypeStruct((4,), jnp.float32))
    found = {name: 'stablehlo.tanh' in traced.lower(lowering_platforms=(name,)).as_text() for name in ('cpu', 'tpu')}
    assert found == {'cpu': False, 'tpu': True}
