"""Compares chosen labels with random labels on simulated clips with members: python -m bench.choice_on_clips

For each seed, renders 80 clips of 16 sites to train on, and 300 clips of 20 other stations. Trains two folds of
configs/demo.py, which encode each frame once, and predicts the 20 stations. The labels of a station are chosen as
bench/choice_of_labels.py does, here with the members' estimates and the spread between them. Two errors are measured,
on the rows of the station that are 5 s or more away from all labels of both ways:

    correction   after the correction of the station (chimp_jax.stations.correction), its ErrorModel from the members'
                 out-of-fold rows
    estimate     after everything that `estimate --members --detections --calibrate labels.csv` does with the labels:
                 the correction if it helps, and the ground of the station, combined with the members if that helps

Nothing of the method was chosen on these clips. Run the same command again to resume. Two seeds take about five minutes
of processor time.
"""

import argparse
import itertools
import os
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.box_corrections import Rows
from bench.choice_of_labels import (
    NUMBERS,
    WAYS,
    Found,
    chosen_rows,
    error_with,
    far_from,
    print_summaries,
    random_rows,
    summarise,
)
from bench.real_boxes import LEAST_PROBABILITY
from chimp_jax import runtime
from chimp_jax.commands.combining import choose_combination
from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from chimp_jax.field.calibration.calibrate import fit_calibration
from chimp_jax.field.calibration.fusion import check_fusion, fuse_with_ground
from chimp_jax.field.calibration.grounds import CameraClips, contradictions, fit_grounds, without_problems
from chimp_jax.field.estimates import from_members
from chimp_jax.field.intervals import Intervals
from chimp_jax.field.out_of_fold import OutOfFold, make_out_of_fold
from chimp_jax.members import find_members
from chimp_jax.stations.correction import ErrorModel
from chimp_jax.stations.ground_plane import foot_points, locate
from data_prep.files import write_json
from data_prep.inputs.tables import numbers_of, read_table, seconds_of
from data_prep.progress import Progress
from data_prep.simulate import simulate
from data_prep.simulator.plan import Size

RECIPE = 'full-a2p50-f7s1'
SIZE = Size((16, 20), (80, 300), (0, 0), (14, 16), (14, 16), (2, 2, 3, 3))
TRAINING = ('epochs=8', 'warmup_steps=10')  # a fold has few labels
DRAWS = 6
COVERAGE = 0.9
MEASURES = ('correction', 'estimate')
_BOX = ['x1', 'y1', 'x2', 'y2']


class Survey(NamedTuple):
    """The rows of the stations with a box, and what the members know about their own errors."""

    found: Found
    model: ErrorModel
    intervals: Intervals


def make_members(folder: Path, seed: int, workers: int) -> None:
    """Renders the clips, trains the members, and writes their predictions of the stations."""
    clips, data, runs = (folder / name for name in ('clips', 'data', 'runs'))
    simulate(clips, 'easy', seed, SIZE, workers)
    shared = [f'--tables={clips}', f'--clips_full={clips}/full', f'--out={data}', '--n_folds=2', f'--workers={workers}']
    _run('-m', 'data_prep.build', *shared)
    training = [f'--config.train.{setting}' for setting in TRAINING]
    _run(
        'train.py',
        f'--config=configs/demo.py:{RECIPE}',
        f'--workdir={runs}',
        f'--config.data.records={data}',
        *training,
    )
    _run('predict.py', f'--members={runs}', f'--records={data}', f'--out={folder}/predictions.csv', '--details')


def _run(*arguments: str) -> None:
    print('$ python', *arguments, flush=True)
    code = subprocess.run([sys.executable, *arguments], check=False).returncode
    if code:
        raise SystemExit(f'choice_on_clips: the command above ended with exit code {code}; its message is above')


