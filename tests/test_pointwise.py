"""The 1x1 convolution is one thing in two forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.pointwise import pointwise_convolution, pointwise_dot_general

NUMBERS = (((3,), (0,)), ((), ()))


def test_both_forms_are_the_product_on_the_channels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    kernel = rng.normal(size=(5, 6)).astype(np.float32)
    expected = np.einsum('bhwc,cf->bhwf', x, kernel)
    np.testing.assert_allclose(pointwise_dot_general(x, kernel, NUMBERS), expected, atol=1e-5)
    np.testing.assert_allclose(pointwise_convolution(x, kernel), expected, atol=1e-5)


def test_only_a_tpu_gets_the_convolution():
    traced = jax.jit(lambda x, k: pointwise_dot_general(x, k, NUMBERS)).trace(jnp.ones((2, 3, 4, 5)), jnp.ones((5, 6)))
    for platform, operation in (('cpu', 'dot_general'), ('cuda', 'dot_general'), ('tpu', 'convolution')):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert [name for name in ('dot_general', 'convolution') if f'stablehlo.{name}' in text] == [operation]


def test_another_product_is_refused():
    with pytest.raises(ValueError, match='channels of pictures'):
        pointwise_dot_general(jnp.ones((2, 5)), jnp.ones((5, 6)), (((1,), (0,)), ((), ())))
