"""The depthwise convolution in strips equals the whole one at every edge. Only wide maps are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.ops import depthwise, strips


def pixelwise(rng, filters, channels):
    """Returns the functions before and after of a pixel; before(0) is not 0."""
    matrix, bias = rng.normal(size=(filters, channels)), rng.normal(size=channels)

    def before(x):
        return jnp.tanh(x @ matrix + bias)

    return before, lambda h: 2 * h + bias


@pytest.mark.parametrize('k, stride', [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize('height, width', [(16, 12), (15, 13), (12, 16)])
def test_strips_equal_the_whole(k, stride, height, width):
    rng = np.random.default_rng(0)
    before, after = pixelwise(rng, 3, 8)
    x, kernel = rng.normal(size=(2, height, width, 3)), rng.normal(size=(k, k, 1, 8))
    x, kernel = x.astype(np.float32), kernel.astype(np.float32)
    expected = after(depthwise.plain_depthwise(before(x), kernel, stride))
    rows = expected.shape[1]
    for n in [n for n in range(1, rows + 1) if rows % n == 0]:
        found = strips.in_strips(x, kernel, stride, before, after, n)
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=f'{n} strips')


def test_only_wide_maps_before_a_stride_are_cut():
    # B0 at 512 px: the map before block01's convolution is 256 x 256 x 96 float32, 25.2 MB; each of 8 strips of 16
    # rows of the result sees 33 rows, 3.2 MB. The map in block03, 128 x 128 x 144, is also larger than 8 MiB.
    assert strips.n_strips((1, 256, 256, 16), (3, 3, 1, 96), 2) == 8
    assert strips.n_strips((1, 128, 128, 24), (5, 5, 1, 144), 2) == 4
    assert strips.n_strips((1, 128, 128, 24), (3, 3, 1, 144), 1) == 1
    assert strips.n_strips((1, 64, 64, 40), (3, 3, 1, 240), 2) == 1


def test_a_cpu_takes_strips_and_others_do_not(monkeypatch):
    monkeypatch.setattr(strips, 'WIDE_BYTES', 1000)
    monkeypatch.setattr(strips, 'STRIP_BYTES', 2000)
    rng = np.random.default_rng(1)
    before, after = pixelwise(rng, 3, 4)
    kernel = rng.normal(size=(3, 3, 1, 4)).astype(np.float32)

    def f(x):
        return strips.depthwise_between(x, kernel, 2, before, after)

    x = rng.normal(size=(1, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(f(x), after(depthwise.plain_depthwise(before(x), kernel, 2)), atol=1e-5)
    traced = jax.jit(f).trace(x)
    loops = {name: 'stablehlo.while' in traced.lower(lowering_platforms=(name,)).as_text() for name in ('cpu', 'tpu')}
    assert loops == {'cpu': True, 'tpu': False}
