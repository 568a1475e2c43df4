"""The recurrence: both forms against a loop in NumPy, the gradient against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimp_jax.ops import recurrence

T, N, U = 4, 3, 5


def arguments() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(T, N, 4 * U)).astype(np.float32), rng.normal(size=(U, 4 * U)).astype(np.float32)


def by_the_definition(inputs, recurrent):
    """Keras' LSTM for one window after the other (Hochreiter and Schmidhuber 1997, with a forget gate)."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    found = []
    for n in range(N):
        h, c = np.zeros(U), np.zeros(U)
        for t in range(T):
            z = inputs[t, n] + h @ recurrent
            c = sigmoid(z[U : 2 * U]) * c + sigmoid(z[:U]) * np.tanh(z[2 * U : 3 * U])
            h = sigmoid(z[3 * U :]) * np.tanh(c)
        found.append(h)
    return np.array(found)


def plain(inputs, recurrent):
    """The same with JAX's own gradient."""
    h = c = jnp.zeros((N, U))
    for x in inputs:
        i, f, g, o = jnp.split(x + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h


@pytest.mark.parametrize('form', [recurrence._rows, recurrence._columns])
def test_both_forms_follow_the_definition(form):
    inputs, recurrent = arguments()
    hidden, kept = jax.jit(form, static_argnums=2)(inputs, recurrent, True)
    np.testing.assert_allclose(hidden, by_the_definition(inputs, recurrent), atol=1e-6)
    assert [x.shape for x in kept] == [(T, N, U), (T, N, U), (T, N, 4 * U)]
    np.testing.assert_allclose(kept[0][1], by_the_definition_after(1, inputs, recurrent), atol=1e-6)


def by_the_definition_after(n_steps, inputs, recurrent):
    shortened = inputs[:n_steps]
    return np.asarray(plain(jnp.asarray(shortened), recurrent))


@pytest.mark.parametrize('columns', [True, False])
def test_the_gradient_is_the_plain_loops(columns, monkeypatch):
    if not columns:  # the form of accelerators
        monkeypatch.setattr(recurrence, '_columns', recurrence._rows)
        monkeypatch.setattr(recurrence, '_columns_back', recurrence._rows_back)
    weight = np.random.default_rng(1).normal(size=(N, U)).astype(np.float32)

    def gradient(function):
        return jax.jit(jax.grad(lambda *a: jnp.sum(weight * function(*a)), argnums=(0, 1)))(*arguments())

    for found, expected in zip(gradient(recurrence.last_output), gradient(plain), strict=True):
        assert np.abs(expected).max() > 0.05
        np.testing.assert_allclose(found, expected, atol=2e-6)
