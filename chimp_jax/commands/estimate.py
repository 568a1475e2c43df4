"""Distances for all clips of a folder, ready for distance sampling:

    chimp-distance estimate CLIPS --members RUNS --out DIR

The targets are all seconds of all clips, or every Nth second (--every N), or the seconds with an animal (--detections),
or the seconds of a table (--targets). DIR gets distances.csv, clips.csv (a row for every clip, readable or not),
summary.json and the files of --format. Run the same command again to resume after an interruption. With other flags it
computes only what they change. If you write distances into DIR/corrections.csv (video_id,time,distance), they replace
the estimates on the next run.
"""

import argparse
import dataclasses
import logging
import os
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax import members
from chimp_jax.clip_stream import Streamed, stream_clips
from chimp_jax.commands import combining
from chimp_jax.commands.estimating.flags import EstimateRequest, add_estimate_flags
from chimp_jax.ensemble.prediction_tables import KEY, recipe_means
from chimp_jax.ensemble.results import write_table
from chimp_jax.field import bins, corrections, estimates, flags, label_tables, out_of_fold, stations, status
from chimp_jax.field.calibration import calibrate
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.camtrap.media_match import read_media_table
from chimp_jax.field.exports.distance_flatfile import station_efforts
from chimp_jax.field.exports.snapshots import Snapshots, plan_snapshots
from chimp_jax.field.intervals import Intervals
from chimp_jax.field.summary import MOST_NAMED, exit_code, make_summary, result_lines
from chimp_jax.scoring import Panel
from data_prep.archive import Archive
from data_prep.files import write_json
from data_prep.inputs.categories import read_species, split_names
from data_prep.inputs.known_seconds import KnownSeconds, find_known_seconds
from data_prep.job import Job
from data_prep.lock import hold
from data_prep.plan import Plan, make_plan, make_tasks, planned_seconds
from data_prep.progress import Progress
from data_prep.workers.clip_record import ClipTask

NO_FOLDER = '.'  # the calibration site of the clips that lie in no folder of their own

log = logging.getLogger(__name__)


class Inputs(NamedTuple):
    """Everything that is read and checked before the first clip is decoded."""

    members: list[members.Member]
    combined: combining.Combined
    oof: out_of_fold.OutOfFold | None  # None if the members have no OOF predictions
    intervals: Intervals | None  # None if oof is
    survey: formats.Survey
    known_seconds: KnownSeconds | None  # of --calibrate
    corrections: pd.DataFrame | None
    site: pd.Series  # station of each clip in the folder, '' if unknown; indexed by video_id

    def known(self) -> pd.DataFrame | None:
        """Returns the known distances: video_id, time, distance, row."""
        return None if self.known_seconds is None else self.known_seconds.rows.rename(columns=calibrate.OF_TARGETS)

    def cutpoints_m(self) -> list[float]:
        """Returns the edges of the bands of error."""
        return bins.used_cutpoints(self.survey.cutpoints_m, self.survey.truncation_m)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance estimate', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_estimate_flags(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Parse, check, plan, predict, estimate, write, tell."""
    request = EstimateRequest(**vars(options))
    inputs = read_inputs(request)
    with hold(request.out):
        plan, tasks = plan_targets(request, inputs)
        snapshots = find_moments(request, inputs, plan)
        panel = Panel()
        device = f'{len(panel.devices)} x {panel.devices[0].device_kind}'
        log.debug('%d members on %s, %d clips', len(inputs.members), device, len(tasks))
        log.debug('\n'.join(inputs.combined.describe()))
        work = epath.Path(request.out) / 'work'
        progress = Progress('', len(tasks), work=len(tasks) * len(inputs.members))
        streamed = stream_clips(tasks, inputs.members, work, panel, request.workers, progress)
        rows, calibration = estimate_distances(inputs, streamed, plan, tasks)
        problems = estimates.clip_problems(plan, streamed)
        animals = status.animal_rows(rows)
        clips = estimates.clip_rows(
            inputs.site, streamed, animals, problems, plan.watched, plan.unlooked, plan.durations_s(), plan.not_clips
        )
        made = make_summary(
            members=[member.name for member in inputs.members],
            combination=inputs.combined.combination,
            intervals=inputs.intervals,
            out_of_fold=None if inputs.oof is None else inputs.oof.errors(inputs.cutpoints_m()),
            calibration=calibration,
            rows=rows,
            clips=clips,
            device=device,
            simulated=all(member.simulated for member in inputs.members),
            notes=plan.notes(),
        )
        whole = write_results(request, inputs, rows, clips, made, snapshots, plan.n_animals())
    print('\n'.join(result_lines(whole, clips, request.out)))
    return exit_code(rows, clips, whole)


