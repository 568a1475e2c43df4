"""Kinds of values that flags of several commands take."""

import argparse


def metres(text: str) -> list[float]:
    """'0,2,4' -> [0.0, 2.0, 4.0]."""
    try:
        return [float(number) for number in text.split(',')]
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no list of metres such as 0,2,4,6') from None
