"""Keras' Adam, the plateau that lowers its learning rate, and the loss scale of float16.

The plateau is optax.contrib.reduce_on_plateau. It gets the validation loss once per epoch, outside the chain of
updates. Inside the chain it would count updates, and flax's TrainState would pass it no loss. A test holds its sequence
equal to keras.callbacks.ReduceLROnPlateau.
"""

import jax
import jax.numpy as jnp
import optax
from flax.training.dynamic_scale import DynamicScale


def make_optimizer(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """Returns Adam with a learning rate of 1. train_step scales its direction, so the rate can change between epochs.

    As published, this is Keras' Adam. Keras adds epsilon before it corrects the bias of the second moment, optax adds
    it after. So epsilon here is Keras' epsilon divided by the correction: up to 32 times more in the first updates,
    which matters if gradients are as small as epsilon.
    """

    def keras_eps(count: jax.Array) -> jax.Array:
        return eps / jnp.sqrt(1.0 - b2 ** (count + 1.0))

    adam = optax.inject_hyperparams(optax.scale_by_adam, static_args=('b1', 'b2'))
    return optax.chain(adam(b1=b1, b2=b2, eps=keras_eps), optax.scale(-1.0))


def make_schedule(learning_rate: float, warmup_steps: int, decay_steps: int, total_steps: int) -> optax.Schedule:
    """Returns the rate of each update before the plateau's factor: linear warm-up, constant, linear decay to 0.

    The published recipe has neither warm-up nor decay: its rate is constant.
    """
    if warmup_steps + decay_steps > total_steps:
        raise ValueError(
            f'train.warmup_steps={warmup_steps} and the {decay_steps} steps of decay exceed the {total_steps} steps; '
            'lower train.warmup_steps or train.decay_fraction'
        )
    pieces = [optax.constant_schedule(learning_rate)]
    boundaries = []
    if warmup_steps:
        pieces.insert(
            0,
            optax.linear_schedule(learning_rate / (warmup_steps + 1), learning_rate, warmup_steps),
        )
        boundaries.append(warmup_steps)
    if decay_steps:
        pieces.append(optax.linear_schedule(learning_rate, 0.0, decay_steps))
        boundaries.append(total_steps - decay_steps)
    return optax.join_schedules(pieces, boundaries)


def make_plateau(
    learning_rate: float, factor: float, patience: int, min_delta: float, min_lr: float
) -> optax.GradientTransformationExtraArgs:
    """Returns the published plateau as a transformation. Its state carries the factor, see `next_plateau`."""
    return optax.contrib.reduce_on_plateau(
        factor=factor,
        patience=patience,
        rtol=0.0,
        atol=min_delta,
        cooldown=0,
        min_scale=min_lr / learning_rate,
    )


def next_plateau(plateau: optax.GradientTransformationExtraArgs, state, validation_loss: float):
    """Returns the state after one more epoch. `state.scale` is the factor on the learning rate."""
    return plateau.update({}, state, value=validation_loss)[1]


def make_loss_scale() -> DynamicScale:
    """Returns a fresh loss scale for float16, in which gradients below 6e-8 would be 0 and above 65504 infinite.

    The numbers are those of Keras' mixed float16: the scale starts at 2**15, doubles after 2000 finite steps in a row,
    and halves after a step whose gradients are not finite. It does not fall below 1, as in TensorFlow 2.4. Here it
    multiplies the sum over a replica's windows instead of the mean, so it settles lower and skips a few steps more.
    """
    return DynamicScale(
        growth_interval=1999,  # flax doubles the scale one finite step after these
        fin_steps=jnp.zeros((), jnp.int32),
        scale=jnp.full((), 2.0**15, jnp.float32),
        minimum_scale=1.0,
    )


def next_loss_scale(loss_scale: DynamicScale, finite: jax.Array) -> DynamicScale:
    """Returns the scale of the next step. finite: bool, whether this step is finite on all replicas.

    flax's rule is inside its gradient, which it takes on one replica. So it is given a gradient that is finite or not.
    """
    known = jnp.where(finite, 1.0, jnp.nan)
    return loss_scale.value_and_grad(lambda x: x * known)(jnp.ones(())).dynamic_scale


def loss_scale_is_least(loss_scale: DynamicScale) -> bool:
    """Returns whether the scale cannot become smaller."""
    return float(loss_scale.scale) <= loss_scale.minimum_scale
