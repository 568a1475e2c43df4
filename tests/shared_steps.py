"""Mapped steps with equal settings are one program: a training of the same model is not traced and compiled again."""

import functools
from collections.abc import Callable

import pytest

from chimp_jax import optim, parallel

MAPS = ('map_train_step', 'map_encode_step', 'map_product_step', 'map_eval_step', 'map_tokens_step', 'map_hear_step')


def share(patch: pytest.MonkeyPatch) -> None:
    """Makes parallel.map_* return the program that was made before for an equal step and the same devices.

    Steps are equal if their function and their settings are. A test that replaces a function that a step calls must
    not rely on a step that was mapped before.
    """
    patch.setattr(optim, 'make_optimizer', functools.cache(optim.make_optimizer))  # equal settings: the same functions
    for name in MAPS:
        patch.setattr(parallel, name, _once(getattr(parallel, name)))


def _once(make: Callable) -> Callable:
    made = {}

    @functools.wraps(make)
    def mapped(step, devices=None):
        if not isinstance(step, functools.partial):
            return make(step, devices)
        settings = step.func, step.args, tuple(sorted(step.keywords.items()))
        key = settings, devices and tuple(devices)
        if key not in made:
            made[key] = make(step, devices)
        return made[key]

    return mapped
