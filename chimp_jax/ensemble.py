"""From the predictions of several recipes to one distance a target.

Source: Ivanov 2021, section 8 (published_method). Pure NumPy and pandas. Tables are
joined on (video_id, time): nothing is ever matched by position. All distances are metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.workdir import write_whole

KEY = ['video_id', 'time']
GREEDY_COEFFICIENTS = np.arange(0, 1.11, 0.01)  # 112 floats: rounding lets 1.11 in, as published


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


def greedy_chain(oof_m: np.ndarray, target_m: np.ndarray) -> tuple[list[int], list[float]]:
    """The published greedy pairwise search: models by OOF MAE, each mixed into those before it.

    oof_m: [n_rows, n_models]; target_m: [n_rows]. Returns the order (n_models indices) and its
    coefficients (n_models - 1): prediction = c * prediction + (1 - c) * next model, with c the
    first minimum over GREEDY_COEFFICIENTS if strictly better than all before, else 1.
    Models of equal MAE keep the order of their columns.
    """
    columns, target_m = np.asarray(oof_m, float).T, np.asarray(target_m, float)
    if columns.ndim != 2 or not len(columns):
        raise ValueError(f'OOF predictions must be [n_rows, n_models], got {np.shape(oof_m)}')
    if not (np.isfinite(columns).all() and np.isfinite(target_m).all()):
        raise ValueError('OOF predictions and targets must be finite: drop rows with no distance')
    columns = np.ascontiguousarray(columns)
    scores = [mae(column, target_m) for column in columns]
    order = [int(index) for index in np.argsort(scores, kind='stable')]
    mixed, best = columns[order[0]], scores[order[0]]
    coefficients = []
    for model in order[1:]:
        trials = [mae(c * mixed + (1 - c) * columns[model], target_m) for c in GREEDY_COEFFICIENTS]
        first_minimum = int(np.argmin(trials))
        coefficient = 1.0
        if trials[first_minimum] < best:
            best, coefficient = trials[first_minimum], float(GREEDY_COEFFICIENTS[first_minimum])
        mixed = coefficient * mixed + (1 - coefficient) * columns[model]
        coefficients.append(coefficient)
    return order, coefficients


def chain_weights(order: Sequence[int], coefficients: Sequence[float]) -> np.ndarray:
    """The effective weight of each model in a chain: [n_models], sum 1, some may be negative."""
    if sorted(order) != list(range(len(order))) or len(coefficients) != len(order) - 1:
        raise ValueError(
            f'a chain of n models needs each of 0..n-1 once and n - 1 coefficients; got order '
            f'{list(order)} and {len(coefficients)} coefficients'
        )
    weights = np.zeros(len(order))
    weights[order[0]] = 1.0
    for model, coefficient in zip(order[1:], coefficients, strict=True):
        weights *= coefficient
        weights[model] = 1 - coefficient
    return weights


def greedy_weights(oof_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """Weights [n_models] of the greedy pairwise search on OOF predictions [n_rows, n_models]."""
    return chain_weights(*greedy_chain(oof_m, target_m))


def combine(predictions_m: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of models: [n_rows, n_models], [n_models] -> [n_rows], metres, not clamped."""
    predictions_m, weights = np.asarray(predictions_m, float), np.asarray(weights, float)
    if predictions_m.ndim != 2 or weights.shape != predictions_m.shape[1:]:
        raise ValueError(f'{predictions_m.shape} predictions do not fit {weights.shape} weights')
    return predictions_m @ weights


def clamp_distance(distance_m: np.ndarray) -> np.ndarray:
    """No distance is below 0. The original did not clamp, and both its output layer and its
    negative ensemble weights can go below (a fault that this project does not reproduce).
    """
    return np.maximum(distance_m, 0.0)


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


def _keyed(frame: pd.DataFrame, name: str) -> pd.Series:
    """(video_id, time) -> distance of one table; refuses what cannot be joined on keys."""
    _require_columns(frame, name, [*KEY, 'distance'])
    series = frame.set_index(KEY)['distance']
    duplicated = series.index.duplicated()
    if duplicated.any():
        raise ValueError(f'{name}: more than one row for {_first(series.index[duplicated])}')
    not_finite = ~np.isfinite(series.to_numpy(float))
    if not_finite.any():
        raise ValueError(f'{name}: no finite distance for {_first(series.index[not_finite])}')
    return series


def _require_columns(frame: pd.DataFrame, name: str, columns: list[str]) -> None:
    absent = [column for column in columns if column not in frame.columns]
    if absent:
        raise ValueError(f'{name}: no column {absent[0]!r}; need {", ".join(columns)}')


def _first(index: pd.MultiIndex) -> str:
    video_id, time_s = index[0]
    return f'{video_id} at {time_s} s ({len(index)} in all)'


def join_predictions(frames: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Join tables video_id, time, distance, e.g. one a recipe, or one a fold of a recipe.

    Returns one column a table, index (video_id, time), sorted: the order of the rows of the tables
    does not matter. ValueError names the table and the first key for a key that is doubled, has no
    finite distance, or is missing from one table and not from another.
    """
    if not frames:
        raise ValueError('no predictions to join')
    series = {name: _keyed(frame, name) for name, frame in frames.items()}
    joined = pd.concat(series, axis=1).sort_index()
    for name, column in joined.items():
        if column.isna().any():
            raise ValueError(
                f'{name}: no prediction for {_first(joined.index[column.isna()])}, which other '
                'tables have: predict it again'
            )
    return joined


def write_predictions(path: epath.PathLike, predictions: pd.DataFrame, submission_format: pd.DataFrame) -> None:
    """Write video_id, time, distance in the rows and order of submission_format, whole or not.

    predictions: video_id, time, distance and any more columns, in any order; rows that are not asked for are left out.
    ValueError names the first key that is asked for and missing.
    """
    _require_columns(submission_format, 'submission_format', KEY)
    asked = pd.MultiIndex.from_frame(submission_format[KEY])
    missing = ~asked.isin(_keyed(predictions, 'predictions').index)
    if missing.any():
        raise ValueError(f'no prediction for {_first(asked[missing])}: predict these clips first')
    text = predictions.set_index(KEY).reindex(asked).reset_index().to_csv(index=False)
    write_whole(epath.Path(path), text)
