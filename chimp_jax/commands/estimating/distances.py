"""The rows of distances.csv, as `estimate` makes them from the members, from the ground, or from both."""

import functools
import logging
from typing import NamedTuple

import pandas as pd

from chimp_jax.clip_stream import Streamed
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.ground import GroundEstimates
from chimp_jax.commands.estimating.inputs import NO_FOLDER, Inputs, Trained
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.field import estimates, flags
from chimp_jax.field.calibration import calibrate, fusion, ground_rows, grounds
from chimp_jax.stations.correction import ASSUMED_ERRORS
from data_prep.plan import Plan
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)

Checks = dict[tuple[str, int], fusion.FusionCheck]


class Calibrated(NamedTuple):
    """The members' estimates, corrected by the known distances of their stations."""

    estimated: estimates.Estimated
    calibration: calibrate.Calibration | None  # None without known distances
    known: pd.DataFrame | None  # of fusion.known_with_estimates


def estimate_distances(
    request: EstimateRequest,
    inputs: Inputs,
    streamed: Streamed,
    plan: Plan,
    tasks: list[ClipTask],
    ground: GroundEstimates | None,
) -> tuple[pd.DataFrame, calibrate.Calibration | None, Checks]:
    """Returns the rows of distances.csv, with a column for each recipe; the corrections of the stations; whether the
    members and the ground are combined, by station and epoch."""
    trained, checks, calibration = inputs.trained, {}, None
    oof = None if trained is None else trained.oof
    label_m, spread_m = ([], None) if oof is None else (oof.label_m, oof.spread_m)
    if trained is None:
        estimated = ground_rows.from_ground(streamed.rows, ground.best())
    else:
        estimated, calibration, known = calibrate_members(inputs, trained, streamed, ground)
        if ground is not None and known is not None and trained.intervals is not None:
            checks = {
                (one.camera.station, one.camera.epoch): fusion.check_fusion(
                    one, known[known['video_id'].isin(one.camera.clips)], request.coverage
                )
                for one in ground.grounds.fitted
            }
            estimated = fusion.fuse_with_ground(
                estimated, streamed.rows, ground.best(), ground.grounds, checks, request.coverage
            )
    rows = estimates.estimate_rows(
        streamed,
        estimated,
        recipe_means(streamed.answers()),
        flags.training_limits(label_m, spread_m),
        request.theta_deg,
    )
    lost = estimates.lost_targets(plan, tasks, streamed)
    whole = estimates.complete_rows(rows, lost, plan.labels_of_animals(), inputs.corrections)
    measured = None if inputs.known is None else inputs.known.by_second()
    return estimates.mark_known(whole, measured, plan.added).round(4), calibration, checks


def calibrate_members(
    inputs: Inputs, trained: Trained, streamed: Streamed, ground: GroundEstimates | None
) -> Calibrated:
    """Returns the estimates of the members, corrected by the known distances."""
    predictions, site = streamed.answers(), inputs.stations()
    distance_m = trained.combined.distance(predictions)
    shared = streamed.rows['shared'].to_numpy(bool)
    from_members = functools.partial(estimates.from_members, distance_m, predictions, trained.intervals, shared)
    if inputs.known is None:
        return Calibrated(from_members(None), None, None)
    rows = streamed.rows.assign(distance=distance_m.to_numpy())
    rows = rows.assign(x=rows['bbox_x'] + rows['bbox_width'] / 2, y=rows['bbox_y'] + rows['bbox_height'])
    matched, notes = calibrate.match_known(rows, usable_known(inputs, ground))
    for note in notes:
        log.info('note: %s', note)
    if matched.empty:  # no frame of a known distance could be decoded
        return Calibrated(from_members(None), None, None)
    model = ASSUMED_ERRORS if trained.oof is None else trained.oof.fit_error_model()
    sites = matched['video_id'].map(site).fillna(NO_FOLDER)
    fitted = calibrate.fit_calibration(matched['estimate'], matched['distance'], matched[['x', 'y']], sites, model)
    estimated = from_members(
        functools.partial(fitted.apply, site=rows['video_id'].map(site).fillna(NO_FOLDER), foot=rows[['x', 'y']])
    )
    known = fusion.known_with_estimates(matched, fitted.left_out_m, estimated, streamed.rows)
    return Calibrated(estimated, fitted, known)


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
