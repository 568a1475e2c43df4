"""The entrance of `chimp-distance` and of `python predict.py`: finds the command and runs it.

Imports of NumPy, JAX and the commands are inside functions: they take seconds, and Ctrl-C ends them with one line.

Flags without a command belong to `score` (score.py). With --clip they belong to `clip` (clip.py).
"""

import argparse
import contextlib
import difflib
import importlib
import importlib.metadata
import logging
import os
import sys
from types import ModuleType

from chimp_jax import runtime
from data_prep.buckets import s3_paths
from data_prep.files import RESUME, failure_line
from data_prep.workers import stopping
from data_prep.workers.guard import WorkerError

COMMANDS = {
    'train': 'trains members on labelled clips: records, folds, training and errors in one go',
    'estimate': 'distances for all clips of a folder',
    'label': 'a page in the browser where a person measures distances',
    'report': 'an HTML page to look through the estimates and to correct them',
    'evaluate': 'errors of the estimates, if some distances are known',
    'clip': 'distances of one clip, as a table and a picture',
    'score': 'distances for the targets of prepared records',
    'check_submission': 'checks that a submission matches its format',
    'ensemble': 'compares the ways to combine the recipes',
    'fetch': 'downloads the detector of estimate --detect, or the published member',
    'import': 'makes a member of a Keras file of the whole model',
    'pack': 'writes trained members into one file for others',
    'unpack': 'adds the members of such a file to yours',
    'export': 'writes a trained member or the detector as ONNX files',
    'augment_sheet': 'shows what each augmentation does to a frame of your records',
}

# The module of a command, where it is not commands/COMMAND.py.
PLACES = {
    'fetch': 'sharing.fetch',
    'label': 'labelling.label',
    'import': 'sharing.import_weights',
    'pack': 'sharing.pack',
    'unpack': 'sharing.unpack',
}

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    0: all is done. 3: a part of the work could not be done. 1: nothing was done. 2: the command line is wrong.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    code = _without_command(arguments)
    return _run(*_parse(arguments)) if code is None else code


def start() -> None:
    """Runs a command in a process of its own: first the settings that JAX reads when it starts."""
    code = _without_command(sys.argv[1:])
    if code is None:
        stopping.while_loading('chimp-distance')
        settings = runtime.configure()
        name, command, options = _parse(sys.argv[1:])
        runtime.start_logging(options.verbose, times=options.verbose)
        if 'compile_cache' in options:  # a command that runs the model
            log.debug('%s; %s', settings, runtime.use_compile_cache(options.compile_cache))
        code = stopping.run(name, lambda: _run(name, command, options))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):  # the reader has closed the pipe
            stream.flush()
    os._exit(code)  # a normal exit of TensorFlow takes a second


def _without_command(arguments: list[str]) -> int | None:
    """Answers --help, --version, an empty line and an unknown command.

    Returns the exit code, None if there is a command to run.
    """
    first = arguments[0] if arguments else ''
    if first == '--version':
        print(f'chimp-distance {_version()}')
        return 0
    if first in ('', '-h', '--help'):
        print(_overview())
        return 0 if first else 2
    if first.startswith('-') or first in COMMANDS:
        return None
    nearest = difflib.get_close_matches(first, COMMANDS, n=1)
    hint = f'; did you mean {nearest[0]}?' if nearest else ''
    print(f'chimp-distance: there is no command {first!r}{hint}\n\n{_overview()}', file=sys.stderr)
    return 2


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {purpose}' for name, purpose in COMMANDS.items()]
    usage = 'usage: chimp-distance COMMAND ...     (chimp-distance COMMAND --help lists the flags of a command)'
    return '\n'.join(
        [
            usage,
            '',
            *lines,
            '',
            'chimp-train trains recipes on prepared records. --version prints the version.',
        ]
    )


def _version() -> str:
    try:
        return importlib.metadata.version('chimp_jax')
    except importlib.metadata.PackageNotFoundError:
        return '(not installed, runs from a checkout)'


def _parse(arguments: list[str]) -> tuple[str, ModuleType, argparse.Namespace]:
    if arguments[0] in COMMANDS:
        name, *arguments = arguments
    else:
        name = 'clip' if any(argument.partition('=')[0] == '--clip' for argument in arguments) else 'score'
    from chimp_jax.engines import engine

    command = importlib.import_module(f'chimp_jax.commands.{PLACES.get(name, name)}')
    parser = command.make_parser()
    parser.add_argument('--verbose', action='store_true', help='also shows lines for developers')
    options, unknown = parser.parse_known_args(arguments)
    if unknown and getattr(options, 'runner', engine.LOCAL) == engine.LOCAL:
        parser.error(f'unrecognized arguments: {" ".join(unknown)}')
    if unknown:
        options.runner_options = tuple(unknown)
    return name, command, options


def _run(name: str, command: ModuleType, options: argparse.Namespace) -> int:
    del options.verbose  # of the process, not of the command
    values = vars(options).values()
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    try:
        s3_paths.connect(filter(lambda text: isinstance(text, str), texts))
        with s3_paths.as_os_errors():
            if getattr(options, 'multihost', False):
                from chimp_jax.engines import processes

                return processes.run_as_one(lambda: command.run(options), options.out)
            return command.run(options)
    except ValueError as refusal:
        print(f'{name} failed: {failure_line(refusal)}', file=sys.stderr)
    except (OSError, WorkerError) as failure:
        log.debug('%s', getattr(failure, 'trace', ''))
        print(
            f'{name} failed: {failure_line(failure)}; {RESUME}',
            file=sys.stderr,
        )
    return 1
