"""The rows of distances.csv, as `estimate` makes them from the members, from the ground, or from both."""

import functools
import logging
from collections.abc import Sequence

import pandas as pd

from chimp_jax.clip_stream import Streamed
from chimp_jax.commands.estimating.ground import GroundEstimates
from chimp_jax.commands.estimating.inputs import NO_FOLDER, Inputs, Trained
from chimp_jax.ensemble.prediction_tables import KEY, recipe_means
from chimp_jax.field import estimates, flags, out_of_fold
from chimp_jax.field.calibration import calibrate, ground_rows, grounds
from data_prep.inputs.labels import Problem
from data_prep.plan import Plan
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)


def estimate_distances(
    inputs: Inputs,
    streamed: Streamed,
    plan: Plan,
    tasks: list[ClipTask],
    ground: GroundEstimates | None,
    coverage: float,
) -> tuple[pd.DataFrame, calibrate.Calibration | None]:
    """Returns the rows of distances.csv, with a column for each recipe, and the corrections of the stations."""
    predictions, trained = streamed.answers(), inputs.trained
    oof = None if trained is None else trained.oof
    label_m, spread_m = ([], None) if oof is None else (oof.label_m, oof.spread_m)
    if trained is None:
        estimated, calibration = ground_rows.from_ground(streamed.rows, ground.best()), None
    else:
        estimated, calibration = _by_members(inputs, trained, streamed, [] if ground is None else ground.problems)
    rows = estimates.estimate_rows(
        streamed, estimated, recipe_means(predictions), flags.training_limits(label_m, spread_m)
    )
    lost = estimates.lost_targets(plan, tasks, streamed)
    whole = estimates.complete_rows(rows, lost, plan.labels_of_animals(), inputs.corrections)
    known = None if inputs.known is None else inputs.known.by_second()
    return estimates.mark_known(whole, known, plan.added).round(4), calibration


def _by_members(
    inputs: Inputs, trained: Trained, streamed: Streamed, problems: Sequence[Problem]
) -> tuple[estimates.Estimated, calibrate.Calibration | None]:
    predictions = streamed.answers()
    distance_m = trained.combined.distance(predictions)
    site, calibration, correct = inputs.stations(), None, None
    if inputs.known is not None:
        estimated = streamed.rows[KEY].assign(distance=distance_m.to_numpy())
        known = grounds.without_problems(inputs.known.by_second(), problems)
        calibration = calibrate_sites(estimated, known, site, trained.oof)
    if calibration is not None:
        correct = functools.partial(calibration.apply, site=streamed.rows['video_id'].map(site).fillna(NO_FOLDER))
    return estimates.from_members(distance_m, predictions, trained.intervals, correct), calibration


def calibrate_sites(
    estimated: pd.DataFrame, known: pd.DataFrame, site: pd.Series, oof: out_of_fold.OutOfFold | None
) -> calibrate.Calibration | None:
    """Fits the corrections of the sites; None if no frame of a known distance could be decoded.

    site: of each clip, indexed by video_id.
    """
    matched, notes = calibrate.match_known(estimated, known)
    for note in notes:
        log.info('note: %s', note)
    if matched.empty:
        return None
    effects = calibrate.ASSUMED_EFFECTS if oof is None else oof.fit_site_effects()
    sites = matched['video_id'].map(site).fillna(NO_FOLDER)
    return calibrate.fit_calibration(matched['estimate'], matched['distance'], sites, effects)
