"""How good is each way to combine these members, and what does one of them say? On one core, from tables alone.

    chimp-distance ensemble --members runs                                    # errors of every method
    chimp-distance ensemble --members runs --method simplex --out ensemble    # and weights.json
    chimp-distance ensemble --members runs --method simplex --out ensemble --predictions a.csv b.csv

Errors are those of out-of-fold (OOF) predictions: on the rows that the weights were fitted on, and, the honest figure,
on a group of sites with weights that were fitted on the other groups. OUT gets ensemble_report.csv and, for one
method, weights.json, which predict.py --weights takes; with --predictions (video_id, time, distance of each recipe, as
NAME=FILE or NAME.csv) also predictions.csv.
"""

import argparse
from pathlib import PurePosixPath

import pandas as pd
from etils import epath

from chimp_jax.ensemble.combination import METHODS, NEEDS_OOF, Combination, fit
from chimp_jax.ensemble.distances import default_rounding, parse_rounding, round_distance
from chimp_jax.ensemble.held_out import read_places, score_methods, to_text
from chimp_jax.ensemble.prediction_tables import join_predictions, read_predictions
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import Member, find_members, read_oof
from data_prep.files import write_whole

ALL = 'all'


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


def combine_files(
    combination: Combination, files: list[str], rounding: str | float, labels: pd.Series | None
) -> pd.DataFrame:
    """video_id, time, distance of the tables of all recipes: NAME=FILE, or a file whose stem is the recipe."""
    tables = {}
    for text in files:
        name, equals, path = text.partition('=')
        if not equals:
            name, path = PurePosixPath(text).stem, text
        if name in tables:
            raise ValueError(f'--predictions: two tables of {name!r}; name them: RECIPE=FILE')
        tables[name] = read_predictions(path, ['distance'])
    joined = join_predictions(tables)
    distance = round_distance(combination.apply(joined), rounding, labels)
    return pd.Series(distance, joined.index, name='distance').reset_index()


def describe_basis(
    members: list[Member], n_rows: int, n_clips: int, place_note: str, rounding: str | float, published: bool
) -> list[str]:
    """Lines that say what the figures stand on."""
    notes = [
        f'{n_rows} OOF rows of {n_clips} clips, {len({member.recipe for member in members})} recipes, '
        f'{len(members)} members',
        f'held out: {place_note}',
        'rounded: to the nearest training distance' if rounding == 'train' else f'rounded: to steps of {rounding:g} m',
    ]
    if any(member.config.data.folds == 'clip' for member in members):
        notes.append('folds by clip: members saw other clips of the same sites, so all figures are optimistic')
    if published:
        notes.append("published: nothing is fitted here; its author fitted it on the challenge's OOF rows")
    return notes


def fit_methods(
    method: str, recipes: list[str], oof: pd.DataFrame | None, labels: pd.Series | None
) -> tuple[dict[str, Combination], list[str]]:
    """The combination by the method, or by each one for 'all', with a line for each that does not suit the recipes."""
    if method != ALL:
        return {method: fit(method, recipes, oof, labels)}, []
    combinations, notes = {}, []
    for each in METHODS:
        try:
            combinations[each] = fit(each, recipes, oof, labels)
        except ValueError as error:
            notes.append(f'not compared: {each}: {error}')
    return combinations, notes


def run(options: argparse.Namespace) -> int:
    """Prints the report, and writes to options.out. Raises ValueError or OSError for input that does not fit."""
    if options.predictions and not (options.out and options.method != ALL):
        raise ValueError('--predictions requires --out and one --method')
    given = None if options.round is None else parse_rounding(options.round)
    members = find_members(options.members)
    recipes = sorted({member.recipe for member in members})
    scores, oof, labels, lacking = None, None, None, None
    try:
        oof, labels = read_oof(members)
    except ValueError as error:
        if options.method in (*NEEDS_OOF, ALL):
            raise
        lacking = error  # only the figures need them where nothing is fitted
    combinations, notes = fit_methods(options.method, recipes, oof, labels)
    if lacking:
        print(f'no figures: {lacking}')
    else:
        places = read_places(members[0].folder.parent, labels)
        shown = given if isinstance(given, float) else 'train'
        scores = score_methods(combinations, oof, labels, places, shown)
        n_clips = labels.index.get_level_values('video_id').nunique()
        about = describe_basis(members, len(labels), n_clips, places.note, shown, 'published' in combinations)
        print(to_text(scores, [*about, *notes]))
    out = epath.Path(options.out) if options.out else None
    if out and scores is not None:
        write_whole(out / 'ensemble_report.csv', scores.to_csv(index=False))
    if options.method != ALL:
        combination = combinations[options.method]
        print('\n' + combination.to_json(), end='')
        if out:
            write_whole(out / 'weights.json', combination.to_json())
        if options.predictions:
            rounding = default_rounding(options.method) if given is None else given
            rows = combine_files(combination, options.predictions, rounding, labels)
            write_table(out / 'predictions.csv', rows)
    return 0
