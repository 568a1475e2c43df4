"""From the predictions of several recipes to one distance a target: python -m chimp_jax.ensemble --members runs

Mean over the folds of a recipe first; then recipes are combined by weights, or by their median. Tables are joined on
(video_id, time), recipes by name, whatever the order of either. All distances are metres.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.distances import (
    clamp_distance,
)
from chimp_jax.ensemble.prediction_tables import first_key
from chimp_jax.ensemble.weights import greedy_weights, published_weights, simplex_weights

METHODS = ('greedy', 'simplex', 'mean', 'median', 'published')
NEEDS_OOF = ('greedy', 'simplex')

_SUM = 1e-6  # how far from 1 the weights of a file may add up to


def combine(predictions_m: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of models: [n_rows, n_models], [n_models] -> [n_rows], metres, not clamped."""
    predictions_m, weights = np.asarray(predictions_m, float), np.asarray(weights, float)
    if predictions_m.ndim != 2 or weights.shape != predictions_m.shape[1:]:
        raise ValueError(f'{predictions_m.shape} predictions do not fit {weights.shape} weights')
    return predictions_m @ weights


@dataclass(frozen=True)
class Combination:
    """How recipes become one distance."""

    method: str  # one of METHODS
    recipes: tuple[str, ...]  # sorted
    weights: tuple[float, ...] | None  # of the recipes, sum 1, may be negative; None: their median

    def apply(self, predictions: pd.DataFrame) -> np.ndarray:
        """Predictions [rows, recipes], columns by name in any order -> [rows], metres, >= 0.

        Raises ValueError with the name of a recipe that is missing, too many or twice, and with the row of a value
        that is not finite.
        """
        _same_recipes(self.recipes, list(predictions.columns), 'the weights', 'the predictions')
        values = predictions[list(self.recipes)].to_numpy(float)
        wrong = ~np.isfinite(values)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            key = predictions.index[row]
            place = ' at '.join(map(str, key)) if isinstance(key, tuple) else f'row {key}'
            raise ValueError(f'{self.recipes[column]}: no finite distance for {place}')
        return clamp_distance(np.median(values, axis=1) if self.weights is None else combine(values, self.weights))

    def to_json(self) -> str:
        """The text of a weights.json: the method, and the weight of each recipe, null where there is none."""
        weights = self.weights or [None] * len(self.recipes)
        named = dict(zip(self.recipes, weights, strict=True))
        return json.dumps({'method': self.method, 'weights': named}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str, name: str = 'weights.json') -> Combination:
        """What to_json wrote. Raises ValueError, which begins with `name`, for anything else."""
        try:
            content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{name} is not JSON of weights: {error}') from None
        if not isinstance(content, dict) or set(content) != {'method', 'weights'}:
            raise ValueError(f'{name} must hold {{"method": …, "weights": {{recipe: weight}}}} and nothing else')
        method, named = content['method'], content['weights']
        if method not in METHODS:
            raise ValueError(f'{name}: method {method!r} is none of {", ".join(METHODS)}')
        if not isinstance(named, dict) or not named:
            raise ValueError(f'{name}: "weights" must give each recipe its weight')
        recipes = tuple(sorted(named))
        if method == 'median':
            weighted = [recipe for recipe in recipes if named[recipe] is not None]
            if weighted:
                raise ValueError(f'{name}: {weighted[0]!r} has a weight, but the median has none: write null')
            return cls(method, recipes, None)
        weights = tuple(_weight(named[recipe], recipe, name) for recipe in recipes)
        if not abs(sum(weights) - 1) <= _SUM:
            raise ValueError(f'{name}: the weights add up to {sum(weights):.6g}, not to 1')
        return cls(method, recipes, weights)


def fit(
    method: str, recipes: Sequence[str], oof: pd.DataFrame | None = None, labels: pd.Series | None = None
) -> Combination:
    """The combination of these recipes by one of METHODS.

    oof: OOF predictions [rows, recipes], and labels [rows], of the same keys in any order; both are needed by
    NEEDS_OOF alone. Raises ValueError where they are missing or do not fit, by name.
    """
    recipes = tuple(sorted(recipes))
    _same_recipes(recipes, recipes, 'the members', 'the members')
    if method not in METHODS:
        raise ValueError(f'{method!r} is none of {", ".join(METHODS)}')
    if method == 'median':
        return Combination(method, recipes, None)
    if method == 'mean':
        weights = np.full(len(recipes), 1 / len(recipes))
    elif method == 'published':
        weights = published_weights(recipes)
    elif oof is None or labels is None:
        raise ValueError(
            f'{method} weights are fitted on OOF predictions (oof.csv of every member), which are missing: train all '
            'folds with train.py, or choose mean, median, published or a weights.json'
        )
    else:
        weights = (greedy_weights if method == 'greedy' else simplex_weights)(*_aligned(recipes, oof, labels))
    return Combination(method, recipes, tuple(weights.tolist()))


def load_or_fit(
    text: str, recipes: Sequence[str], oof: pd.DataFrame | None = None, labels: pd.Series | None = None
) -> Combination:
    """What --weights says: one of METHODS, fitted as by `fit`, or the path of a weights.json of these very recipes.

    Raises ValueError where it is neither, and where the file is about other recipes, by name.
    """
    if text in METHODS:
        return fit(text, recipes, oof, labels)
    path = epath.Path(text)
    if not path.is_file():
        raise ValueError(f'{text!r} is neither a file of weights nor one of {", ".join(METHODS)}')
    try:
        combination = Combination.from_json(path.read_bytes().decode(), text)
    except UnicodeDecodeError as error:
        raise ValueError(f'{text} is not UTF-8 (byte {error.start})') from None
    _same_recipes(combination.recipes, recipes, text, 'the members')
    return combination


def _aligned(recipes: tuple[str, ...], oof: pd.DataFrame, labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Sorted by key: sums in another order have other last bits, and could choose another weight."""
    _same_recipes(recipes, list(oof.columns), 'the members', 'the OOF predictions')
    for index, name in ((oof.index, 'the OOF predictions'), (labels.index, 'the labels')):
        if not index.is_unique:
            raise ValueError(f'{name} have more than one row for {first_key(index[index.duplicated()])}')
    different = oof.index.symmetric_difference(labels.index)
    if len(different):
        raise ValueError(f'the OOF predictions and the labels are of other rows: {first_key(different)}')
    oof = oof.sort_index()
    return oof[list(recipes)].to_numpy(float), labels.reindex(oof.index).to_numpy(float)


def _same_recipes(ours: Sequence[str], theirs: Sequence[str], our_name: str, their_name: str) -> None:
    if not len(theirs):
        raise ValueError(f'no recipe in {their_name}')
    ours, theirs = list(ours), list(theirs)
    for recipe in theirs:
        if theirs.count(recipe) > 1:
            raise ValueError(f'the recipe {recipe!r} stands more than once in {their_name}')
        if recipe not in ours:
            raise ValueError(f'the recipe {recipe!r} of {their_name} is not in {our_name}')
    for recipe in ours:
        if recipe not in theirs:
            raise ValueError(f'the recipe {recipe!r} of {our_name} is not in {their_name}')


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'{next(name for name in names if names.count(name) > 1)!r} stands there twice')
    return content


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is no number')


def _weight(value: object, recipe: str, name: str) -> float:
    # A bool is an int to Python, 1e999 an infinity to JSON, and some integers are too large for a float.
    try:
        weight = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, OverflowError):
        weight = math.nan
    if not math.isfinite(weight):
        raise ValueError(f'{name}: the weight of {recipe!r} is no finite number')
    return weight
