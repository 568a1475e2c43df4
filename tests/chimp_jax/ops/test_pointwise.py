"""All forms of the 1x1 convolution equal the product over the channels, forward and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.ops.pointwise import gated_dot_general, pointwise_convolution, pointwise_dot_general

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


@pytest.mark.parametrize('size', [1, 9])
@pytest.mark.parametrize('channels,filters', [(4, 24), (24, 4)])
def test_gradients_equal_those_of_the_plain_product(size, channels, filters):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(3, 2, size, size, channels)).astype(np.float32)
    kernel = rng.normal(size=(channels, filters)).astype(np.float32)
    weight = rng.normal(size=(3, 2, size, size, filters)).astype(np.float32)

    def loss(x, k):
        return jnp.sum(weight * jax.vmap(lambda p: pointwise_dot_general(p, k, NUMBERS))(x))

    mine = jax.grad(loss, argnums=(0, 1))(x, kernel)
    # By hand: the loss is sum(weight * x @ kernel), so its gradients are weight @ kernel.T and x.T @ weight.
    np.testing.assert_allclose(mine[0], weight @ kernel.T, atol=2e-5)
    np.testing.assert_allclose(mine[1], x.reshape(-1, channels).T @ weight.reshape(-1, filters), atol=5e-5)


@pytest.mark.parametrize('channels,filters', [(4, 24), (24, 4)])
def test_on_a_cpu_the_kernels_gradient_transposes_the_narrow_operand_of_all_frames(channels, filters):
    shapes = [(3, 2, 5, 5, channels), (channels, filters)]

    def kernels_gradient(x, k):
        return jax.grad(lambda k: jnp.sum(jnp.sin(jax.vmap(lambda p: pointwise_dot_general(p, k, NUMBERS))(x))))(k)

    traced = jax.jit(kernels_gradient).trace(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    # A product over pixels transposes its first operand: here [150, 4], not [150, 24].
    wanted = 'tensor<150x4xf32>, tensor<150x24xf32>) -> tensor<4x24xf32>'
    found = {name: wanted in traced.lower(lowering_platforms=(name,)).as_text() for name in ('cpu', 'cuda', 'tpu')}
    assert found == {'cpu': True, 'cuda': False, 'tpu': False}


@pytest.mark.parametrize('batch', [1, 3])
def test_a_gate_is_a_factor_of_each_channel(batch):
    rng = np.random.default_rng(batch)
    x = rng.normal(size=(batch, 2, 3, 5)).astype(np.float32)
    gate = rng.uniform(size=(batch, 1, 1, 5)).astype(np.float32)
    kernel = rng.normal(size=(5, 6)).astype(np.float32)
    expected = np.einsum('bhwc,bc,cf->bhwf', x, gate[:, 0, 0], kernel)
    np.testing.assert_allclose(gated_dot_general(gate)(x, kernel, NUMBERS), expected, atol=1e-5)
    # The form of other platforms.
    np.testing.assert_allclose(pointwise_dot_general(x * gate, kernel, NUMBERS), expected, atol=1e-5)
