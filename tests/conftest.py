"""All tests run with eight simulated CPU devices, as many as a TPU v3-8 has."""

import os
import tempfile
from pathlib import Path

flags = os.environ.get('XLA_FLAGS', '')
if '--xla_force_host_platform_device_count' not in flags:
    os.environ['XLA_FLAGS'] = f'{flags} --xla_force_host_platform_device_count=8'
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import jax  # noqa: E402  (it reads the flags when it starts)

# Programs that several tests or both test processes compile are compiled once a run.
run = os.environ.get('PYTEST_XDIST_TESTRUNUID', str(os.getpid()))
jax.config.update('jax_compilation_cache_dir', str(Path(tempfile.gettempdir()) / f'chimp_jax_tests_{run}'))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
