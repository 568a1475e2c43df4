"""Runs many commands in one process: python -m bench.hostile.driver CASES RESULTS

CASES is a JSON list of {name, call}. A call is a list: the arguments of `chimp-distance`; or 'build' and the arguments
of data_prep.build; or 'function', 'module:name' and its arguments. RESULTS gets a line for each finished case, so the
parent knows the case that ended this process.
"""

import contextlib
import importlib
import io
import json
import logging
import sys
import time
import traceback
from pathlib import Path


def call(arguments: list[str]) -> int:
    """Runs one case and returns its exit code."""
    first, *rest = arguments
    if first == 'build':
        from data_prep import build

        return build.main(rest)
    if first == 'function':
        module, name = rest[0].split(':')
        try:
            getattr(importlib.import_module(module), name)(*rest[1:])
        except (ValueError, OSError) as refusal:
            print(str(refusal))
            return 1
        return 0
    from chimp_jax.commands import entry

    return entry.main(arguments)


def run(case: dict) -> dict:
    """Returns what became of a case."""
    printed, began = io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        _start_logging()
        try:
            code = call(case['call'])
        except SystemExit as end:  # of argparse
            code = end.code
        except BaseException:
            code = 'crash'
            traceback.print_exc()
    return {
        'name': case['name'],
        'code': code,
        'seconds': round(time.monotonic() - began, 2),
        'printed': printed.getvalue()[-1500:],
    }


def _start_logging() -> None:
    """Shows the lines that a person sees, as the entrance of a command does."""
    from chimp_jax import runtime

    logging.getLogger('chimp_jax').handlers.clear()
    runtime.quiet_tensorflow()
    runtime.start_logging()


def main() -> None:
    cases, results = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    done = {json.loads(line)['name'] for line in results.read_text().splitlines()} if results.exists() else set()
    for case in cases:
        if case['name'] not in done:
            with results.open('a') as file:
                file.write(json.dumps(run(case)) + '\n')


if __name__ == '__main__':
    main()
