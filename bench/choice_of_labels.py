"""Compares chosen labels with random labels: the error at a station by the number of its labels.

    python -m bench.choice_of_labels FOLDER

FOLDER is that of bench/real_boxes.py: labels and boxes of the challenge. The estimates are the box-only ones, out of
fold by site; the correction of a station and its ErrorModel are those of real_boxes. Sites with 15 clips or more count.
The labels of a station are chosen in three ways:

    clips     one random row from each of k random clips
    rows      k random rows
    chosen    chimp_jax.field.label.choose.next_targets, which knows boxes and estimates, and no label

and the error is measured in two ways:

    station   on the rows of the station that are 5 s or more away from all ten labels of both ways: the same rows for
              each number of labels, chosen or random
    unseen    on a third of the clips, from which no label is taken; the choice does not know that these clips exist

One setting of the choice, the error that a clip shares, comes from every second site (by name); the other sites only
report. ASSUMED_ERRORS, which the choice uses, come from all sites, and the form of the method was chosen after its
results at all sites were known. Requires scikit-learn, which is in requirements/bench.lock. Takes about four minutes of
processor time.
"""

import argparse
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.box_corrections import Rows
from bench.box_estimates import FOLDS, boosted_estimate, box_features, deal_folds, read_rows
from bench.real_boxes import LEAST_PROBABILITY, fit_errors, found_rows
from chimp_jax.field.label.candidates import Candidates, as_answered
from chimp_jax.field.label.choose import LEAST_APART_S, next_targets
from chimp_jax.stations.correction import ErrorModel, fit_correction
from data_prep.files import write_json
from data_prep.progress import Progress

LEAST_CLIPS = 15  # of a site
HELD = 1 / 3  # of the clips
NUMBERS = (0, 2, 3, 4, 5, 6, 7, 8, 10)  # of labels
RANDOM, CHOSEN = 10, 6  # labels of the goal: the error of RANDOM random ones with at most CHOSEN chosen ones
SPLITS, DRAWS = 8, 5
WAYS = ('clips', 'rows')  # of random choice
MEASURES = ('station', 'unseen')


class Found(NamedTuple):
    """The rows with a box. second, confidence, spread_m [n]: of the rows."""

    rows: Rows
    second: np.ndarray
    confidence: np.ndarray
    spread_m: np.ndarray  # between the members, NaN if unknown


def read_found(folder: Path) -> Found:
    """Returns the rows whose box has a probability above LEAST_PROBABILITY, with out-of-fold estimates."""
    rows = read_rows(folder)
    fold = deal_folds(rows['site_id'])
    estimate_m = boosted_estimate(box_features(rows), rows['distance'].to_numpy(float), fold)
    kept = rows[(rows['probability'] > LEAST_PROBABILITY).to_numpy()]
    second, confidence = kept['time'].to_numpy(int), kept['probability'].to_numpy(float)
    return Found(found_rows(rows, estimate_m, fold), second, confidence, np.full(len(kept), np.nan))


def chosen_rows(found: Found, pool: np.ndarray, n: int) -> np.ndarray:
    """Returns n rows of the pool, indices, in the order in which a person is asked for them."""
    rows, empty = found.rows, np.full(len(pool), '', object)
    candidates = Candidates(
        clip=rows.clip[pool].astype(object),
        station=rows.site[pool].astype(object),
        second=found.second[pool],
        animal=empty,
        estimate_m=rows.estimate_m[pool],
        spread_m=found.spread_m[pool],
        x=rows.foot[pool, 0],
        y=rows.foot[pool, 1],
        confidence=found.confidence[pool],
    )
    return pool[next_targets(candidates, as_answered([]), n)]


def random_rows(rows: Rows, pool: np.ndarray, way: str, n: int, random: np.random.Generator) -> np.ndarray:
    """Returns n random rows of the pool, indices; with the way 'clips', each is from another clip."""
    if way == 'rows':
        return random.permutation(pool)[:n]
    clips = random.permutation(np.unique(rows.clip[pool]))[:n]
    return np.array([random.choice(pool[rows.clip[pool] == clip]) for clip in clips])


