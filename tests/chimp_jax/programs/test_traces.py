"""A kept trace gives the bits of a fresh one, is found by all that determines it, and never stands in the way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from chimp_jax import parallel, steps
from chimp_jax.models.distance_model import fresh_variables
from chimp_jax.programs import traces
from chimp_jax.programs.traces import kept_trace
from chimp_jax.scoring import Scorer


@pytest.fixture
def folder(tmp_path):
    """The folder of kept traces, with the cache of compiled programs around it."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update('jax_compilation_cache_dir', str(tmp_path))
    yield tmp_path / traces.FOLDER
    jax.config.update('jax_compilation_cache_dir', before)


def counted(calls: list, factor: float = 2.0):
    """A jitted function that notes when it is traced."""

    def times(x):
        calls.append(x.shape)
        return x * factor

    return jax.jit(times)


def test_another_process_does_not_trace_again(folder):
    calls, x = [], jnp.arange(3.0)
    for _ in range(2):  # each stands for a process: it has a jitted function of its own
        kept = kept_trace(counted(calls), 'twice', jax.local_devices()[:1])
        assert kept(x).tolist() == [0, 2, 4] and kept(x + 1).tolist() == [2, 4, 6]
    assert calls == [(3,)] and len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    'change', [{'x': jnp.arange(4.0)}, {'x': jnp.arange(3)}, {'settings': 'thrice'}, {'code': 'abc'}, {'devices': 2}]
)
def test_what_determines_a_trace_is_in_its_name(folder, monkeypatch, change):
    calls = []
    devices = jax.local_devices()
    kept_trace(counted(calls), 'twice', devices[:1])(jnp.arange(3.0))
    if 'code' in change:
        monkeypatch.setattr(traces, 'code_digest', lambda: change['code'])
    kept_trace(counted(calls), change.get('settings', 'twice'), devices[: change.get('devices', 1)])(
        change.get('x', jnp.arange(3.0))
    )
    assert len(calls) == 2 and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize('damage', [lambda b: b[:-9], lambda b: b'', lambda b: b[:40] + b'?' + b[41:]])
def test_a_damaged_file_is_made_again(folder, damage):
    calls = []
    kept_trace(counted(calls), 'twice', jax.local_devices()[:1])(jnp.arange(3.0))
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):  # the first one mends the file
        assert kept_trace(counted(calls), 'twice', jax.local_devices()[:1])(jnp.arange(3.0)).tolist() == [0, 2, 4]
    assert len(calls) == 2


def test_without_a_folder_the_function_runs_as_it_is(folder, monkeypatch):
    folder.write_text('a file stands where the folder belongs')
    calls = []
    assert kept_trace(counted(calls), 'twice', jax.local_devices()[:1])(jnp.ones(1)).item() == 2
    jax.config.update('jax_enable_compilation_cache', False)
    monkeypatch.setattr(traces, 'code_digest', None)  # nothing is looked up
    try:
        assert kept_trace(counted(calls), 'twice', jax.local_devices()[:1])(jnp.ones(1)).item() == 2
    finally:
        jax.config.update('jax_enable_compilation_cache', True)
    assert len(calls) == 2


@pytest.mark.parametrize('regions', [False, True])
def test_kept_traces_of_the_encoder_give_its_bits_on_all_devices(folder, regions):
    model, devices = small.model(regions=regions), jax.local_devices()
    weights = fresh_variables(model, 0)
    frames = np.random.default_rng(0).integers(0, 256, (11, 32, 32, 3), dtype=np.uint8)
    boxes = np.tile(np.array([0.1, 0.2, 0.6, 0.7, 1.0], np.float32), (11, 2, 1)) if regions else None
    found = []
    for _ in range(2):  # traced, then read
        scorer = Scorer(model, 32)
        found.append(scorer.look(scorer.place(weights), frames, np.arange(11), boxes))
    plain = parallel.map_encode_step(functools.partial(steps.encode_step, model=model, one_by_one=True), devices)
    place = np.arange(64).reshape(8, 8).T
    some = np.minimum(place, 10)
    expected = plain(
        parallel.replicate(weights, devices), frames[some], place < 11, None if boxes is None else boxes[some]
    )
    in_order = jax.tree.map(lambda x: np.asarray(x).swapaxes(0, 1).reshape(64, *x.shape[2:])[:11], expected)
    for one in found:
        jax.tree.map(np.testing.assert_array_equal, one, in_order)
    assert len(list(folder.iterdir())) == 1
