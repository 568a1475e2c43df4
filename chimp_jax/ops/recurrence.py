"""The recurrence of an LSTM: in rows, and in columns for CPUs, with a gradient that is one product for all steps.

The plain gradient of the loop adds an array of the recurrent kernel's size in every step. Here the loop keeps the
gates' gradients of all steps, and one product follows.

A step multiplies a few rows [N, U] by the kernel [U, 4 U]. XLA's CPU backend computes this product about three times
faster in columns, [4 U, U] by [U, N]. Both forms have one meaning; their sums may differ in the last bits.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from chimp_jax.programs.platforms import by_platform

State = tuple[jax.Array, jax.Array]  # output and cell: [N, U] in rows, [U, N] in columns


def _gates(z: jax.Array, axis: int) -> tuple[jax.Array, ...]:
    i, f, c, o = jnp.split(z, 4, axis=axis)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(c), jax.nn.sigmoid(o)


def _run(inputs: jax.Array, multiply: Callable, axis: int, with_kept: bool) -> tuple[jax.Array, tuple | None]:
    """Returns the last output and, for the gradient, output and cell before each step and what its gates got.

    inputs: [T, ...]. multiply: the product of an output and the recurrent kernel. axis: of the gates in a step.
    """

    def step(state: State, x: jax.Array) -> tuple[State, tuple | None]:
        hidden, cell = state
        z = x + multiply(hidden)
        i, f, c, o = _gates(z, axis)
        after = f * cell + i * c
        return (o * jnp.tanh(after), after), (hidden, cell, z) if with_kept else None

    zeros = jnp.zeros_like(jnp.split(inputs[0], 4, axis=axis)[0])
    (hidden, _), kept = jax.lax.scan(step, (zeros, zeros), inputs)
    return hidden, kept


def _run_back(d_output: jax.Array, cells: jax.Array, z: jax.Array, multiply: Callable, axis: int) -> jax.Array:
    """Returns the gradient of what the gates got, [T, ...] as z. multiply: by the transposed recurrent kernel."""

    def step(gradient: State, at: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        d_hidden, d_cell = gradient
        cell, of_gates = at
        i, f, c, o = _gates(of_gates, axis)
        squashed = jnp.tanh(f * cell + i * c)
        d_cell = d_cell + d_hidden * o * (1 - squashed**2)
        parts = (
            d_cell * c * i * (1 - i),
            d_cell * cell * f * (1 - f),
            d_cell * i * (1 - c**2),
            d_hidden * squashed * o * (1 - o),
        )
        d_z = jnp.concatenate(parts, axis=axis)
        return (multiply(d_z), d_cell * f), d_z

    return jax.lax.scan(step, (d_output, jnp.zeros_like(d_output)), (cells, z), reverse=True)[1]


def _rows(inputs: jax.Array, recurrent: jax.Array, with_kept: bool) -> tuple[jax.Array, tuple | None]:
    return _run(inputs, lambda hidden: hidden @ recurrent, 1, with_kept)


def _columns(inputs: jax.Array, recurrent: jax.Array, with_kept: bool) -> tuple[jax.Array, tuple | None]:
    transposed = jax.lax.optimization_barrier(recurrent.T)  # else XLA puts the transposition back into each step
    hidden, kept = _run(inputs.swapaxes(1, 2), lambda hidden: transposed @ hidden, 0, with_kept)
    return hidden.T, jax.tree.map(lambda x: x.swapaxes(1, 2), kept)


def _rows_back(d_output: jax.Array, cells: jax.Array, z: jax.Array, recurrent: jax.Array) -> jax.Array:
    return _run_back(d_output, cells, z, lambda d_z: d_z @ recurrent.T, 1)


def _columns_back(d_output: jax.Array, cells: jax.Array, z: jax.Array, recurrent: jax.Array) -> jax.Array:
    cells, z = cells.swapaxes(1, 2), z.swapaxes(1, 2)
    return _run_back(d_output.T, cells, z, lambda d_z: recurrent @ d_z, 0).swapaxes(1, 2)


def _either(inputs: jax.Array, recurrent: jax.Array, with_kept: bool) -> tuple[jax.Array, tuple | None]:
    def form(run: Callable) -> Callable:
        return lambda inputs, recurrent: run(inputs, recurrent, with_kept)

    return by_platform(inputs, recurrent, cpu=form(_columns), default=form(_rows))


@jax.custom_vjp
def last_output(inputs: jax.Array, recurrent: jax.Array) -> jax.Array:
    """Returns the output of the last step of Keras' LSTM, [N, U].

    inputs [T, N, 4 U]: the gates' part that the steps before do not change, gates in the order i, f, c, o.
    recurrent [U, 4 U]: the recurrent kernel.
    """
    return _either(inputs, recurrent, with_kept=False)[0]


def _forward(inputs: jax.Array, recurrent: jax.Array) -> tuple[jax.Array, tuple]:
    hidden, kept = _either(inputs, recurrent, with_kept=True)
    return hidden, (recurrent, *kept)


def _backward(kept: tuple, d_output: jax.Array) -> tuple[jax.Array, jax.Array]:
    recurrent, hiddens, cells, z = kept
    d_z = by_platform(d_output, cells, z, recurrent, cpu=_columns_back, default=_rows_back)
    return d_z, jnp.einsum('tnu,tng->ug', hiddens, d_z)


last_output.defvjp(_forward, _backward)