def far_from(found: Found, here: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Returns the rows of `here` that are LEAST_APART_S or more away from each labelled row of their clip."""
    clip, second = found.rows.clip, found.second
    near = clip[here][:, None] == clip[labelled]
    near &= np.abs(second[here][:, None] - second[labelled]) < LEAST_APART_S
    return here[~near.any(axis=1)]


def error_with(rows: Rows, labelled: np.ndarray, test: np.ndarray, model: ErrorModel) -> float:
    """Returns the mean absolute error of the test rows in metres, corrected by the labelled rows."""
    correction = fit_correction(rows.estimate_m[labelled], rows.label_m[labelled], rows.foot[labelled], model)
    return float(np.abs(correction.apply(rows.estimate_m[test], rows.foot[test]) - rows.label_m[test]).mean())


def station_errors(found: Found, site: str, model: ErrorModel) -> dict[tuple[str, str, str], np.ndarray]:
    """Returns {(measure, random way, 'random' or 'chosen'): error [k of NUMBERS] in metres} of a site.

    Each is the mean over splits and draws. Random and chosen labels of one random way have the same test rows.
    """
    rows, sums = found.rows, {}
    here, most = np.flatnonzero(rows.site == site), max(NUMBERS)
    random = np.random.default_rng(zlib.crc32(site.encode()))

    def compare_orders(measure: str, way: str, chosen: np.ndarray, pool: np.ndarray, test: np.ndarray | None) -> None:
        drawn = random_rows(rows, pool, way, most, random)
        tested = far_from(found, here, np.concatenate([chosen, drawn])) if test is None else test
        for name, order in (('random', drawn), ('chosen', chosen)):
            errors = [error_with(rows, order[:k], tested, model) for k in NUMBERS] if len(tested) else []
            sums.setdefault((measure, way, name), []).extend([errors] if errors else [])

    of_station = chosen_rows(found, here, most)
    for pool, test in _splits(rows, here, random):
        of_split = chosen_rows(found, pool, most)
        for way in WAYS:
            for _ in range(DRAWS):
                compare_orders('unseen', way, of_split, pool, test)
                compare_orders('station', way, of_station, here, None)
    return {key: np.mean(errors, axis=0) for key, errors in sums.items()}


def _splits(rows: Rows, here: np.ndarray, random: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (rows that may be labelled, rows of the clips held out)."""
    clips = np.unique(rows.clip[here])
    for _ in range(SPLITS):
        is_held = np.isin(rows.clip[here], random.choice(clips, int(HELD * len(clips)), replace=False))
        yield here[~is_held], here[is_held]


def summarise(errors: Mapping[str, Mapping], measure: str, way: str) -> dict:
    """Returns the mean errors of sites by number of labels, and the comparison of the goal.

    errors: {site: station_errors}. random_m, chosen_m: errors [k of NUMBERS]. needed: the least number of chosen labels
    whose error is at most that of RANDOM random ones, None if none is. difference_m: the error of CHOSEN chosen labels
    less that of RANDOM random ones; difference_90_m: its 90 % bootstrap interval over sites.
    """
    random_m, chosen_m = (
        np.array([of_site[measure, way, name] for of_site in errors.values()]) for name in ('random', 'chosen')
    )
    goal_m = random_m.mean(axis=0)[NUMBERS.index(RANDOM)]
    enough = [k for k, error_m in zip(NUMBERS, chosen_m.mean(axis=0), strict=True) if error_m <= goal_m]
    difference = chosen_m[:, NUMBERS.index(CHOSEN)] - random_m[:, NUMBERS.index(RANDOM)]
    drawn = np.random.default_rng(0).integers(0, len(difference), (4000, len(difference)))
    return {
        'sites': len(errors),
        'random_m': random_m.mean(axis=0).round(4).tolist(),
        'chosen_m': chosen_m.mean(axis=0).round(4).tolist(),
        'needed': enough[0] if enough else None,
        'difference_m': float(difference.mean()),
        'difference_90_m': np.quantile(difference[drawn].mean(axis=1), [0.05, 0.95]).tolist(),
    }


def print_summaries(result: Mapping[str, Mapping]) -> None:
    for measure in next(iter(result.values())):
        print(f'\nErrors on: {measure}. MAE in metres by the number of labels; each site weighs the same\n')
        print('| sites | labels | ' + ' | '.join(map(str, NUMBERS)) + ' |\n|---|---|' + '---|' * len(NUMBERS))
        for name, summaries in result.items():
            for way in WAYS:
                for kind in ('random', 'chosen'):
                    label = f'random {way}' if kind == 'random' else f'chosen, same rows as {way}'
                    cells = ' | '.join(f'{value:.3f}' for value in summaries[measure][way][f'{kind}_m'])
                    print(f'| {name} | {label} | {cells} |')
        print(
            f'\n| sites | random | chosen labels for the error of {RANDOM} random ones | {CHOSEN} chosen less ', end=''
        )
        print(f'{RANDOM} random, m (90 %) |\n|---|---|---|---|')
        for name, summaries in result.items():
            for way in WAYS:
                one = summaries[measure][way]
                low, high = one['difference_90_m']
                needed = one['needed'] or f'more than {max(NUMBERS)}'
                difference = f'{one["difference_m"]:+.3f} ({low:+.3f} to {high:+.3f})'
                print(f'| {name} ({one["sites"]}) | {way} | {needed} | {difference} |')


def compare(found: Found) -> dict[str, dict]:
    """Returns {sites: {measure: {random way: summary}}}."""
    rows = found.rows
    sites = [site for site in np.unique(rows.site) if len(np.unique(rows.clip[rows.site == site])) >= LEAST_CLIPS]
    models = {fold: fit_errors(rows, fold) for fold in range(FOLDS)}
    errors = {}
    with Progress('sites', len(sites), 'sites') as progress:
        for site in sites:
            errors[site] = station_errors(found, site, models[int(rows.fold[rows.site == site][0])])
            progress.advance(1)
    parts = {'all': sites, 'of the setting': sites[::2], 'others': sites[1::2]}
    return {
        name: {m: {way: summarise({s: errors[s] for s in part}, m, way) for way in WAYS} for m in MEASURES}
        for name, part in parts.items()
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder with train_labels.csv and train_metadata.csv')
    parser.add_argument('--json', type=Path, help='file for the figures')
    flags = parser.parse_args(argv)
    if find_spec('sklearn') is None:
        sys.exit('scikit-learn is not installed; install it (pip install scikit-learn), or run this in .venv-bench')
    try:
        found = read_found(flags.folder)
    except ValueError as error:
        sys.exit(str(error))
    result = compare(found)
    print_summaries(result)
    if flags.json:
        write_json(flags.json, result)


if __name__ == '__main__':
    main()
