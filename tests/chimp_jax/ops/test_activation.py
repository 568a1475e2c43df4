"""Swish and its CPU form, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiled import as_in_use

from chimp_jax.ops.activation import by_tanh, rational, swish

X = np.concatenate([np.linspace(-30, 30, 60001), [0.0, -0.0, 1e-30, -1e-6, 1e30, -1e30]]).astype(np.float32)


def exact(x):
    return x.astype(np.float64) / (1 + np.exp(-np.clip(x.astype(np.float64), -700, 700)))


def test_both_forms_equal_x_times_sigmoid_far_out_and_near_zero():
    for form in (rational, by_tanh, swish):
        np.testing.assert_allclose(form(X), exact(X), rtol=4e-7, atol=6e-6, err_msg=str(form))
    near = X[np.abs(X) < 5]
    np.testing.assert_allclose(rational(near), exact(near), rtol=0, atol=1e-6)
    positive = X[X > 0]  # the result has the relative error of the sigmoid here, 3 units in the last place
    np.testing.assert_allclose(rational(positive), exact(positive), rtol=3.6e-7, atol=0)
    assert float(rational(jnp.float32(np.inf))) == np.inf
    assert float(rational(jnp.float32(-np.inf))) == pytest.approx(0, abs=6e-6)
    assert np.isnan(rational(jnp.float32(np.nan)))


def test_its_derivative_is_the_closed_form():
    x = X[np.abs(X) < 100]
    sigmoid = 1 / (1 + np.exp(-x.astype(np.float64)))
    expected = sigmoid * (1 + x * (1 - sigmoid))
    np.testing.assert_allclose(as_in_use(jax.vmap(jax.grad(swish)))(x), expected, atol=2e-6)


def test_bfloat16_is_computed_in_float32():
    x = X[(X > -3) & (X < 100)].astype(jnp.bfloat16)  # below -3, x * sigmoid(x) is smaller than tanh's rounding
    assert swish(x).dtype == jnp.bfloat16
    expected = exact(x.astype(np.float32)).astype(jnp.bfloat16)  # rounded once, at the end
    assert np.mean(np.asarray(swish(x)) == expected) > 0.999
    # XLA's CPU backend drops intermediate rounding anyway. On a TPU the program must request tanh in float32.
    text = jax.jit(swish).trace(jax.ShapeDtypeStruct((4,), jnp.bfloat16)).lower(lowering_platforms=('tpu',)).as_text()
    assert [line.split(':')[-1].strip() for line in text.splitlines() if 'stablehlo.tanh' in line] == ['tensor<4xf32>']


def test_only_a_cpu_has_the_rational_function():
    traced = jax.jit(swish).trace(jax.ShapeDtypeStruct((4,), jnp.float32))
    found = {name: 'stablehlo.tanh' in traced.lower(lowering_platforms=(name,)).as_text() for name in ('cpu', 'tpu')}
    assert found == {'cpu': False, 'tpu': True}
