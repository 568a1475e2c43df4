"""The form of the first layer for a CPU equals the plain convolution, forward and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from chimp_jax.ops import stem


def arrays(height: int, width: int):
    rng = np.random.default_rng(height * 10 + width)
    return rng.normal(size=(2, height, width, 3)).astype(np.float32), rng.normal(size=(3, 3, 3, 8)).astype(np.float32)


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (7, 8), (8, 8)])
def test_equals_tensorflow_and_the_plain_form(size):
    x, kernel = arrays(*size)
    expected = tf.nn.conv2d(x, kernel, 2, 'SAME').numpy()
    np.testing.assert_allclose(stem.stem_convolution(x, kernel, (2, 2), 'SAME'), expected, atol=1e-5)
    np.testing.assert_allclose(stem.plain_stem(x, kernel), expected, atol=1e-5)


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (7, 8), (8, 8)])
def test_gradients_equal_those_of_the_plain_form_also_under_vmap(size):
    x, kernel = arrays(*size)

    def gradients(form):
        return jax.grad(lambda x, k: jnp.sum(jnp.sin(jax.vmap(lambda p: form(p[None], k))(x))), argnums=(0, 1))(
            x, kernel
        )

    mine = gradients(lambda x, k: stem.stem_convolution(x, k, (2, 2), 'SAME'))
    for one, other in zip(mine, gradients(stem.plain_stem), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_cpu_has_no_convolution_and_others_the_plain_one():
    shapes = (jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32), jax.ShapeDtypeStruct((3, 3, 3, 8), jnp.float32))
    traced = jax.jit(lambda x, k: stem.stem_convolution(x, k, (2, 2), 'SAME')).trace(*shapes)
    found = {name: 'stablehlo.convolution' in traced.lower(lowering_platforms=(name,)).as_text() for name in FORMS}
    assert found == FORMS


FORMS = {'cpu': False, 'tpu': True, 'cuda': True}


def test_another_convolution_is_refused():
    x, kernel = arrays(8, 8)
    with pytest.raises(ValueError, match='expected the 3 x 3 convolution of RGB pictures at stride 2'):
        stem.stem_convolution(x, kernel, (1, 1), 'SAME')
