"""Flags for rows that a person should check. A flag changes no distance."""

from typing import NamedTuple

import numpy as np

FLAGS = ('outside_training', 'overexposed', 'dark', 'wide_spread')
# The members give one distance for a second, and several animals are in view.
ONE_FOR_ALL = 'one_for_all'
# Distances from the ground of a station: why a distance is missing, and why one may be wrong.
NO_GROUND_FLAGS = ('feet_cut', 'above_horizon')
GROUND_FLAGS = ('no_known_point', 'camera_moved', 'camera_unsure', 'ground_unfit')
# Measured with `python -m bench.frame_luma FOLDER`: in 12 real clips, a frame whose exposure had not settled has 13.9,
# and no animal can be seen in it; the next darkest clip has 32. Lit infrared nights of the demo go down to 22.9.
DARK_LUMA = 20.0
_WIDE_SPREAD_QUANTILE = 0.95


class Training(NamedTuple):
    """Limits from the members' OOF rows. If a limit is None, its flag is never set."""

    least_m: float | None  # nearest label
    most_m: float | None  # farthest label
    wide_spread_m: float | None  # the 95th percentile of the OOF rows' comparable spread


def training_limits(label_m, spread_m=None) -> Training:
    """OOF labels label_m [n] and their spread_m [n] (intervals.comparable_spread, None with one recipe) -> limits."""
    label_m = np.asarray(label_m, float)
    if not label_m.size:
        return Training(None, None, None)
    wide_m = None if spread_m is None else float(np.quantile(np.asarray(spread_m, float), _WIDE_SPREAD_QUANTILE))
    return Training(float(label_m.min()), float(label_m.max()), wide_m)


def flag_rows(training: Training, estimate_m, overexposed, brightness, spread_m=None) -> list[str]:
    """Returns the flags of each row in the order of FLAGS, separated by spaces.

    estimate_m [n]: metres, NaN if missing; overexposed [n] bool: the clip was gamma corrected; brightness [n]: mean
    luma of the target's frame, 0..255, NaN if unknown; spread_m [n]: intervals.comparable_spread, None with one recipe.
    Raises ValueError if the lengths differ.

    outside_training: the estimate is nearer or farther than every training label. dark: the frame's mean luma is below
    DARK_LUMA. wide_spread: the recipes differ by more than in 95 of 100 training rows. The spread of new rows is a mean
    over folds, so fewer than 5 of 100 similar rows get this flag.
    """
    n = len(estimate_m)
    columns = {
        'outside_training': _outside(np.asarray(estimate_m, float), training),
        'overexposed': np.asarray(overexposed, bool),
        'dark': np.asarray(brightness, float) < DARK_LUMA,
        'wide_spread': _wide(spread_m, training, n),
    }
    for name, column in columns.items():
        if column.shape != (n,):
            raise ValueError(f'{name} has {column.shape} values for {n} rows')
    table = np.stack([columns[name] for name in FLAGS], axis=1)
    return [' '.join(name for name, is_set in zip(FLAGS, row, strict=True) if is_set) for row in table]


def _outside(estimate_m: np.ndarray, training: Training) -> np.ndarray:
    if training.least_m is None:
        return np.zeros(len(estimate_m), bool)
    return (estimate_m < training.least_m) | (estimate_m > training.most_m)


def _wide(spread_m, training: Training, n: int) -> np.ndarray:
    if spread_m is None or training.wide_spread_m is None:
        return np.zeros(n, bool)
    return np.asarray(spread_m, float) > training.wide_spread_m
