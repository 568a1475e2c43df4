"""The rows of distances.csv, as `estimate` makes them from the members, from the ground, or from both."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pandas as pd

from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.ground import GroundEstimates
from chimp_jax.commands.estimating.inputs import NO_FOLDER, Inputs, Trained
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.field import corrections, estimates, flags
from chimp_jax.field.calibration import calibrate, fusion, ground_rows, grounds
from chimp_jax.stations.correction import ASSUMED_ERRORS
from chimp_jax.streamed.results import Streamed
from chimp_jax.streamed.saved import SavedStream
from data_prep.plan import Plan
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)

Checks = dict[tuple[str, int], fusion.FusionCheck]
PIECE_ROWS = 100_000  # of distances.csv, made at a time


class Calibrated(NamedTuple):
    """What the known distances tell about the members."""

    calibration: calibrate.Calibration | None  # None without known distances
    known: pd.DataFrame | None  # of fusion.known_with_estimates


class Estimating(NamedTuple):
    """The rows of distances.csv in pieces, and what they depend on."""

    pieces: Iterator[pd.DataFrame]  # sorted by clip; with a column for each recipe
    calibration: calibrate.Calibration | None  # the corrections of the stations
    checks: Checks  # whether the members and the ground are combined, by station and epoch


def estimate_distances(
    request: EstimateRequest,
    inputs: Inputs,
    streamed: Streamed | SavedStream,
    plan: Plan,
    tasks: list[ClipTask],
    ground: GroundEstimates | None,
) -> Estimating:
    """Fits what all rows share; the pieces are made when they are iterated over."""
    trained, checks, calibrated = inputs.trained, {}, Calibrated(None, None)
    best = None if ground is None else ground.best()
    if trained is not None:
        calibrated = calibrate_members(inputs, trained, streamed, ground)
        if ground is not None and calibrated.known is not None and trained.intervals is not None:
            known = calibrated.known
            checks = {
                (one.camera.station, one.camera.epoch): fusion.check_fusion(
                    one, known[known['video_id'].isin(one.camera.clips)], request.coverage
                )
                for one in ground.grounds.fitted
            }

    def estimate(part: Streamed) -> estimates.Estimated:
        if trained is None:
            return ground_rows.from_ground(part.rows, best)
        estimated = estimate_by_members(inputs, trained, part, calibrated.calibration)
        if not checks:
            return estimated
        return fusion.fuse_with_ground(estimated, part.rows, best, ground.grounds, checks, request.coverage)

    return Estimating(_pieces(request, inputs, streamed, plan, tasks, estimate), calibrated.calibration, checks)


def _pieces(
    request: EstimateRequest,
    inputs: Inputs,
    streamed: Streamed | SavedStream,
    plan: Plan,
    tasks: list[ClipTask],
    estimate: Callable[[Streamed], estimates.Estimated],
) -> Iterator[pd.DataFrame]:
    """Yields the rows of some clips at a time. Raises ValueError if a correction is of no row."""
    oof = None if inputs.trained is None else inputs.trained.oof
    label_m, spread_m = ([], None) if oof is None else (oof.label_m, oof.spread_m)
    training, labels = flags.training_limits(label_m, spread_m), plan.labels_of_animals()
    measured = None if inputs.known is None else inputs.known.by_second()
    corrected, done = inputs.corrections, set()
    for part, lost in estimates.clips_at_a_time(streamed, estimates.find_lost(plan, tasks), PIECE_ROWS):
        rows = estimates.estimate_rows(part, estimate(part), recipe_means(part.answers()), training, request.theta_deg)
        typed = None
        if corrected is not None:
            names = {*rows['video_id'], *lost['video_id']}
            typed = corrected[corrected['video_id'].isin(names)]
            done |= names & set(corrected['video_id'])
        whole = estimates.complete_rows(rows, lost, labels, typed)
        yield estimates.mark_known(whole, measured, plan.added).round(4)
    if corrected is not None:
        corrections.check_rows_exist(corrected, corrected['video_id'].isin(done))


def estimate_by_members(
    inputs: Inputs, trained: Trained, part: Streamed, calibration: calibrate.Calibration | None
) -> estimates.Estimated:
    """Returns the estimates of the members for some rows, corrected by the known distances of their stations."""
    predictions, correct = part.answers(), None
    if calibration is not None:
        correct = functools.partial(
            calibration.apply,
            site=part.rows['video_id'].map(inputs.stations()).fillna(NO_FOLDER),
            foot=_with_feet(part.rows)[['x', 'y']],
        )
    return estimates.from_members(
        trained.combined.distance(predictions),
        predictions,
        trained.intervals,
        part.rows['shared'].to_numpy(bool),
        correct,
    )


def calibrate_members(
    inputs: Inputs, trained: Trained, streamed: Streamed | SavedStream, ground: GroundEstimates | None
) -> Calibrated:
    """Fits the corrections of the members' estimates on the known distances."""
    if inputs.known is None:
        return Calibrated(None, None)
    known = usable_known(inputs, ground)
    part = streamed.of_clips([*known['video_id']])
    rows = _with_feet(part.rows).assign(distance=trained.combined.distance(part.answers()).to_numpy())
    matched, notes = calibrate.match_known(rows, known)
    for note in notes:
        log.info('note: %s', note)
    if matched.empty:  # no frame of a known distance could be decoded
        return Calibrated(None, None)
    model = ASSUMED_ERRORS if trained.oof is None else trained.oof.fit_error_model()
    sites = matched['video_id'].map(inputs.stations()).fillna(NO_FOLDER)
    fitted = calibrate.fit_calibration(matched['estimate'], matched['distance'], matched[['x', 'y']], sites, model)
    estimated = estimate_by_members(inputs, trained, part, fitted)
    return Calibrated(fitted, fusion.known_with_estimates(matched, fitted.left_out_m, estimated, part.rows))


def _with_feet(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds x, y: the foot points of the boxes, as shares of the picture."""
    return rows.assign(x=rows['bbox_x'] + rows['bbox_width'] / 2, y=rows['bbox_y'] + rows['bbox_height'])


def usable_known(inputs: Inputs, ground: GroundEstimates | None) -> pd.DataFrame:
    """Returns (video_id, time, distance, row, x, y) of the known distances; x, y NaN if the ground gives no foot point.

    A typed or detected foot point counts more than the box of the second, which may be of another animal.
    """
    known = inputs.known.by_second()
    if ground is None:
        return known.assign(x=float('nan'), y=float('nan'))
    known = grounds.without_problems(known, ground.problems)
    feet = pd.concat([one.points for one in ground.grounds.fitted]).set_index('row')[['x', 'y']]
    return known.join(feet.astype(float), on='row')
