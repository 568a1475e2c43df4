"""Settings of a process before JAX starts: XLA's CPU flags, memory pages, the compile cache, processes, logging.

On a CPU each core computes one frame, so each core is a device with one thread (several threads per frame are slower).
These flags do not affect a run on an accelerator. Flags that the user sets in XLA_FLAGS take precedence.
"""

import functools
import logging
import os
import sys
from pathlib import Path

CPU_FLAGS = {
    '--xla_force_host_platform_device_count': str(os.cpu_count() or 1),
    '--xla_cpu_multi_thread_eigen': 'false',
    '--xla_cpu_prefer_vector_width': '512',
}
# Makes glibc use 2 MiB pages. Without them a training step spends a third of its time in page faults.
HUGE_PAGES = 'glibc.malloc.hugetlb=1'
_NEVER_S = 10**6
SHORTEST_COMPILATION_S = 1.0  # shorter compilations are neither cached nor logged

log = logging.getLogger(__name__)


def configure() -> str:
    """Sets the flags and returns a line for the log. Restarts the process once, because glibc reads its flag at start.

    A command must call it before jax is imported.
    """
    if 'jax' in sys.modules:
        raise RuntimeError('runtime.configure() must run before jax is imported')
    _set_xla_flags()
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.environ['GLIBC_TUNABLES'] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)
    return f'XLA_FLAGS={os.environ["XLA_FLAGS"]}'


def configure_worker() -> None:
    """Sets the flags in a process that an engine has started, unless JAX has read them already."""
    if 'jax' not in sys.modules:
        _set_xla_flags()


def _set_xla_flags() -> None:
    quiet_tensorflow()
    mine = os.environ.get('XLA_FLAGS', '').split()
    named = {flag.split('=')[0] for flag in mine}
    flags = mine + [f'{name}={value}' for name, value in CPU_FLAGS.items() if name not in named]
    os.environ['XLA_FLAGS'] = ' '.join(flags)


def quiet_tensorflow() -> None:
    """Silences TensorFlow's notes on its own build. TensorFlow only reads records and frames here."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    logging.getLogger('tensorflow').setLevel(logging.ERROR)


COMPILE_CACHE = "folder of compiled programs, or 'off'; default: chimp_jax/xla in the user's cache folder"


def use_compile_cache(where: str | None = None) -> str:
    """Saves compiled programs for later runs, and logs the time of each compilation. Returns a line for the log.

    where: a folder, 'off', or None for JAX_COMPILATION_CACHE_DIR or, if that is not set, the user's cache folder.
    """
    import jax

    _report_compilations()
    if where == 'off':
        jax.config.update('jax_enable_compilation_cache', False)
        return 'compiled programs are not saved'
    folder = Path(
        where
        or os.environ.get('JAX_COMPILATION_CACHE_DIR')
        or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'chimp_jax' / 'xla'
    ).expanduser()
    jax.config.update('jax_enable_compilation_cache', True)
    jax.config.update('jax_compilation_cache_dir', str(folder))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', SHORTEST_COMPILATION_S)
    return f'compiled programs are saved in {folder}'


@functools.cache
def _report_compilations() -> None:
    """Logs compilations of a second and more, and those that the cache saved. Registers its listeners only once."""
    import jax

    last = {'cache': 'off'}
    names = {'/jax/compilation_cache/cache_hits': 'hit', '/jax/compilation_cache/cache_misses': 'miss'}

    def note(event: str, **_) -> None:
        last['cache'] = names.get(event, last['cache'])

    def report(event: str, seconds: float, fun_name: str = 'a program', **_) -> None:
        if event == '/jax/core/compile/backend_compile_duration':
            cache, last['cache'] = last['cache'], 'off'
            if cache == 'hit' or seconds >= SHORTEST_COMPILATION_S:
                log.debug('compiled %s in %.1f s (cache: %s)', fun_name, seconds, cache)

    jax.monitoring.register_event_listener(note)
    jax.monitoring.register_event_duration_secs_listener(report)


def start_processes(outlive: bool = False) -> None:
    """Joins the processes of several machines into one run. Only the first one logs. Call it before JAX is used.

    outlive: JAX does not end all processes if one dies, unless it is the first one.

    JAX recognises TPU pods, SLURM, MPI and Kubernetes. Elsewhere set JAX_COORDINATOR_ADDRESS (HOST:PORT of the first),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID. Raises ValueError if JAX finds no processes to join.
    """
    import jax

    jax.config.update('jax_cpu_collectives_implementation', 'gloo')  # used by processes on CPUs only
    numbers = [os.environ.get(name) for name in ('JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')]
    try:
        n_processes, process = (int(number) if number else None for number in numbers)
        beats = {'heartbeat_timeout_seconds': _NEVER_S} if outlive else {}
        jax.distributed.initialize(num_processes=n_processes, process_id=process, **beats)
    except (ValueError, RuntimeError) as error:
        names = 'JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID'
        raise ValueError(f'--multihost finds no processes to join ({error}); set {names}') from error
    if jax.process_index() != 0:
        logging.getLogger('chimp_jax').setLevel(logging.WARNING)


class _AboveTheBar(logging.StreamHandler):
    """Prints each line above a progress bar that is drawn on the same terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=self.stream)
        self.flush()


def start_logging(verbose: bool = False, times: bool = False) -> None:
    """Sends our own lines to stdout, above a progress bar. Other packages log errors only: orbax is verbose.

    verbose: also the lines for developers, such as XLA's flags and compilations. times: each line begins with the time.
    """
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    handler = _AboveTheBar(sys.stdout)
    handler.setFormatter(logging.Formatter('%(asctime)s %(message)s' if times else '%(message)s', '%H:%M:%S'))
    ours = logging.getLogger('chimp_jax')
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG if verbose else logging.INFO)
    ours.propagate = False
