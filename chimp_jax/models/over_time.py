"""From the features of a window's frames to one vector: what config.model.temporal chooses.

Each module has the same three methods. `product` is the part that is the same for a frame in every window, and
`after_product` is the rest. So a frame that several windows share is multiplied once, whatever the module. Calling a
module does both.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from chimp_jax.ops.recurrence import last_output

STACKED = 5  # frames of StackedFrames: the target's and two on either side, as of the second place of Deep Chimpact


class LSTM(nn.Module):
    """Keras' LSTM: features [N, T, F] -> output of the last step [N, U].

    The gates have the order i, f, c, o. They share one kernel, one recurrent kernel and one bias; the forget bias
    starts at 1.
    """

    units: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        f, u = features.shape[-1], self.units
        self.param('kernel', nn.initializers.glorot_uniform(), (f, 4 * u))
        self.param('recurrent_kernel', nn.initializers.orthogonal(), (u, 4 * u))
        self.param('bias', lambda _: jnp.zeros(4 * u).at[u : 2 * u].set(1.0))
        # One product for the inputs of all steps. Only the recurrent product must wait for the step before.
        return self.after_product(self.product(features))

    def product(self, features: jax.Array) -> jax.Array:
        """Returns the gates' inputs of each step, which the steps before do not change: [..., F] -> [..., 4 U]."""
        return features.astype(self.dtype) @ self._weight('kernel') + self._weight('bias')

    def after_product(self, inputs: jax.Array) -> jax.Array:
        """Returns the output of the last step for the gates' inputs [N, T, 4 U] -> [N, U]."""
        return last_output(inputs.swapaxes(0, 1), self._weight('recurrent_kernel'))

    def _weight(self, name: str) -> jax.Array:
        return self.get_variable('params', name).astype(self.dtype)


class _FeaturesAsTheyAre(nn.Module):
    """A module without parameters: windows share the features themselves."""

    dtype: Any = jnp.float32

    def __call__(self, features: jax.Array) -> jax.Array:
        return self.after_product(self.product(features))

    def product(self, features: jax.Array) -> jax.Array:
        return features.astype(self.dtype)


class MeanOverTime(_FeaturesAsTheyAre):
    """The mean feature of the window's frames: features [N, T, F] -> [N, F]. It knows no order of the frames."""

    def after_product(self, inputs: jax.Array) -> jax.Array:
        return inputs.mean(axis=1)


class SingleFrame(_FeaturesAsTheyAre):
    """The feature of the target's own frame, the middle of the window: features [N, T, F] -> [N, F].

    So did the first place of Deep Chimpact.
    """

    def after_product(self, inputs: jax.Array) -> jax.Array:
        return inputs[:, inputs.shape[1] // 2]


class StackedFrames(_FeaturesAsTheyAre):
    """The features of the STACKED middle frames, one after the other: features [N, T, F] -> [N, 5 F].

    In a shorter window the edge frame repeats, as at the edges of a clip. The second place and zamba stack the pictures
    before their network instead, as 15 channels. Here each frame is encoded on its own, as for the other modules.
    """

    def after_product(self, inputs: jax.Array) -> jax.Array:
        n, t, f = inputs.shape
        place = jnp.clip(t // 2 + jnp.arange(STACKED) - STACKED // 2, 0, t - 1)
        return inputs[:, place].reshape(n, STACKED * f)


WITHOUT_PARAMETERS = {'mean': MeanOverTime, 'single': SingleFrame, 'stacked': StackedFrames}
TEMPORAL = ('lstm', *WITHOUT_PARAMETERS)  # values of config.model.temporal


def check_temporal(temporal: str) -> None:
    """Raises ValueError if config.model.temporal is not one of TEMPORAL."""
    if temporal not in TEMPORAL:
        known = ', '.join(map(repr, TEMPORAL[:-1]))
        raise ValueError(f'model.temporal is {known} or {TEMPORAL[-1]!r}, not {temporal!r}')


def make_over_time(temporal: str, lstm_units: int, dtype: Any) -> nn.Module:
    """Returns the module of config.model.temporal. Raises ValueError for all but TEMPORAL."""
    check_temporal(temporal)
    if temporal == 'lstm':
        return LSTM(units=lstm_units, dtype=dtype, name='lstm')  # the name of its weights in checkpoints
    return WITHOUT_PARAMETERS[temporal](dtype=dtype)
