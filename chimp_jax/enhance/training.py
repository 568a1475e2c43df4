"""The network that adds detail to an enlarged picture, and its training.

A few 3 x 3 convolutions see the luma of the small picture and give four values for each of its pixels, as ESPCN does
(Shi et al. 2016). They are added to the luma that Lanczos gives. So an untrained network changes nothing.
"""

import functools
import io
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from chimp_jax.enhance.pairs import Pairs

WIDTHS = (16, 16, 16)  # maps of the layers: 0.1 s for a picture of 320 x 180 on one core
BATCH = 32
LEARNING_RATE = 2e-3


class DetailNetwork(nn.Module):
    """small luma [N, H, W] in 0..1 -> what is added to the enlarged luma [N, 2 H, 2 W]."""

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, small: jax.Array) -> jax.Array:
        maps = small[..., None]
        for k, width in enumerate((*self.widths, 4)):
            last = k == len(self.widths)
            kernel_init = nn.initializers.zeros if last else nn.initializers.he_normal()
            maps = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
            maps = nn.Conv(width, (3, 3), padding='VALID', kernel_init=kernel_init, name=f'layer_{k}')(maps)
            maps = maps if last else nn.relu(maps)
        n, height, width, _ = maps.shape
        return maps.reshape(n, height, width, 2, 2).swapaxes(2, 3).reshape(n, 2 * height, 2 * width)


def train_network(
    draw: Callable[[np.random.Generator], Pairs], updates: int, seed: int, tell: Callable[[int, float], None]
) -> dict:
    """Returns trained parameters. draw: returns BATCH pairs. tell: called after each update with its number and loss.

    The loss is the mean square error, which PSNR measures.
    """
    network = DetailNetwork()
    rng = np.random.default_rng([seed, 1])
    params = network.init(jax.random.key(seed), jnp.zeros((1, 8, 8)))
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, updates))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def update(params, state, pairs):
        def loss_of(params):
            return jnp.square(pairs.enlarged + network.apply(params, pairs.small) - pairs.large).mean()

        loss, gradient = jax.value_and_grad(loss_of)(params)
        changes, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, changes), state, loss

    state = optimizer.init(params)
    for number in range(updates):
        params, state, loss = update(params, state, draw(rng))
        tell(number + 1, float(loss))
    return jax.device_get(params)


def layers_of(params: dict) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns the layers (kernel, bias) as data_prep.enhance.network applies them."""
    layers = params['params']
    return tuple((layers[f'layer_{k}']['kernel'], layers[f'layer_{k}']['bias']) for k in range(len(layers)))


def to_file(params: dict) -> bytes:
    """Returns the content of the file that data_prep.enhance.network reads."""
    arrays = {}
    for k, (kernel, bias) in enumerate(layers_of(params)):
        arrays |= {f'kernel_{k}': kernel, f'bias_{k}': bias}
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()
