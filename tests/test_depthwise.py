"""The CPU form of the depthwise convolution equals the plain one, forward and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from chimp_jax import depthwise


def arrays(size, kernel_size, channels=5, batch=2):
    rng = np.random.default_rng(size * 10 + kernel_size)
    x = rng.normal(size=(batch, *size, channels)).astype(np.float32) if isinstance(size, tuple) else None
    if x is None:
        x = rng.normal(size=(batch, size, size, channels)).astype(np.float32)
    return x, rng.normal(size=(kernel_size, kernel_size, 1, channels)).astype(np.float32)


# The four kinds of B0's layers, on even and odd sizes, and on maps smaller than the kernel.
@pytest.mark.parametrize('kernel_size,stride', [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize('size', [1, 2, 3, 7, 8])
def test_equals_tensorflow_and_the_plain_form(kernel_size, stride, size):
    x, kernel = arrays(size, kernel_size)
    y = depthwise.depthwise_conv(x, kernel, stride)
    expected = tf.nn.depthwise_conv2d(x, kernel.transpose(0, 1, 3, 2), (1, stride, stride, 1), 'SAME').numpy()
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(depthwise.plain(x, kernel, stride), expected, atol=1e-5)


@pytest.mark.parametrize('kernel_size,stride', [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize('size', [1, 2, 3, 7, 8])
def test_gradients_equal_those_of_the_plain_form(kernel_size, stride, size):
    x, kernel = arrays(size, kernel_size)
    out = -(-size // stride)
    weight = np.random.default_rng(0).normal(size=(2, out, out, 5)).astype(np.float32)

    def gradients(form):
        return jax.grad(lambda x, k: jnp.sum(form(x, k, stride) * weight), argnums=(0, 1))(x, kernel)

    for mine, expected in zip(gradients(depthwise.depthwise_conv), gradients(depthwise.plain), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-5)


def test_gradient_under_vmap_sums_over_the_mapped_pictures():
    x, kernel = arrays(6, 3, batch=4)

    def loss(form):
        return jax.grad(lambda k: jnp.sum(jnp.sin(jax.vmap(lambda p: form(p[None], k, 2))(x))))(kernel)

    np.testing.assert_allclose(loss(depthwise.depthwise_conv), loss(depthwise.plain), atol=2e-5)


def test_one_program_holds_both_forms():
    x, kernel = arrays(8, 3)
    text = (
        jax.jit(lambda x, k: depthwise.depthwise_conv(x, k, 1))
        .trace(x, kernel)
        .lower(lowering_platforms=('cpu', 'tpu'))
        .as_text()
    )
    assert 'stablehlo.convolution' in text and 'optimization_barrier' in text
