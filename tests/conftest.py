"""All tests run with eight simulated CPU devices, as many as a TPU v3-8 has."""

import os
import shutil
import tempfile

FLAGS = {
    '--xla_force_host_platform_device_count': '8',
    # Most programs of the tests run a few times, so they are compiled fast. The emitters of fusions that XLA takes by
    # default compile a training step of `small` three times as long (5 s of a core in place of 1.5 s).
    '--xla_backend_optimization_level': '0',
    '--xla_cpu_use_fusion_emitters': 'false',
    '--xla_cpu_parallel_codegen_split_count': '1',  # a module for each program, not 32
}
given = os.environ.get('XLA_FLAGS', '')
os.environ['XLA_FLAGS'] = ' '.join([given, *(f'{name}={value}' for name, value in FLAGS.items() if name not in given)])
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['EPATH_USE_TF'] = 'false'  # gs:// by fsspec, where `remote` puts a folder in the place of the network

# A program is compiled once per run: the first pytest process makes a folder, and its test processes and their commands
# inherit the variable.
PROGRAMS = 'CHIMP_JAX_TEST_PROGRAMS'
is_first = PROGRAMS not in os.environ
if is_first:
    os.environ[PROGRAMS] = tempfile.mkdtemp(prefix='chimp_jax_programs_')
os.environ['JAX_COMPILATION_CACHE_DIR'] = os.environ[PROGRAMS]
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

import jax  # noqa: E402  (it reads the variables when it starts)
import psutil  # noqa: E402
import pytest  # noqa: E402
import shared_steps  # noqa: E402

from chimp_jax import runtime  # noqa: E402

runtime.SHORTEST_COMPILATION_S = 0.0  # commands that run in a test process save short compilations, too


MOST_BYTES = 2 * 2**30


def pytest_unconfigure():
    if is_first:
        shutil.rmtree(os.environ.pop(PROGRAMS), ignore_errors=True)


@pytest.fixture(autouse=True, scope='session')
def shared_programs():
    """Traces and compiles equal steps once per test process."""
    with pytest.MonkeyPatch.context() as patch:
        shared_steps.share(patch)
        yield


@pytest.fixture(autouse=True, scope='module')
def programs():
    """Frees all programs after a file of tests if this process is large: with those of all files, it may abort."""
    yield
    if psutil.Process().memory_info().rss > MOST_BYTES:
        jax.clear_caches()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A folder whose subfolders are gs:// buckets, for this process and for workers that it starts."""
    import remote

    folder, start = tmp_path / 'buckets', tmp_path / 'start'
    start.mkdir()
    (start / 'sitecustomize.py').write_text('import remote; remote.register()')
    monkeypatch.syspath_prepend(start)
    monkeypatch.setenv(remote.VARIABLE, str(folder))
    remote.register()
    return folder
