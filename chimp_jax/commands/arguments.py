"""Flags and types of flags that several commands share."""

import argparse

from chimp_jax import runtime
from chimp_jax.engines import engine
from data_prep.inputs.cells import number
from data_prep.workers import memory


def metres_list(text: str) -> list[float]:
    """'0,2,4' -> [0.0, 2.0, 4.0]."""
    try:
        return [number(part, '', 'the distance') for part in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a list of metres; write for example 0,2,4,6') from None


RUNNER = "local, or a runner of Apache Beam such as DirectRunner; Beam's own options may follow (docs/scale.md)"
MULTIHOST = 'scores on several machines: the same command on each, with one shared --out (docs/scale.md)'


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the commands that can score on several machines: runner, runner_options, multihost."""
    parser.add_argument('--runner', default=engine.LOCAL, help=RUNNER)
    parser.add_argument('--multihost', action='store_true', help=MULTIHOST)
    parser.set_defaults(runner_options=())


LEAST_BYTES_TO_PREDICT = 2_000_000_000  # three members of 512 px took 1.8 GB under 1.5GB (bench/peak_memory.py)


def add_memory(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the commands that predict."""
    parser.add_argument('--memory', metavar='SIZE', help=memory.MEMORY)


def limit_memory(text: str | None, on_one_machine: bool) -> None:
    """Sets the limit of --memory. Raises ValueError if it is no size, or if several machines do the work."""
    if text and not on_one_machine:
        raise ValueError('--memory limits one machine; with --runner or --multihost leave it out')
    memory.limit_to(text, LEAST_BYTES_TO_PREDICT)


def add_compile_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the commands that run the model."""
    parser.add_argument('--compile_cache', '--compile-cache', metavar='DIR|off', help=runtime.COMPILE_CACHE)
