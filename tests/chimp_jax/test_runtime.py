"""Settings before JAX starts: set once, overridable, never after."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chimp_jax import runtime

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
from chimp_jax import runtime
print('started')
runtime.configure()
import jax, os
runtime.use_compile_cache()
print(jax.device_count(), os.environ.get('GLIBC_TUNABLES'), jax.config.jax_compilation_cache_dir)
"""
COMPILES = """
import sys
from chimp_jax import runtime
runtime.configure()
import jax
runtime.start_logging(verbose=True, times=True)
print(runtime.use_compile_cache(sys.argv[1]))
runtime.SHORTEST_COMPILATION_S = 0.0
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
def train_step(x):
    return x * 2 + 1
jax.jit(train_step)(1.0)
"""


def run(*arguments, script=SCRIPT, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('XLA_', 'JAX_', 'GLIBC_'))}
    command = [sys.executable, '-c', script, *map(str, arguments)]
    return subprocess.run(
        command, env=clean | environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.mark.skipif(sys.platform != 'linux', reason='glibc only')
def test_a_device_for_each_core_and_one_restart_for_huge_pages():
    lines = run(XDG_CACHE_HOME='/cache')
    assert lines[:2] == ['started', 'started']  # the second time with glibc's setting in force
    assert lines[2] == f'{os.cpu_count()} glibc.malloc.hugetlb=1 /cache/chimp_jax/xla'


def test_what_the_user_has_set_wins():
    lines = run(
        XLA_FLAGS='--xla_force_host_platform_device_count=3', GLIBC_TUNABLES='', JAX_COMPILATION_CACHE_DIR='/else'
    )
    assert lines == ['started', '3  /else']


def test_the_log_says_what_was_compiled_and_what_the_cache_gave(tmp_path):
    folder = tmp_path / 'programs'

    def compiled(where):
        first, *lines = run(where, script=COMPILES)
        return first, [line.split(' ', 1)[1] for line in lines if 'train_step' in line]

    for cache in ('miss', 'hit'):
        first, lines = compiled(folder)
        assert first == f'compiled programs are saved in {folder}' and any(folder.iterdir())
        assert len(lines) == 1
        assert re.fullmatch(rf'compiled jit\(train_step\) in \d+\.\d s \(cache: {cache}\)', lines[0]), lines
    before = len(list(folder.iterdir()))
    first, lines = compiled('off')
    assert first == 'compiled programs are not saved' and '(cache: off)' in lines[0]
    assert len(list(folder.iterdir())) == before


def test_too_late_is_said():
    with pytest.raises(RuntimeError, match='before jax'):
        runtime.configure()


def test_processes_are_joined_as_the_environment_says(monkeypatch):
    import jax

    asked = []
    monkeypatch.setattr(jax.config, 'update', lambda *setting: asked.append(setting))
    monkeypatch.setattr(jax.distributed, 'initialize', lambda **settings: asked.append(settings))
    monkeypatch.setenv('JAX_NUM_PROCESSES', '4')
    monkeypatch.setenv('JAX_PROCESS_ID', '0')
    runtime.start_processes()
    assert asked == [('jax_cpu_collectives_implementation', 'gloo'), {'num_processes': 4, 'process_id': 0}]
    monkeypatch.delenv('JAX_PROCESS_ID')
    runtime.start_processes()
    assert asked[-1] == {'num_processes': 4, 'process_id': None}  # on a pod JAX knows it
