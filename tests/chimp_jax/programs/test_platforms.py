"""The form of an operation is chosen when a program is traced for a platform, else when it is lowered."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small
from jax import lax

from chimp_jax import optim, parallel, steps
from chimp_jax.models.distance_model import REPLICA_AXIS
from chimp_jax.programs.platforms import by_platform, traced_for


def name(x):
    return by_platform(x, default=lambda x: x + 1, cpu=lambda x: x + 2, tpu=lambda x: x + 3)


@pytest.mark.parametrize('platform,added', [('cpu', 2), ('tpu', 3), ('gpu', 1)])
def test_a_program_for_a_platform_has_its_form_alone(platform, added):
    with traced_for(platform):
        text = str(jax.make_jaxpr(name)(1.0))
    assert re.findall(r'add \S+ (\S+?):', text) == [f'{added}.0']


def test_another_program_has_all_forms_and_runs_that_of_its_device():
    jaxpr = str(jax.make_jaxpr(name)(1.0))
    assert 'platform_index' in jaxpr and all(f'{added}.0' in jaxpr for added in (1, 2, 3))
    assert jax.jit(name)(1.0) == 3


def test_a_function_that_jax_has_traced_is_traced_again_for_another_platform():
    inner = jax.checkpoint(name)
    found = []
    for platform in ('cpu', 'tpu'):
        with traced_for(platform):
            found.append(jax.jit(inner)(1.0).item())
    assert found == [3, 4]


def reduced_ranks(program: str) -> set[int]:
    """Returns the ranks of what the reductions of a StableHLO program reduce."""
    lines = [line for line in program.splitlines() if 'stablehlo.reduce(' in line]
    return {len(re.findall(r'\d+x', shape)) for line in lines for shape in re.findall(r': \(tensor<((?:\d+x)*)', line)}


def test_no_program_reduces_an_array_of_rank_7_or_more():
    """XLA's CPU backend of jaxlib 0.10.2 ends the process at some of these reductions (jax issues 39257, 40412)."""
    control = jax.jit(lambda x: lax.reduce_sum(x, (3,))).lower(jnp.ones((3, 1, 2, 2, 2, 2, 2)))
    assert reduced_ranks(control.as_text()) == {7}
    devices, model = jax.local_devices()[:2], small.model(regions=True)
    optimizer = optim.make_optimizer(0.9, 0.999, 1e-7)
    plateau = optim.make_plateau(1e-3, factor=0.5, patience=1, min_delta=1e-4, min_lr=1e-5)
    state = steps.initial_state(model, optimizer, plateau, seed=0)
    ones = functools.partial(np.ones, dtype=np.float32)
    batch = {'frames': np.zeros((2, 1, 3, 32, 32, 3), np.uint8), 'window': np.zeros((2, 1, 1, 3), np.int32)}
    batch |= {'distance': ones((2, 1, 1)), 'mask': ones((2, 1, 1)), 'boxes': ones((2, 1, 3, 2, 5))}
    batch |= {slot: ones((2, 1, 1, 2)) for slot in ('belief', 'animal_distance', 'animal_mask')}
    train = functools.partial(steps.train_step, model=model, optimizer=optimizer, axis_name=REPLICA_AXIS)
    encode = functools.partial(steps.encode_step, model=model, one_by_one=True)
    weights = {'params': state.params, 'batch_stats': state.batch_stats}
    frames, there = np.zeros((2, 4, 32, 32, 3), np.uint8), np.ones((2, 4), bool)
    for lowered in (
        parallel.map_train_step(train, devices).lower(state, batch, np.float32(1e-3)),
        parallel.map_encode_step(encode, devices).lower(weights, frames, there, ones((2, 4, 2, 5))),
    ):
        ranks = reduced_ranks(lowered.as_text())
        assert ranks and max(ranks) < 7
