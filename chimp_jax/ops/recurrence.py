"""The recurrence of an LSTM, with a gradient that multiplies the recurrent kernel's only once.

The plain gradient of the loop adds a product of the kernel's size in every step. Here the loop keeps the gates'
gradients of all steps, and one product follows. With few windows, the plain gradient spends most of its time on reading
and writing these sums.
"""

import jax
import jax.numpy as jnp

State = tuple[jax.Array, jax.Array]  # output and cell, [N, U] each


def _step(state: State, inputs: jax.Array, recurrent: jax.Array) -> tuple[State, jax.Array]:
    """Returns the next state, and what the gates get [N, 4 U]."""
    hidden, cell = state
    gates = inputs + hidden @ recurrent
    i, f, c, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(c)
    return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), gates


def _start(inputs: jax.Array) -> State:
    zeros = jnp.zeros((inputs.shape[1], inputs.shape[2] // 4), inputs.dtype)
    return zeros, zeros


@jax.custom_vjp
def last_output(inputs: jax.Array, recurrent: jax.Array) -> jax.Array:
    """Returns the output of the last step of Keras' LSTM, [N, U].

    inputs [T, N, 4 U]: the gates' part that the steps before do not change, gates in the order i, f, c, o.
    recurrent [U, 4 U]: the recurrent kernel.
    """
    (hidden, _), _ = jax.lax.scan(lambda state, x: (_step(state, x, recurrent)[0], None), _start(inputs), inputs)
    return hidden


def _forward(inputs: jax.Array, recurrent: jax.Array) -> tuple[jax.Array, tuple]:
    def step(state, x):
        after, gates = _step(state, x, recurrent)
        return after, (*state, gates)

    (hidden, _), kept = jax.lax.scan(step, _start(inputs), inputs)
    return hidden, (recurrent, *kept)


def _backward(kept: tuple, d_output: jax.Array) -> tuple[jax.Array, jax.Array]:
    recurrent, hiddens, cells, gates = kept

    def step(gradient: State, at: tuple) -> tuple[State, jax.Array]:
        """Goes one step back: from the gradient of a step's results to the gradient of its gates."""
        d_hidden, d_cell = gradient
        cell_before, z = at
        i, f, c, o = jnp.split(z, 4, axis=-1)
        i, f, c, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(c), jax.nn.sigmoid(o)
        squashed = jnp.tanh(f * cell_before + i * c)
        d_cell = d_cell + d_hidden * o * (1 - squashed**2)
        parts = (
            d_cell * c * i * (1 - i),
            d_cell * cell_before * f * (1 - f),
            d_cell * i * (1 - c**2),
            d_hidden * squashed * o * (1 - o),
        )
        d_gates = jnp.concatenate(parts, axis=-1)
        return (d_gates @ recurrent.T, d_cell * f), d_gates

    start = d_output, jnp.zeros_like(d_output)
    _, d_gates = jax.lax.scan(step, start, (cells, gates), reverse=True)
    return d_gates, jnp.einsum('tnu,tng->ug', hiddens, d_gates)


last_output.defvjp(_forward, _backward)
