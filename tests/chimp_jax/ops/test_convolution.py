"""The convolution in tiles equals PyTorch's padding by hand, TensorFlow and the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

from chimp_jax.ops import convolution


def arrays(height: int, width: int, k: int = 3):
    rng = np.random.default_rng(height * 10 + width)
    return rng.normal(size=(2, height, width, 5)).astype(np.float32), rng.normal(size=(k, k, 5, 7)).astype(np.float32)


def by_tensorflow(x, kernel, stride):
    """TensorFlow without padding of its own, after k // 2 zeros on each side as in PyTorch."""
    pad = len(kernel) // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    return tf.nn.conv2d(x.astype(np.float64), kernel.astype(np.float64), stride, 'VALID').numpy()


SIZES = [(1, 1), (4, 8), (5, 7)]  # a part of a tile, whole tiles, both


@pytest.mark.parametrize('size', SIZES)
def test_tiles_equal_tensorflow_and_the_plain_form(size):
    x, kernel = arrays(*size)
    expected = by_tensorflow(x, kernel, 1)
    transformed = convolution.transform_kernel(kernel)
    assert transformed.shape == (36, 5, 7)
    np.testing.assert_allclose(convolution.convolve(x, kernel, 1, transformed), expected, atol=1e-4)
    np.testing.assert_allclose(convolution.plain_convolution(x, kernel, 1), expected, atol=1e-5)


@pytest.mark.parametrize(('k', 'stride'), [(1, 1), (3, 1), (3, 2), (5, 2)])
def test_without_a_transformed_kernel_the_padding_is_that_of_pytorch(k, stride):
    x, kernel = arrays(8, 7, k)
    np.testing.assert_allclose(convolution.convolve(x, kernel, stride), by_tensorflow(x, kernel, stride), atol=1e-4)


def test_ones_by_hand():
    """A pixel of a picture of ones sees 4 pixels in a corner, 6 at an edge, 9 elsewhere."""
    transformed = convolution.transform_kernel(jnp.ones((3, 3, 1, 1)))
    found = convolution.in_tiles(jnp.ones((1, 3, 5, 1)), transformed)[0, :, :, 0]
    np.testing.assert_allclose(found, [[4, 6, 6, 6, 4], [6, 9, 9, 9, 6], [4, 6, 6, 6, 4]], atol=1e-5)


def test_a_kernel_with_one_one_at_each_place_shifts_the_picture():
    """The kernel of row i, column j takes the pixel (i - 1, j - 1) further. Holds each weight of the transforms."""
    x = np.random.default_rng(0).normal(size=(1, 9, 6, 1)).astype(np.float32)
    for i in range(3):
        for j in range(3):
            kernel = np.zeros((3, 3, 1, 1), np.float32)
            kernel[i, j] = 1
            expected = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))[:, i : i + 9, j : j + 6]
            found = convolution.in_tiles(x, convolution.transform_kernel(kernel))
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ('shape', 'stride', 'expected'),
    [
        ((3, 3, 48, 96), 1, True),
        ((3, 3, 96, 96), 2, False),  # every second pixel: other sums
        ((1, 1, 96, 96), 1, False),
        ((3, 3, 12, 24), 1, False),
        ((5, 5, 96, 96), 1, False),
    ],
)
def test_kernels_with_tiles(shape, stride, expected):
    assert convolution.has_tiles(shape, stride) is expected


def test_a_cpu_has_no_convolution_and_others_the_plain_one():
    x, kernel = arrays(8, 8)
    transformed = convolution.transform_kernel(kernel)
    traced = jax.jit(lambda x, k, t: convolution.convolve(x, k, 1, t)).trace(x, kernel, transformed)
    forms = {'cpu': False, 'tpu': True, 'cuda': True}
    found = {name: 'stablehlo.convolution' in traced.lower(lowering_platforms=(name,)).as_text() for name in forms}
    assert found == forms
