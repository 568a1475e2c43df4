"""The losses, by hand, and the update that follows them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chimp_jax import optim, steps
from chimp_jax.models import losses

TAI = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15)


def loss_of(kind: str, prediction, label, mask=None):
    prediction, label = jnp.array(prediction), jnp.array(label)
    mask = jnp.ones_like(label) if mask is None else jnp.array(mask)
    return losses.make_loss(kind, TAI)(prediction, label, mask)


def test_huber_by_hand():
    """Errors 0.5, 3 and -2: 0.5^2 / 2 + (3 - 0.5) + (2 - 0.5)."""
    assert loss_of('huber', [1.5, 4.0, 0.0], [1.0, 1.0, 2.0]) == pytest.approx(0.125 + 2.5 + 1.5)


def test_interval_by_hand():
    """9 is the middle of 8..10 and 0.5 of 0..1; 3.2 is no middle, so its error counts in full."""
    assert loss_of('interval', [9.9], [9.0]) == 0
    assert loss_of('interval', [10.5], [9.0]) == pytest.approx(0.5)
    assert loss_of('interval', [7.0], [9.0]) == pytest.approx(1.0)
    assert loss_of('interval', [0.1], [0.5]) == 0
    assert loss_of('interval', [3.5], [3.2]) == pytest.approx(0.3, abs=1e-6)
    assert loss_of('interval', [16.0, 3.5], [13.5, 3.2]) == pytest.approx(1.0 + 0.3, abs=1e-6)


@pytest.mark.parametrize('kind', losses.LOSSES)
def test_a_masked_label_has_no_loss_and_no_gradient(kind):
    def total(prediction):
        return loss_of(kind, prediction, [20.0, 7.0], [0.0, 1.0])

    value, gradient = jax.value_and_grad(total)(jnp.array([2.0, 9.0]))
    assert gradient.tolist() == [0.0, 1.0] and value > 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="train.loss is 'mae' or 'huber' or 'interval', not 'mse'"):
        losses.check_loss('mse', TAI, regions=False)
    with pytest.raises(ValueError, match='regions=False'):
        losses.check_loss('huber', TAI, regions=True)
    with pytest.raises(ValueError, match='rising'):
        losses.check_loss('interval', (0, 2, 2), regions=False)
    losses.check_loss('mae', (), regions=True)


@pytest.mark.parametrize('kind,gradient', [('mae', 1.0), ('huber', 0.7), ('interval', 0.5)])
def test_an_update_follows_the_loss_and_tells_the_absolute_error(kind, gradient):
    """The prediction is the parameter 1.9 for both labels, 0.1 and 1.5: the errors are 1.8 and 0.4.

    Gradients of the mean: (1 + 1) / 2; (1 + 0.4) / 2; 1.5 is the middle of 1..2, so (1 + 0) / 2.
    """

    class Model:
        regions = False

    def forward(params, batch_stats, part, key, *, model):
        return params['w'] * jnp.ones_like(part['distance']), batch_stats

    plateau = optim.make_plateau(0.5, factor=0.5, patience=3, min_delta=1e-4, min_lr=1e-8)
    optimizer, params = optax.sgd(1.0), {'w': jnp.array(1.9)}
    state = steps.TrainState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(jax.random.key(0)),
        params=params,
        batch_stats={},
        opt_state=optimizer.init(params),
        plateau=plateau.init({}),
    )
    batch = {'distance': jnp.array([[0.1], [1.5]]), 'mask': jnp.ones((2, 1))}
    step = functools.partial(
        steps.train_step,
        model=Model(),
        optimizer=optimizer,
        axis_name='replica',
        forward=forward,
        loss=losses.make_loss(kind, TAI),
    )
    one = jax.tree.map(lambda x: x[None], (state, batch))
    after, error = jax.vmap(step, in_axes=(0, 0, None), axis_name='replica')(*one, jnp.array(0.5))
    assert float(after.params['w'][0]) == pytest.approx(1.9 - 0.5 * gradient)
    np.testing.assert_allclose([error.total[0], error.count[0]], [1.8 + 0.4, 2], rtol=1e-6)
