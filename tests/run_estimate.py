"""Runs chimp-distance estimate in a test."""

import pandas as pd

from chimp_jax.commands import entry
from chimp_jax.field import evaluate

BIAS_WARNING = evaluate.bias_warning
RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')


def estimate(runs, clips, out, *more):
    arguments = ['estimate', str(clips), '--members', str(runs), '--out', str(out), '--workers', '1', *more]
    return entry.main(arguments)


def read(out):
    return pd.read_csv(out / 'distances.csv', keep_default_na=False, na_values={'distance': ['']})