def read_inputs(request: EstimateRequest) -> Inputs:
    """Reads all inputs but the clips. Raises ValueError or OSError if one of them cannot be used."""
    found = members.find_members(request.members)
    combined = combining.choose_combination(found, request.weights, request.round)
    oof = None
    if combined.oof is not None:
        estimate_m, label_m = combined.combination.apply(combined.oof), combined.labels.to_numpy(float)
        oof = out_of_fold.make_out_of_fold(found, combined.oof, estimate_m, label_m)
    archive = Archive([request.clips])
    clips = archive.clips()
    survey = formats.Survey(
        deployments=stations.read_deployments(request.deployments) if request.deployments else None,
        every_s=request.step_s,
        snapshot_s=request.snapshot_s,
        theta_deg=request.theta_deg,
        cutpoints_m=request.cutpoints,
        truncation_m=request.truncation,
        package=request.camtrap_package,
        animals_are_known=bool(request.detections or request.targets or request.every_second_has_an_animal),
        partial_effort=request.partial_effort,
        species=read_species(request.species_table) if request.species_table else {},
        media_table=read_media_table(request.media_table, clips, archive.video_id_of) if request.media_table else None,
    )
    formats.check(request.format, survey)
    targets_job(request)  # checks its flags
    typed = epath.Path(request.out) / status.CORRECTIONS
    site = stations.stations_of(clips, survey.deployments).set_axis(clips)
    known_seconds = None if not request.calibrate else read_known(request, archive, site)
    return Inputs(
        members=found,
        combined=combined,
        oof=oof,
        intervals=None if oof is None else oof.fit_intervals(request.coverage),
        survey=survey,
        known_seconds=known_seconds,
        corrections=corrections.read_corrections(typed, archive) if typed.exists() else None,
        site=site,
    )


def read_known(request: EstimateRequest, archive: Archive, site: pd.Series) -> KnownSeconds:
    """Reads the table of --calibrate and the headers of its clips. Raises ValueError if it cannot serve."""
    known = label_tables.read_label_table(request.calibrate, archive)
    rows = known.rename(columns={name: other for other, name in calibrate.OF_TARGETS.items()})
    found = find_known_seconds(rows, archive, request.calibrate, request.workers)
    calibrate.check_known(found.rows['video_id'].map(site).fillna('').replace('', NO_FOLDER), request.calibrate)
    return found


def targets_job(request: EstimateRequest) -> Job:
    """Returns what to read the targets from. Raises ValueError if a flag has an impossible value."""
    return Job(
        out=request.out,
        clips_full=(request.clips,),
        tables=request.targets,
        with_distances=False,
        detections=request.detections,
        min_confidence=request.min_confidence,
        animals=None if request.animals is None else split_names(request.animals),
        every_s=request.step_s,
        workers=request.workers,
    )


