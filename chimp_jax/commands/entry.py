"""The command: `python predict.py` and `chimp-distance` are both this.

Without the name of a command it scores targets of prepared data (score.py), or with --clip one clip (clip.py).
"""

import importlib
import sys

from chimp_jax import runtime

COMMANDS = ('score', 'check_submission', 'clip', 'estimate', 'report', 'evaluate')


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0, 3 where some of the work could not be done, 1 where nothing was."""
    arguments = sys.argv[1:] if arguments is None else arguments
    name, rest = _split(arguments)
    command = importlib.import_module(f'chimp_jax.commands.{name}')
    options = command.make_parser().parse_args(rest)
    try:
        return command.run(options)
    except (ValueError, OSError) as failure:
        print(f'{name} failed: {" ".join(str(failure).split())}', file=sys.stderr)
        return 1


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    if arguments[:1] and arguments[0] in COMMANDS:
        return arguments[0], arguments[1:]
    return 'clip' if any(part.partition('=')[0] == '--clip' for part in arguments) else 'score', arguments


def start() -> None:
    """Of a process of its own: the settings that must stand before JAX starts, then the command."""
    runtime.configure()
    runtime.start_logging()
    runtime.use_compile_cache()
    sys.exit(main())
