"""All tests run with eight simulated CPU devices, as many as a TPU v3-8 has."""

import os
import tempfile
from pathlib import Path

flags = os.environ.get('XLA_FLAGS', '')
if '--xla_force_host_platform_device_count' not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} --xla_force_host_platform_device_count=8'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['EPATH_USE_TF'] = 'false'  # gs:// by fsspec, where `remote` puts a folder in the place of the network

import jax  # noqa: E402  (it reads the flags when it starts)
import pytest  # noqa: E402

# Programs that several tests or both test processes compile are compiled once a run.
run = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))
jax.config.update('jax_compilation_cache_dir', str(Path(tempfile.gettempdir()) / f'chimp_jax_tests_{run}'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


@pytest.fixture(autouse=True, scope='module')
def free_programs():
    """Frees the compiled programs of a file of tests: a process that keeps all of them takes 7 GB, and may abort."""
    yield
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