def read_survey(folder: Path) -> Survey:
    """Returns the rows whose box has a probability above LEAST_PROBABILITY."""
    tables = {
        'predictions.csv': ['distance', 'spread'],
        'clips/test_metadata.csv': [*_BOX, 'probability'],
        'clips/test_distances.csv': ['distance'],
    }
    predicted, boxes, truth = (_read(folder / name, columns) for name, columns in tables.items())
    rows = predicted.merge(boxes, on=SECOND).merge(truth.rename(columns={'distance': 'label'}), on=SECOND)
    rows = rows[(rows['probability'] > LEAST_PROBABILITY) & rows['distance'].notna()].reset_index(drop=True)
    x, y, cut = foot_points(rows[_BOX])
    oof = _out_of_fold(folder / 'runs')
    estimate_m, label_m, spread_m, confidence = (
        rows[name].to_numpy(float) for name in ('distance', 'label', 'spread', 'probability')
    )
    foot = np.where(cut[:, None], np.nan, np.stack([x, y], 1))
    names = (rows['site_id'].to_numpy(str), rows['video_id'].to_numpy(str))
    found = Found(
        Rows(estimate_m, label_m, foot, *names, np.zeros(len(rows), int)),
        rows['time'].to_numpy(int),
        confidence,
        spread_m,
    )
    return Survey(found, oof.fit_error_model(), oof.fit_intervals(COVERAGE))


def _read(path: Path, numbers: Sequence[str]) -> pd.DataFrame:
    table = read_table(path, [*SECOND, *numbers])
    return table.assign(time=seconds_of(table, path), **{name: numbers_of(table, name, path) for name in numbers})


def _out_of_fold(runs: Path) -> OutOfFold:
    members = find_members(str(runs))
    combined = choose_combination(members, None, None)
    estimate_m = combined.combination.apply(combined.oof)
    return make_out_of_fold(members, combined.oof, estimate_m, combined.labels.to_numpy(float))


def estimates_with(survey: Survey, labelled: np.ndarray) -> np.ndarray:
    """Returns the distances [n] in metres that `estimate` gives all rows, with the labels of some rows (indices)."""
    rows, second = survey.found.rows, survey.found.second
    targets = pd.DataFrame({'video_id': rows.clip, 'time': second, 'animal': ''})
    points = targets.iloc[labelled][SECOND].assign(distance=rows.label_m[labelled], row=labelled.astype(str))
    points = points.assign(x=rows.foot[labelled, 0], y=rows.foot[labelled, 1])
    cameras = [
        CameraClips(str(site), 0, tuple(np.unique(rows.clip[rows.site == site]))) for site in np.unique(rows.site)
    ]
    with_feet = points.dropna(subset=['x', 'y'])
    grounds = fit_grounds(cameras, without_problems(with_feet, contradictions(cameras, with_feet)))
    calibration = fit_calibration(
        rows.estimate_m[labelled], rows.label_m[labelled], rows.foot[labelled], rows.site[labelled], survey.model
    )
    members = from_members(
        pd.Series(rows.estimate_m),
        pd.DataFrame(index=targets.index),
        survey.intervals,
        np.zeros(len(targets), bool),
        lambda distance_m: calibration.apply(distance_m, rows.site, rows.foot),
    )
    known = points.assign(left_out=calibration.left_out_m, upper=members.upper_m[labelled])
    checks = {
        (one.camera.station, 0): check_fusion(one, known[known['video_id'].isin(one.camera.clips)], COVERAGE)
        for one in grounds.fitted
    }
    best = targets.assign(distance=np.nan, spread_log=np.nan, flags='')
    for one in grounds.fitted:
        here = np.isin(rows.clip, one.camera.clips) & np.isfinite(rows.foot).all(axis=1)
        located = locate(one.ground, *rows.foot[here].T, COVERAGE)
        best.loc[here, ['distance', 'spread_log']] = np.stack([located.distance_m, located.spread_log], axis=1)
    return fuse_with_ground(members, targets, best.set_index(KEY), grounds, checks, COVERAGE).distance_m


