"""Flags and types of flags that several commands share."""

import argparse

from chimp_jax import runtime
from data_prep.inputs.cells import number


def metres_list(text: str) -> list[float]:
    """'0,2,4' -> [0.0, 2.0, 4.0]."""
    try:
        return [number(part, '', 'the distance') for part in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a list of metres; write for example 0,2,4,6') from None


def add_compile_cache(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the commands that run the model."""
    parser.add_argument('--compile_cache', '--compile-cache', metavar='DIR|off', help=runtime.COMPILE_CACHE)
