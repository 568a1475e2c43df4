"""The mean over a picture equals NumPy's in float64; its gradient equals the one by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.ops import pooling

LARGE = (2, 65, 64, 3)  # one row more than the largest map that uses the product


def pictures(*shape):
    return np.random.default_rng(shape[1]).normal(3, 5, shape).astype(np.float32)


@pytest.mark.parametrize('shape', [(1, 1, 1, 8), (2, 3, 5, 1), (3, 16, 16, 40), (1, 64, 64, 8), LARGE])
def test_both_forms_are_the_mean(shape):
    x = pictures(*shape)
    expected = x.astype(np.float64).mean((1, 2), keepdims=True)
    for form in (pooling.picture_mean, pooling.plain_mean, pooling.as_product):
        np.testing.assert_allclose(form(x), expected, rtol=2e-5, atol=1e-6, err_msg=str(form))


def test_each_pixel_gets_an_equal_part_of_the_gradient():
    x = pictures(2, 4, 3, 5)
    weights = np.arange(10, dtype=np.float32).reshape(2, 1, 1, 5)
    gradient = jax.grad(lambda x: jnp.sum(weights * pooling.picture_mean(x)))(x)
    np.testing.assert_allclose(gradient, np.broadcast_to(weights / 12, x.shape), rtol=1e-6)


def test_bfloat16_is_summed_in_float32():
    x = np.ones((1, 48, 48, 1), jnp.bfloat16)  # in bfloat16 a sum of ones ends at 256
    for form in (pooling.picture_mean, pooling.as_product):
        assert form(x).dtype == jnp.bfloat16 and float(form(x)[0, 0, 0, 0]) == 1
    # XLA's CPU backend adds in float32 anyway; this checks that the program requests it.
    text = jax.jit(pooling.as_product).lower(x).as_text()
    assert [line.split()[-1] for line in text.splitlines() if 'stablehlo.dot_general' in line] == ['tensor<1x1xf32>']


def test_only_a_cpu_has_a_product_and_only_of_small_maps_and_without_a_gradient():
    def products(function, shape, platform):
        traced = jax.jit(function).trace(jax.ShapeDtypeStruct(shape, jnp.float32))
        return 'stablehlo.dot_general' in traced.lower(lowering_platforms=(platform,)).as_text()

    assert products(pooling.picture_mean, (1, 8, 8, 3), 'cpu')
    assert not products(pooling.picture_mean, (1, 8, 8, 3), 'tpu')
    assert not products(pooling.picture_mean, LARGE, 'cpu')
    assert not products(jax.grad(lambda x: jnp.sum(pooling.picture_mean(x))), (1, 8, 8, 3), 'cpu')
