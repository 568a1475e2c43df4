"""Distances in metres: how wrong they are, and what is done to them last: clamped at 0, rounded where asked."""

import numpy as np

_STEPS_M = (0.001, 100.0)  # of rounding: beyond them a step is a slip of the pen
_TIE = 1e-9  # of a step: 1.05 / 0.3 is 3.5000000000000004


def _errors(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    prediction_m, target_m = np.asarray(prediction_m, float), np.asarray(target_m, float)
    # [n] against [n, 1] would broadcast to [n, n] and give a plausible wrong score.
    if prediction_m.shape != target_m.shape or prediction_m.size == 0:
        raise ValueError(
            f'a score needs equal, non-empty shapes; got {prediction_m.shape} predictions and {target_m.shape} targets'
        )
    return prediction_m - target_m


def mae(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Mean absolute error, metres; both arguments [n]."""
    return float(np.abs(_errors(prediction_m, target_m)).mean())


def rmse(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Root mean squared error, metres; both arguments [n]."""
    return float(np.sqrt(np.square(_errors(prediction_m, target_m)).mean()))


def clamp_distance(distance_m: np.ndarray) -> np.ndarray:
    """No distance is below 0. The original did not clamp, and both its output layer and its
    negative ensemble weights can go below (a fault that this project does not reproduce).
    """
    return np.maximum(distance_m, 0.0)


def parse_rounding(text: str) -> str | float:
    """What --round says: 'none', 'train' (to the nearest training distance), or a step in metres, such as '0.5'.

    Raises ValueError for anything else.
    """
    if text in ('none', 'train'):
        return text
    try:
        step_m = float(text)
    except ValueError:
        step_m = np.nan
    if not _STEPS_M[0] <= step_m <= _STEPS_M[1]:
        raise ValueError(f'--round={text}: give none, train, or a step from 0.001 to 100 m such as 0.5')
    return step_m


def default_rounding(method: str) -> str:
    """'train' for the published weights, as published; else 'none': rounding heaps the distances."""
    return 'train' if method == 'published' else 'none'


def round_distance(
    distance_m: np.ndarray, rounding: str | float, training_distances_m: np.ndarray | None = None
) -> np.ndarray:
    """Distances [n], metres, finite, rounded as parse_rounding says; ties go to the lower.

    Raises ValueError for 'train' without training distances, and for distances that are not finite.
    """
    if rounding == 'none':
        return np.asarray(distance_m, float)
    if rounding == 'train':
        if training_distances_m is None:
            raise ValueError('--round=train needs the training distances, which stand in oof.csv of the members')
        return round_to_training(distance_m, training_distances_m)
    return round_to_step(distance_m, rounding)


def round_to_step(distance_m: np.ndarray, step_m: float) -> np.ndarray:
    """The nearest multiple of step_m, ties to the lower: [n] -> [n]. Raises ValueError where one is not finite."""
    distance_m = np.asarray(distance_m, float)
    if not np.isfinite(distance_m).all():
        raise ValueError('rounding needs finite distances')
    # Rounded once more, so that files say 0.3 and not 0.30000000000000004; + 0.0 turns -0.0 into 0.0.
    return np.round(np.ceil(distance_m / step_m - 0.5 - _TIE) * step_m, 9) + 0.0


def round_to_training(distance_m: np.ndarray, training_distances_m: np.ndarray) -> np.ndarray:
    """The nearest distance seen in training, ties to the lower: [n] -> [n].

    Helped on the leaderboard (Ivanov 2021); it heaps the distances, so density estimates want it
    off.
    """
    distance_m = np.asarray(distance_m, float)
    levels = np.unique(np.asarray(training_distances_m, float))
    # A NaN would be sorted behind all levels and come out as the largest distance.
    if not levels.size or not (np.isfinite(levels).all() and np.isfinite(distance_m).all()):
        raise ValueError('rounding needs finite distances and at least one training distance')
    midpoints = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(midpoints, distance_m, side='left')]
