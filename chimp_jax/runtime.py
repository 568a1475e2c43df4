"""Settings of the process that must stand before JAX starts: XLA's flags for the CPU, memory pages, the compile cache.

On a CPU the work is split as one frame a core, so each core is one host device and one thread (several threads on one
frame are slower). None of this touches a run on an accelerator. Whatever the user has set in XLA_FLAGS wins.
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
# Asks glibc for 2 MiB pages: without them a training step spends a third of its time in page faults.
HUGE_PAGES = 'glibc.malloc.hugetlb=1'
SHORTEST_COMPILATION_S = 1.0  # that is worth keeping, and a line in the log

log = logging.getLogger(__name__)


def configure() -> str:
    """Sets the flags, starting the process anew where glibc reads them at its start only; returns a line for the log.

    Call it first thing in a command, before jax is imported.
    """
    if 'jax' in sys.modules:
        raise RuntimeError('runtime.configure() must run before jax is imported')
    quiet_tensorflow()
    mine = os.environ.get('XLA_FLAGS', '').split()
    named = {flag.split('=')[0] for flag in mine}
    flags = mine + [f'{name}={value}' for name, value in CPU_FLAGS.items() if name not in named]
    os.environ['XLA_FLAGS'] = ' '.join(flags)
    if sys.platform == 'linux' and 'GLIBC_TUNABLES' not in os.environ:
        os.environ['GLIBC_TUNABLES'] = HUGE_PAGES
        os.execv(sys.executable, sys.orig_argv)
    return f'XLA_FLAGS={os.environ["XLA_FLAGS"]}'


def quiet_tensorflow() -> None:
    """Keeps TensorFlow's notes on its own build out of our logs; it only reads records and frames here."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    logging.getLogger('tensorflow').setLevel(logging.ERROR)


COMPILE_CACHE = "folder of compiled programs, or 'off'; default: chimp_jax/xla in the user's cache folder"


def use_compile_cache(where: str | None = None) -> str:
    """Keeps compiled programs from run to run, and logs what each compilation took; returns a line for the log.

    where: a folder, 'off', or None for JAX_COMPILATION_CACHE_DIR or, without it, the user's cache folder.
    """
    import jax

    _report_compilations()
    if where == 'off':
        jax.config.update('jax_enable_compilation_cache', False)
        return 'compiled programs are not kept'
    folder = Path(
        where
        or os.environ.get('JAX_COMPILATION_CACHE_DIR')
        or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'chimp_jax' / 'xla'
    ).expanduser()
    jax.config.update('jax_enable_compilation_cache', True)
    jax.config.update('jax_compilation_cache_dir', str(folder))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', SHORTEST_COMPILATION_S)
    return f'compiled programs are kept in {folder}'


@functools.cache
def _report_compilations() -> None:
    """Logs each compilation of a second and more, and each that the cache saved, once in a process."""
    import jax

    last = {'cache': 'off'}
    names = {'/jax/compilation_cache/cache_hits': 'hit', '/jax/compilation_cache/cache_misses': 'miss'}

    def note(event: str, **_) -> None:
        last['cache'] = names.get(event, last['cache'])

    def report(event: str, seconds: float, fun_name: str = 'a program', **_) -> None:
        if event == '/jax/core/compile/backend_compile_duration':
            cache, last['cache'] = last['cache'], 'off'
            if cache == 'hit' or seconds >= SHORTEST_COMPILATION_S:
                log.info('compiled %s in %.1f s (cache: %s)', fun_name, seconds, cache)

    jax.monitoring.register_event_listener(note)
    jax.monitoring.register_event_duration_secs_listener(report)


def start_processes() -> None:
    """Joins the processes of several machines into one run, before JAX is used; the first of them keeps the log.

    TPU pods, SLURM, MPI and Kubernetes are recognised. Elsewhere JAX_COORDINATOR_ADDRESS (HOST:PORT of the first),
    JAX_NUM_PROCESSES and JAX_PROCESS_ID say it. Raises ValueError where nothing does.
    """
    import jax

    jax.config.update('jax_cpu_collectives_implementation', 'gloo')  # processes on CPUs; no others look at it
    numbers = [os.environ.get(name) for name in ('JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')]
    try:
        n_processes, process = (int(number) if number else None for number in numbers)
        jax.distributed.initialize(num_processes=n_processes, process_id=process)
    except (ValueError, RuntimeError) as error:
        names = 'JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID'
        raise ValueError(f'--multihost finds no processes to join ({error}); set {names}') from error
    if jax.process_index() != 0:
        logging.getLogger('chimp_jax').setLevel(logging.WARNING)


def start_logging() -> None:
    """Our own lines to stdout, of others errors only: orbax alone would write ten lines a checkpoint."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S'))
    ours = logging.getLogger('chimp_jax')
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False
