"""How the recipes are combined: flags that several commands have."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble import distances
from chimp_jax.ensemble.combination import METHODS, NEEDS_OOF, Combination, load_or_fit
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.members import Member, read_oof


class Combined(NamedTuple):
    """The members' combination, and their OOF predictions [rows, recipes] and labels [rows], None without any."""

    combination: Combination
    rounding: str | float
    oof: pd.DataFrame | None
    labels: pd.Series | None

    def distance(self, members: pd.DataFrame) -> pd.Series:
        """[rows, members] -> [rows], metres, >= 0, rounded as was asked; NaN where a recipe says nothing."""
        recipes = recipe_means(members)
        complete = recipes.notna().all(axis=1).to_numpy()
        levels = None if self.labels is None else self.labels.to_numpy()
        distance = pd.Series(np.nan, recipes.index, name='distance')
        if complete.any():
            plain = self.combination.apply(recipes[complete])
            distance[complete] = distances.round_distance(plain, self.rounding, levels)
        return distance

    def describe(self) -> list[str]:
        """The weights, and the error on the OOF rows, with and without rounding."""
        weights = self.combination.weights or [None] * len(self.combination.recipes)
        lines = [
            f'{self.combination.method}: {recipe}' + ('' if weight is None else f' {weight:.4f}')
            for recipe, weight in zip(self.combination.recipes, weights, strict=True)
        ]
        if self.oof is not None:
            labels = self.labels.to_numpy()
            plain = self.combination.apply(self.oof)
            lines.append(f'OOF MAE {distances.mae(plain, labels):.4f} m; weights fitted on these rows flatter it')
            if self.rounding != 'none':
                rounded = distances.round_distance(plain, self.rounding, labels)
                lines.append(f'OOF MAE {distances.mae(rounded, labels):.4f} m with --round={self.rounding}')
        return lines


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--weights',
        default='greedy',
        help=f'of the recipes: {", ".join(METHODS)}, or a weights.json (default: greedy, as published)',
    )
    parser.add_argument(
        '--round',
        help='train: to the nearest training distance, as published; a step such as 0.5; none '
        '(default: none, but train with --weights=published)',
    )


def choose_combination(options: argparse.Namespace, members: Sequence[Member]) -> Combined:
    """What the flags ask for. Raises ValueError where they do not fit the members."""
    rounding = None if options.round is None else distances.parse_rounding(options.round)
    try:
        oof, labels = read_oof(members)
    except (ValueError, OSError):
        if options.weights in NEEDS_OOF or rounding == 'train':
            raise
        oof, labels = None, None  # some folds are not trained yet; nothing is fitted on them
    recipes = sorted({member.recipe for member in members})
    combination = load_or_fit(options.weights, recipes, oof, labels)
    return Combined(combination, rounding or distances.default_rounding(combination.method), oof, labels)
