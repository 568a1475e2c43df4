"""The command: `python predict.py` and `chimp-distance` are both this.

Without the name of a command it scores targets of prepared data (score.py), or with --clip one clip (clip.py).
"""

import argparse
import contextlib
import importlib
import logging
import os
import sys
from types import ModuleType

from chimp_jax import runtime
from data_prep.workers.guard import WorkerError

COMMANDS = (
    'estimate',
    'report',
    'evaluate',
    'clip',
    'score',
    'check_submission',
    'ensemble',
    'export',
    'augment_sheet',
)

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 3 where some of the work could not be done, 1 where nothing was."""
    return _run(*_parse(arguments))


def start() -> None:
    """Of a process of its own: the settings that must stand before JAX starts, then the command."""
    settings = runtime.configure()
    runtime.start_logging()
    name, command, options = _parse(None)
    if 'compile_cache' in options:  # a command that computes
        log.info('%s; %s', settings, runtime.use_compile_cache(options.compile_cache))
    code = _run(name, command, options)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # nobody reads on
            stream.flush()
    os._exit(code)  # TensorFlow takes a second to take itself down


def _parse(arguments: list[str] | None) -> tuple[str, ModuleType, argparse.Namespace]:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] and arguments[0] in COMMANDS:
        name, *arguments = arguments
    else:
        name = 'clip' if any(part.partition('=')[0] == '--clip' for part in arguments) else 'score'
    command = importlib.import_module(f'chimp_jax.commands.{name}')
    return name, command, command.make_parser().parse_args(arguments)


def _run(name: str, command: ModuleType, options: argparse.Namespace) -> int:
    try:
        return command.run(options)
    except (ValueError, OSError, WorkerError) as failure:
        print(f'{name} failed: {" ".join(str(failure).split())}', file=sys.stderr)
        return 1
