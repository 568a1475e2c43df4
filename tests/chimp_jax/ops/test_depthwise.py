"""The forms of the depthwise convolution for a CPU and a TPU equal the plain form, forward and gradient."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from chimp_jax.ops import depthwise

FORMS = (depthwise.plain_depthwise, depthwise.depthwise_conv, depthwise.dense)


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
    expected = tf.nn.depthwise_conv2d(x, kernel.transpose(0, 1, 3, 2), (1, stride, stride, 1), 'SAME').numpy()
    for y in jax.jit(lambda x, k: [form(x, k, stride) for form in FORMS])(x, kernel):
        np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize('kernel_size,stride', [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize('size', [1, 2, 3, 7, 8])
def test_gradients_equal_those_of_the_plain_form(kernel_size, stride, size):
    x, kernel = arrays(size, kernel_size)
    out = -(-size // stride)
    weight = np.random.default_rng(0).normal(size=(2, out, out, 5)).astype(np.float32)

    def gradient(form):
        return jax.grad(lambda x, k: jnp.sum(form(x, k, stride) * weight), argnums=(0, 1))

    expected, *others = jax.jit(lambda x, k: [gradient(form)(x, k) for form in FORMS])(x, kernel)
    for found in others:
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('rows,frames', [(32, 3), (53, 2), (6, 4)])
def test_gradients_of_tall_maps_and_under_vmap_equal_those_of_the_plain_form(rows, frames, stride):
    """Three cases: several groups of rows, a number of rows that no group divides, several pictures in a group."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(frames, 2, rows * stride, 5, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 1, 3)).astype(np.float32)
    weight = rng.normal(size=(frames, 2, rows, -(-5 // stride), 3)).astype(np.float32)

    def gradients(form):
        def loss(x, k):
            return jnp.sum(jax.vmap(lambda p: form(p, k, stride))(x) * weight)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(x, kernel)

    for mine, theirs in zip(gradients(depthwise.depthwise_conv), gradients(depthwise.plain_depthwise), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize(
    'rows,pictures,expected', [(256, 14, (16, 1)), (20, 3, (20, 1)), (8, 14, (8, 2)), (4, 3, (4, 3)), (53, 2, (1, 2))]
)
def test_groups_have_16_rows_or_a_few_more(rows, pictures, expected):
    assert depthwise._group(rows, pictures) == expected


def test_a_kernel_that_is_mapped_too_has_a_gradient_for_each_frame():
    rng = np.random.default_rng(1)
    x, kernels = rng.normal(size=(3, 2, 6, 6, 4)), rng.normal(size=(3, 3, 3, 1, 4))
    x, kernels = x.astype(np.float32), kernels.astype(np.float32)

    def gradient(form):
        return jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(jax.vmap(lambda p, k: form(p, k, 1))(x, k)))))(kernels)

    np.testing.assert_allclose(gradient(depthwise.depthwise_conv), gradient(depthwise.plain_depthwise), atol=2e-5)


def test_gradient_under_vmap_sums_over_the_mapped_pictures():
    x, kernel = arrays(6, 3, batch=4)

    def loss(form):
        return jax.jit(jax.grad(lambda k: jnp.sum(jnp.sin(jax.vmap(lambda p: form(p[None], k, 2))(x)))))(kernel)

    np.testing.assert_allclose(loss(depthwise.depthwise_conv), loss(depthwise.plain_depthwise), atol=2e-5)
    np.testing.assert_allclose(loss(depthwise.dense), loss(depthwise.plain_depthwise), atol=2e-5)


def convolutions(function, *shapes, platform):
    """Grouped and other convolutions in the program for the platform."""
    text = jax.jit(function).trace(*shapes).lower(lowering_platforms=(platform,)).as_text()
    groups = re.findall(r'batch_group_count = (\d+) : i64, feature_group_count = (\d+)', text)
    grouped = [int(n) * int(m) > 1 for n, m in groups]  # the kernel's gradient has groups of the batch
    return sum(grouped), len(grouped) - sum(grouped)


@pytest.mark.parametrize('channels,grouped,dense', [(128, 1, 2), (129, 3, 0)])
def test_each_platform_has_its_form(channels, grouped, dense):
    """A CPU has no convolution. A TPU has dense ones up to 128 channels, except for the kernel's gradient."""
    shapes = (
        jax.ShapeDtypeStruct((3, 2, 8, 8, channels), jnp.float32),
        jax.ShapeDtypeStruct((3, 3, 1, channels), jnp.float32),
    )

    def step(x, kernel):
        def loss(x, kernel):
            return jnp.sum(jnp.sin(jax.vmap(lambda p: depthwise.depthwise_conv(p, kernel, 1))(x)))

        return jax.grad(loss, argnums=(0, 1))(x, kernel)

    assert convolutions(step, *shapes, platform='cpu') == (0, 0)
    assert convolutions(step, *shapes, platform='tpu') == (grouped, dense)
    assert convolutions(step, *shapes, platform='cuda') == (3, 0)


def test_the_kernels_gradient_is_not_made_for_each_mapped_frame():
    """An earlier version had a group for each frame and channel; docs/tpu_compiler.md gives its cost."""

    def gradient(x, kernel):
        return jax.grad(lambda k: jnp.sum(jnp.sin(jax.vmap(lambda p: depthwise.depthwise_conv(p, k, 1))(x))))(kernel)

    shapes = (jax.ShapeDtypeStruct((7, 2, 8, 8, 160), jnp.float32), jax.ShapeDtypeStruct((3, 3, 1, 160), jnp.float32))
    text = jax.jit(gradient).trace(*shapes).lower(lowering_platforms=('tpu',)).as_text()
    assert set(re.findall(r'_group_count = (\d+)', text)) == {'1', '160'}