def station_errors(survey: Survey) -> dict[str, dict]:
    """Returns {station: {(measure, random way, 'random' or 'chosen'): error [k of NUMBERS] in metres}}."""
    rows, most = survey.found.rows, max(NUMBERS)
    here = {str(site): np.flatnonzero(rows.site == site) for site in np.unique(rows.site)}
    chosen = Orders.of(survey, {site: chosen_rows(survey.found, pool, most) for site, pool in here.items()})
    errors: dict[str, dict] = {site: {} for site in here}
    with Progress('draws', len(WAYS) * DRAWS, 'draws') as progress:
        for way, draw in itertools.product(WAYS, range(DRAWS)):
            drawn = {}
            for site, pool in here.items():
                random = np.random.default_rng([draw, zlib.crc32(site.encode())])
                drawn[site] = random_rows(rows, pool, way, most, random)
            orders = {'random': Orders.of(survey, drawn), 'chosen': chosen}
            for site, pool in here.items():
                tested = far_from(survey.found, pool, np.concatenate([one.labels[site] for one in orders.values()]))
                if len(tested):
                    for kind, one in orders.items():
                        for measure, found in zip(MEASURES, _errors_m(survey, one, site, tested), strict=True):
                            errors[site].setdefault((measure, way, kind), []).append(found)
            progress.advance(1)
    return {
        site: {key: np.mean(found, axis=0) for key, found in of_site.items()}
        for site, of_site in errors.items()
        if len({way for _, way, _ in of_site}) == len(WAYS)  # else its few rows are all near a label
    }


def summaries(errors: Mapping[str, Mapping]) -> dict[str, dict]:
    """Returns {measure: {random way: summary of choice_of_labels.summarise}}."""
    return {measure: {way: summarise(errors, measure, way) for way in WAYS} for measure in MEASURES}


class Orders(NamedTuple):
    """The labels of each station in their order, and what `estimate` gives with the first ones of all stations."""

    labels: Mapping[str, np.ndarray]  # rows of each station
    estimates: list[np.ndarray]  # [n] metres for each of NUMBERS

    @classmethod
    def of(cls, survey: Survey, labels: Mapping[str, np.ndarray]) -> 'Orders':
        def estimate(k: int) -> np.ndarray:
            return estimates_with(survey, np.concatenate([rows[:k] for rows in labels.values()]))

        return cls(labels, [estimate(k) if k else survey.found.rows.estimate_m for k in NUMBERS])


def _errors_m(survey: Survey, orders: Orders, site: str, tested: np.ndarray) -> tuple[list[float], list[float]]:
    """Returns the mean absolute errors of the tested rows by number of labels, for each of MEASURES."""
    rows, labels = survey.found.rows, orders.labels[site]
    whole = [float(np.abs(all_m[tested] - rows.label_m[tested]).mean()) for all_m in orders.estimates]
    return [error_with(rows, labels[:k], tested, survey.model) for k in NUMBERS], whole


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, default=Path('demo/choice'), help='folder of clips, records and members')
    parser.add_argument('--seeds', type=int, nargs='+', default=[11, 12], help='seeds of the simulated sites and clips')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes that render and decode')
    parser.add_argument('--json', type=Path, help='file for the figures')
    flags = parser.parse_args(argv)
    runtime.quiet_tensorflow()
    result, everywhere = {}, {}
    for seed in flags.seeds:
        folder = flags.folder / f'seed_{seed}'
        make_members(folder, seed, flags.workers)
        errors = station_errors(read_survey(folder))
        result[f'seed {seed}'] = summaries(errors)
        everywhere |= {f'{seed} {site}': of_site for site, of_site in errors.items()}
    result['all'] = summaries(everywhere)
    print_summaries(result)
    if flags.json:
        write_json(flags.json, result)


if __name__ == '__main__':
    main()
