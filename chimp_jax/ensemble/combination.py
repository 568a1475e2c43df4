"""Combines the predictions of several recipes into one distance for each target, by weights or by their median.

The predictions of a recipe are the means over its folds. Rows are matched by (video_id, time, animal) and recipes by
name, in any order. All distances are in metres.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.distances import clamp_distance
from chimp_jax.ensemble.prediction_tables import first_key
from chimp_jax.ensemble.weights import greedy_weights, published_weights, simplex_weights

METHODS = ('greedy', 'simplex', 'mean', 'median', 'published')
NEEDS_OOF = ('greedy', 'simplex')

_SUM = 1e-6  # largest difference between 1 and the sum of the weights in a file


def combine(predictions_m: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted sum of models: [n_rows, n_models], [n_models] -> [n_rows], metres, not clamped."""
    predictions_m, weights = np.asarray(predictions_m, float), np.asarray(weights, float)
    if predictions_m.ndim != 2 or weights.shape != predictions_m.shape[1:]:
        raise ValueError(f'{predictions_m.shape} predictions do not fit {weights.shape} weights')
    return predictions_m @ weights


@dataclass(frozen=True)
class Combination:
    """A way to combine recipes into one distance."""

    method: str  # one of METHODS
    recipes: tuple[str, ...]  # sorted
    weights: tuple[float, ...] | None  # one for each recipe, sum 1, may be negative; None: take the median

    def apply(self, predictions: pd.DataFrame) -> np.ndarray:
        """Combines predictions [rows, recipes], columns in any order -> [rows], metres, >= 0.

        Raises ValueError with the name of a recipe that is missing, unknown or duplicated, or with the row of a value
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
        """Returns the text of a weights.json: the method and the weight of each recipe, null for the median."""
        weights = self.weights or [None] * len(self.recipes)
        named = dict(zip(self.recipes, weights, strict=True))
        return json.dumps({'method': self.method, 'weights': named}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str, name: str = 'weights.json') -> Combination:
        """Reads the text that to_json writes. Raises ValueError, which begins with `name`, for any other text."""
        try:
            content = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ValueError(f'{name} is not a JSON file of weights: {error}') from None
        if not isinstance(content, dict) or set(content) != {'method', 'weights'}:
            raise ValueError(f'{name} must hold {{"method": …, "weights": {{recipe: weight}}}} and nothing else')
        method, named = content['method'], content['weights']
        if method not in METHODS:
            raise ValueError(f'{name}: method {method!r} is not one of {", ".join(METHODS)}')
        if not isinstance(named, dict) or not named:
            raise ValueError(f'{name}: "weights" must give a weight for each recipe')
        recipes = tuple(sorted(named))
        if method == 'median':
            weighted = [recipe for recipe in recipes if named[recipe] is not None]
            if weighted:
                raise ValueError(f'{name}: {weighted[0]!r} has a weight, but the median uses none; write null')
            return cls(method, recipes, None)
        weights = tuple(_weight(named[recipe], recipe, name) for recipe in recipes)
        if not abs(sum(weights) - 1) <= _SUM:
            raise ValueError(f'{name}: the sum of the weights is {sum(weights):.6g}; it must be 1')
        return cls(method, recipes, weights)


def fit(
    method: str, recipes: Sequence[str], oof: pd.DataFrame | None = None, labels: pd.Series | None = None
) -> Combination:
    """Returns the combination of these recipes by one of METHODS.

    oof: OOF predictions [rows, recipes], and labels [rows] with the same keys in any order. Only the methods in
    NEEDS_OOF use them. Raises ValueError, with the name, if they are missing or do not match.
    """
    recipes = tuple(sorted(recipes))
    _same_recipes(recipes, recipes, 'the members', 'the members')
    if method not in METHODS:
        raise ValueError(f'{method!r} is not one of {", ".join(METHODS)}')
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
    """Returns the combination that --weights names: one of METHODS, or the path of a weights.json of these recipes.

    Raises ValueError if the text is neither, or, with the name, if the file has other recipes.
    """
    if text in METHODS:
        return fit(text, recipes, oof, labels)
    path = epath.Path(text)
    if not path.is_file():
        raise ValueError(f'{text!r} is neither a file of weights nor one of {", ".join(METHODS)}')
    try:
        combination = Combination.from_json(path.read_bytes().decode(), text)
    except UnicodeDecodeError as error:
        raise ValueError(f'{text} is not UTF-8 (byte {error.start}); save it as UTF-8') from None
    _same_recipes(combination.recipes, recipes, text, 'the members')
    return combination


def _aligned(recipes: tuple[str, ...], oof: pd.DataFrame, labels: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Returns OOF predictions and labels, both sorted by key.

    The order must not depend on the files: sums in another order differ in their last bits, which can change a weight.
    """
    _same_recipes(recipes, list(oof.columns), 'the members', 'the OOF predictions')
    for index, name in ((oof.index, 'the OOF predictions'), (labels.index, 'the labels')):
        if not index.is_unique:
            raise ValueError(f'{name} have more than one row for {first_key(index[index.duplicated()])}')
    different = oof.index.symmetric_difference(labels.index)
    if len(different):
        raise ValueError(f'only the OOF predictions or only the labels have rows for {first_key(different)}')
    oof = oof.sort_index()
    return oof[list(recipes)].to_numpy(float), labels.reindex(oof.index).to_numpy(float)


def _same_recipes(ours: Sequence[str], theirs: Sequence[str], our_name: str, their_name: str) -> None:
    if not len(theirs):
        raise ValueError(f'no recipe in {their_name}')
    ours, theirs = list(ours), list(theirs)
    for recipe in theirs:
        if theirs.count(recipe) > 1:
            raise ValueError(f'the recipe {recipe!r} appears more than once in {their_name}')
        if recipe not in ours:
            raise ValueError(f'the recipe {recipe!r} of {their_name} is not in {our_name}')
    for recipe in ours:
        if recipe not in theirs:
            raise ValueError(f'the recipe {recipe!r} of {our_name} is not in {their_name}')


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'{next(name for name in names if names.count(name) > 1)!r} appears twice')
    return content


def _no_number(text: str) -> float:
    raise ValueError(f'{text} is not a number')


def _weight(value: object, recipe: str, name: str) -> float:
    # Python takes a bool for an int, json reads 1e999 as infinity, and some integers are too large for a float.
    try:
        weight = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, OverflowError):
        weight = math.nan
    if not math.isfinite(weight):
        raise ValueError(f'{name}: the weight of {recipe!r} is not a finite number')
    return weight
