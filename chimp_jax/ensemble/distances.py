"""Errors of distances in metres, and the last two steps of a prediction: clamping at 0 and rounding."""

import numpy as np

_STEPS_M = (0.001, 100.0)  # smallest and largest step of rounding; another step is a typing error
_TIE = 1e-9  # as a part of a step: 1.05 / 0.3 is 3.5000000000000004 and still a tie


def _errors(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    prediction_m, target_m = np.asarray(prediction_m, float), np.asarray(target_m, float)
    # [n] and [n, 1] would broadcast to [n, n] and give a plausible wrong score.
    if prediction_m.shape != target_m.shape or prediction_m.size == 0:
        raise ValueError(
            f'a score needs equal, non-empty shapes; got {prediction_m.shape} predictions and {target_m.shape} targets'
        )
    return prediction_m - target_m


def mae(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Returns the mean absolute error in metres. Both arguments have the shape [n]."""
    return float(np.abs(_errors(prediction_m, target_m)).mean())


def rmse(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Returns the root mean squared error in metres. Both arguments have the shape [n]."""
    return float(np.sqrt(np.square(_errors(prediction_m, target_m)).mean()))


def clamp_distance(distance_m: np.ndarray) -> np.ndarray:
    """Replaces distances below 0 by 0.

    The original does not clamp. Its output layer and its negative ensemble weights can give distances below 0; this
    project does not reproduce that fault.
    """
    return np.maximum(distance_m, 0.0)


def parse_rounding(text: str) -> str | float:
    """Parses --round: 'none', 'train' (the nearest training distance), or a step in metres such as '0.5'.

    Raises ValueError for any other text.
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
    """Returns 'train' for the published weights, as published, and 'none' for all others: rounding heaps distances."""
    return 'train' if method == 'published' else 'none'


def round_distance(
    distance_m: np.ndarray, rounding: str | float, training_distances_m: np.ndarray | None = None
) -> np.ndarray:
    """Rounds finite distances [n], metres, by a value of parse_rounding. A tie goes to the lower distance.

    Raises ValueError if 'train' has no training distances, or if a distance to round is not finite.
    """
    if rounding == 'none':
        return np.asarray(distance_m, float)
    if rounding == 'train':
        if training_distances_m is None:
            raise ValueError('--round=train needs the training distances, which are in oof.csv of the members')
        return round_to_training(distance_m, training_distances_m)
    return round_to_step(distance_m, rounding)


def round_to_step(distance_m: np.ndarray, step_m: float) -> np.ndarray:
    """Returns the nearest multiples of step_m, [n] -> [n]. A tie goes to the lower one.

    Raises ValueError if a distance is not finite.
    """
    distance_m = np.asarray(distance_m, float)
    if not np.isfinite(distance_m).all():
        raise ValueError('rounding needs finite distances')
    # np.round makes files show 0.3, not 0.30000000000000004. Adding 0.0 turns -0.0 into 0.0.
    return np.round(np.ceil(distance_m / step_m - 0.5 - _TIE) * step_m, 9) + 0.0


def round_to_training(distance_m: np.ndarray, training_distances_m: np.ndarray) -> np.ndarray:
    """Returns the nearest distances of the training set, [n] -> [n]. A tie goes to the lower one.

    Rounding improved the score on the leaderboard (Ivanov 2021). It heaps the distances, so density estimates must not
    use it.
    """
    distance_m = np.asarray(distance_m, float)
    levels = np.unique(np.asarray(training_distances_m, float))
    # NaN sorts after all levels and would become the largest distance.
    if not levels.size or not (np.isfinite(levels).all() and np.isfinite(distance_m).all()):
        raise ValueError('rounding needs finite distances and at least one training distance')
    midpoints = (levels[1:] + levels[:-1]) / 2
    return levels[np.searchsorted(midpoints, distance_m, side='left')]
