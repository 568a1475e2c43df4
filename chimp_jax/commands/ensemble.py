"""Compares the ways to combine the recipes, and writes the weights of one of them. Needs one core and no clips.

    chimp-distance ensemble --members runs                                    # errors of every method
    chimp-distance ensemble --members runs --method simplex --out ensemble    # and weights.json
    chimp-distance ensemble --members runs --method simplex --out ensemble --predictions a.csv b.csv

The errors are those of out-of-fold (OOF) predictions. "fitted rows": on the rows that the weights were fitted on, which
is optimistic. "held-out groups": on groups of sites with weights that were fitted on the other groups.
OUT gets ensemble_report.csv. With one --method it also gets weights.json, which predict.py --weights reads. With
--predictions (a CSV video_id,time,distance for each recipe, as NAME=FILE or NAME.csv) it also gets predictions.csv.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd
from etils import epath

from chimp_jax.ensemble.combination import METHODS, NEEDS_OOF, Combination, fit
from chimp_jax.ensemble.distances import default_rounding, parse_rounding, round_distance
from chimp_jax.ensemble.held_out import read_places, score_methods, to_text
from chimp_jax.ensemble.prediction_tables import join_predictions, read_predictions, without_empty_animal
from chimp_jax.ensemble.results import write_table
from chimp_jax.field.status import CLIPS
from chimp_jax.members import Member, find_members, read_oof
from data_prep.files import write_whole

ALL = 'all'


@dataclasses.dataclass(frozen=True)
class EnsembleRequest:
    """The flags of `ensemble`."""

    members: str  # folder of train.py --workdir
    method: str  # one of METHODS, or ALL
    round: str | None
    out: str | None
    predictions: Sequence[str]  # NAME=FILE or NAME.csv, one for each recipe

    def __post_init__(self):
        """Raises ValueError if the flags do not fit each other."""
        if self.predictions and not (self.out and self.method != ALL):
            raise ValueError('--predictions requires --out and one --method')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance ensemble',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--members', required=True, help='folder of train.py --workdir')
    parser.add_argument('--method', choices=(*METHODS, ALL), default=ALL, help='default: all of them, to compare')
    parser.add_argument('--round', help='none, train (nearest training distance) or a step in metres such as 0.5')
    parser.add_argument('--out', help='folder for ensemble_report.csv, weights.json and predictions.csv')
    parser.add_argument('--predictions', nargs='+', default=[], metavar='CSV', help='NAME=FILE, or NAME.csv')
    return parser


def run(options: argparse.Namespace) -> int:
    """Prints the report and writes the files. Raises ValueError or OSError for input that does not fit."""
    request = EnsembleRequest(**vars(options))
    given = None if request.round is None else parse_rounding(request.round)
    out = epath.Path(request.out) if request.out else None
    members = find_members(request.members)
    recipes = sorted({member.recipe for member in members})
    try:
        (oof, labels), missing = read_oof(members), None
    except ValueError as error:
        if request.method in (*NEEDS_OOF, ALL):
            raise
        (oof, labels), missing = (None, None), error  # mean, median and published are not fitted
    combinations, notes = fit_methods(request.method, recipes, oof, labels)
    if missing:
        print(f'no errors can be computed: {missing}')
    else:
        rounding = given if isinstance(given, float) else 'train'
        scores, text = compare_methods(combinations, members, oof, labels, rounding, notes)
        print(text)
        if out:
            write_whole(out / 'ensemble_report.csv', scores.to_csv(index=False))
    if request.method != ALL:
        combination = combinations[request.method]
        print('\n' + combination.to_json(), end='')
        if out:
            write_whole(out / 'weights.json', combination.to_json())
        if request.predictions:
            rounding = default_rounding(request.method) if given is None else given
            rows = combine_files(combination, request.predictions, rounding, labels)
            write_table(out / 'predictions.csv', without_empty_animal(rows))
    return 0


def fit_methods(
    method: str, recipes: list[str], oof: pd.DataFrame | None, labels: pd.Series | None
) -> tuple[dict[str, Combination], list[str]]:
    """Returns {method: combination}, of every method for 'all', and a line for each method that cannot be fitted."""
    if method != ALL:
        return {method: fit(method, recipes, oof, labels)}, []
    combinations, notes = {}, []
    for each in METHODS:
        try:
            combinations[each] = fit(each, recipes, oof, labels)
        except ValueError as error:
            notes.append(f'not compared: {each}: {error}')
    return combinations, notes


def compare_methods(
    combinations: dict[str, Combination],
    members: list[Member],
    oof: pd.DataFrame,
    labels: pd.Series,
    rounding: str | float,
    notes: list[str],
) -> tuple[pd.DataFrame, str]:
    """Returns the table of score_methods, and the report as text: the basis of the errors, the notes, the errors."""
    places = read_places(_folder_with_places(members), labels)
    scores = score_methods(combinations, oof, labels, places, rounding)
    basis = describe_basis(members, labels, places.note, rounding, 'published' in combinations)
    return scores, to_text(scores, [*basis, *notes])


def describe_basis(
    members: list[Member], labels: pd.Series, place_note: str, rounding: str | float, published: bool
) -> list[str]:
    """Returns lines that tell what the errors are computed from."""
    n_clips = labels.index.get_level_values('video_id').nunique()
    lines = [
        f'{len(labels)} OOF rows of {n_clips} clips, {len({member.recipe for member in members})} recipes, '
        f'{len(members)} members',
        f'held out: {place_note}',
        'rounded: to the nearest training distance' if rounding == 'train' else f'rounded: to steps of {rounding:g} m',
    ]
    if any(member.config.data.folds != 'site' for member in members):
        lines.append('folds by clip: members saw other clips of the same sites, so all errors are optimistic')
    if any(member.config.data.get('teacher') for member in members):
        lines.append(
            'a member is a student: its teachers knew labels of these rows, so all errors are a little optimistic'
        )
    if published:
        lines.append("published: not fitted here; its author fitted the weights on the challenge's OOF rows")
    return lines


def combine_files(
    combination: Combination, files: Sequence[str], rounding: str | float, labels: pd.Series | None
) -> pd.DataFrame:
    """Tables of all recipes, as NAME=FILE or a file whose stem is the recipe -> video_id, time, distance."""
    tables = {}
    for text in files:
        name, equals, path = text.partition('=')
        if not equals:
            name, path = PurePosixPath(text).stem, text
        if name in tables:
            raise ValueError(f'--predictions has two tables of {name!r}; give each a name: RECIPE=FILE')
        tables[name] = read_predictions(path, ['distance'])
    joined = join_predictions(tables)
    distance = round_distance(combination.apply(joined), rounding, labels)
    return pd.Series(distance, joined.index, name='distance').reset_index()


def _folder_with_places(members: list[Member]) -> epath.Path:
    """Returns the folder of the first recipe whose folder has the sites of the training clips, else of the first."""
    folders = [member.folder.parent for member in members]
    return next((folder for folder in folders if (folder / CLIPS).exists()), folders[0])
