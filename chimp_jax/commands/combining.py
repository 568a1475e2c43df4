"""How the recipes are combined: the flags that several commands share, and what they choose."""

import argparse
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble import distances
from chimp_jax.ensemble.combination import METHODS, NEEDS_OOF, Combination, load_or_fit
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.members import Member, read_oof

log = logging.getLogger(__name__)


class Combined(NamedTuple):
    """The combination of the recipes, with the OOF predictions [rows, recipes] and labels [rows], None if missing."""

    combination: Combination
    rounding: str | float
    oof: pd.DataFrame | None
    labels: pd.Series | None

    def distance(self, members: pd.DataFrame) -> pd.Series:
        """Predictions [rows, members] -> [rows], metres, >= 0, rounded; NaN if a recipe has no prediction."""
        recipes = recipe_means(members)
        complete = recipes.notna().all(axis=1).to_numpy()
        levels = None if self.labels is None else self.labels.to_numpy()
        distance = pd.Series(np.nan, recipes.index, name='distance')
        if complete.any():
            plain = self.combination.apply(recipes[complete])
            distance[complete] = distances.round_distance(plain, self.rounding, levels)
        return distance

    def describe(self) -> list[str]:
        """Lines with the weights, and the error on the OOF rows with and without rounding."""
        weights = self.combination.weights or [None] * len(self.combination.recipes)
        lines = [
            f'{self.combination.method}: {recipe}' + ('' if weight is None else f' {weight:.4f}')
            for recipe, weight in zip(self.combination.recipes, weights, strict=True)
        ]
        if self.oof is not None:
            labels = self.labels.to_numpy()
            plain = self.combination.apply(self.oof)
            lines.append(
                f'OOF MAE {distances.mae(plain, labels):.4f} m; this figure is optimistic if the weights were fitted '
                'on these rows'
            )
            if self.rounding != 'none':
                rounded = distances.round_distance(plain, self.rounding, labels)
                lines.append(f'OOF MAE {distances.mae(rounded, labels):.4f} m with --round={self.rounding}')
        else:
            lines.append('no out-of-fold predictions: the error of the members on clips they have not seen is unknown')
        return lines


def add_combination_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--weights',
        help=f'weights of the recipes: {", ".join(METHODS)}, or a weights.json (default: greedy, as published; mean if '
        'a member was imported, because greedy weights are fitted on out-of-fold predictions)',
    )
    parser.add_argument(
        '--round',
        help='rounding of the distances: train (nearest training distance, as published), a step in metres such as '
        '0.5, or none (default: none; train with --weights=published)',
    )


def choose_combination(members: Sequence[Member], weights: str | None, rounding: str | None) -> Combined:
    """Returns the combination that --weights and --round ask for.

    weights: a method or the path of a weights.json; None for greedy, or for mean if imported members have no OOF
    predictions. rounding: None for the method's default. Raises ValueError if the flags do not fit the members.
    """
    parsed = None if rounding is None else distances.parse_rounding(rounding)
    recipes = sorted({member.recipe for member in members})
    method = weights or 'greedy'
    try:
        oof, labels = read_oof(members)
    except (ValueError, OSError):
        without = [member.name for member in members if member.has_no_oof]
        if weights is None and without:
            method = 'mean'
            if len(recipes) > 1:
                log.info('note: %s was imported without out-of-fold predictions: recipes weigh the same', without[0])
        if method in NEEDS_OOF or parsed == 'train':
            raise
        oof, labels = None, None  # some folds are not trained yet, and nothing is fitted on them
    combination = load_or_fit(method, recipes, oof, labels)
    chosen = parsed or distances.default_rounding(combination.method)
    if chosen == 'train' and labels is None:
        raise ValueError(
            f'--weights={weights} rounds to the training distances, which are in oof.csv of the members; give --round '
            'none or a step'
        )
    return Combined(combination, chosen, oof, labels)