def plan_targets(request: EstimateRequest, inputs: Inputs) -> tuple[Plan, list[ClipTask]]:
    """Returns the targets of each clip, and what to decode. Raises ValueError if an input does not fit the targets."""
    job = targets_job(request)
    plan = make_plan(job, request.watch())
    for note in plan.notes():
        log.info('note: %s', note)
    animals = make_tasks(plan, job)
    formats.check_clips(request.format, inputs.survey, [task.video_id for task in animals], request.out)
    if inputs.corrections is not None:
        clips = set(inputs.corrections['video_id'])
        corrections.check_corrections(inputs.corrections, planned_seconds(plan, clips, job.every_s, job.workers))
    if inputs.known_seconds is None:
        return plan, animals
    plan = plan.with_seconds(inputs.known_seconds, job.every_s)
    if n_animals := len(inputs.known_seconds.rows) - len(plan.added):
        log.info(
            'note: %d seconds of %s are targets without it and count as animals; if they show a person, remove them '
            'from the detections or from the table of targets',
            n_animals,
            request.calibrate,
        )
    return plan, make_tasks(plan, job)


def find_moments(request: EstimateRequest, inputs: Inputs, plan: Plan) -> Snapshots | None:
    """Returns the snapshot moments, None if no format has them. Raises ValueError if a moment was not looked at."""
    if 'distance' not in request.format:
        return None
    try:
        snapshots = plan_snapshots(
            plan,
            inputs.site,
            request.snapshot_s,
            detections=request.detections,
            targets=request.targets,
            partial_effort=request.partial_effort,
        )
    except ValueError:  # a dropped detection or a failure of the detector may be the cause
        print('\n'.join(f'{problem.video_id}: {problem.reason}' for problem in plan.problems()[:MOST_NAMED]))
        raise
    station_efforts(inputs.survey.deployments, snapshots, request.snapshot_s, request.partial_effort)
    return snapshots


def estimate_distances(
    inputs: Inputs, streamed: Streamed, plan: Plan, tasks: list[ClipTask]
) -> tuple[pd.DataFrame, calibrate.Calibration | None]:
    """Returns the rows of distances.csv, with a column for each recipe, and the corrections of the sites."""
    predictions = streamed.answers()
    distance_m = inputs.combined.distance(predictions)
    site = inputs.site.replace('', NO_FOLDER)
    calibration = None
    if inputs.known_seconds is not None:
        estimated = streamed.rows[KEY].assign(distance=distance_m.to_numpy())
        calibration = calibrate_sites(estimated, inputs.known(), site, inputs.oof)
    label_m, spread_m = ([], None) if inputs.oof is None else (inputs.oof.label_m, inputs.oof.spread_m)
    rows = estimates.estimate_rows(
        streamed=streamed,
        distance_m=distance_m,
        recipes=recipe_means(predictions),
        site=streamed.rows['video_id'].map(site).fillna(NO_FOLDER),
        training=flags.training_limits(label_m, spread_m),
        fitted=inputs.intervals,
        calibration=calibration,
    )
    lost = estimates.lost_targets(plan, tasks, streamed)
    whole = estimates.complete_rows(rows, lost, plan.labels_of_animals(), inputs.corrections)
    return estimates.mark_known(whole, inputs.known(), plan.added).round(4), calibration


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


def write_results(
    request: EstimateRequest,
    inputs: Inputs,
    rows: pd.DataFrame,
    clips: pd.DataFrame,
    made: dict,
    snapshots: Snapshots | None,
    n_animals: dict[tuple[str, int], int],
) -> dict:
    """Writes all result files. Returns the summary `made` with a part for each export."""
    out = epath.Path(request.out)
    write_table(out / status.DISTANCES, rows if request.details else rows[estimates.COLUMNS])
    write_table(out / status.CLIPS, clips)
    folder = request.clips if '://' in request.clips else os.path.abspath(request.clips)
    write_json(out / status.OPTIONS, dataclasses.asdict(request) | {'clips': folder})
    exports = {
        name: formats.write(name, rows, clips, inputs.survey, out, made['date'], snapshots, n_animals)
        for name in request.format
    }
    write_json(out / status.SUMMARY, made | exports)
    return made | exports
