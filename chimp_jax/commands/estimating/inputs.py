"""Everything that `estimate` reads and checks before the first clip is decoded."""

import logging
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax import members
from chimp_jax.commands import combining
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.field import bins, corrections, out_of_fold, stations, status
from chimp_jax.field.calibration import calibrate, known_points
from chimp_jax.field.calibration.known_points import KnownPoints, read_known_points
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.camtrap.media_match import read_media_table
from chimp_jax.field.exports.completeness import read_completeness
from chimp_jax.field.exports.redrawn import Redraws
from chimp_jax.field.exports.snapshots import check_photos
from chimp_jax.field.intervals import Intervals
from chimp_jax.field.label_tables import keyed, named
from chimp_jax.field.true_distance import LabelledEstimates, check_enough
from data_prep.archive import Archive
from data_prep.inputs.categories import read_species, split_names
from data_prep.inputs.known_seconds import KnownSeconds, find_known_seconds
from data_prep.inputs.labels import Problem
from data_prep.job import Job

log = logging.getLogger(__name__)

NO_FOLDER = '.'  # the station of the clips that lie in no folder of their own


class Trained(NamedTuple):
    """The members and what is known about their error."""

    members: list[members.Member]
    combined: combining.Combined
    enhance: str  # of the `full` frames that the members see
    gamma: str  # of the `full` frames, too
    sampling: str  # of the `full` frames, too
    oof: out_of_fold.OutOfFold | None  # None if the members have no OOF predictions
    intervals: Intervals | None  # None if oof is

    @property
    def hears(self) -> bool:
        """Whether a member hears the sound of the clips."""
        return any(member.hears for member in self.members)


class Known(NamedTuple):
    """The known distances of --calibrate."""

    points: KnownPoints
    seconds: KnownSeconds  # of the points, each second once

    def by_second(self) -> pd.DataFrame:
        """Returns (video_id, time, distance, row) of the seconds with one known distance."""
        return self.points.by_second()[['video_id', 'time', 'distance', 'row']]

    def looks(self) -> frozenset[tuple[str, int]]:
        """Returns (video_id, second) of the distances of an animal, a person or a pole, not of a place."""
        rows = self.points.rows[~self.points.rows['of_place'].astype(bool)]
        return frozenset(zip(rows['video_id'], rows['time'].astype(int), strict=True))


class Inputs(NamedTuple):
    archive: Archive
    trained: Trained | None  # None: distances from the ground alone
    survey: formats.Survey
    known: Known | None
    corrections: pd.DataFrame | None
    site: pd.Series  # station of each clip in the folder, NO_FOLDER if unknown; indexed by video_id

    def cutpoints_m(self) -> list[float]:
        """Returns the edges of the bands of error."""
        return bins.used_cutpoints(self.survey.cutpoints_m, self.survey.truncation_m)

    def stations(self) -> pd.Series:
        """Returns the station of each clip, NO_FOLDER for the clips that lie in no folder of their own."""
        return self.site.replace('', NO_FOLDER)

    def redraws(self, number: int) -> Redraws | None:
        """Returns what `number` redraws of the true distances are made of, None for 0. Raises ValueError without it."""
        if not number:
            return None
        oof = None if self.trained is None else self.trained.oof
        if oof is None:
            raise ValueError(
                '--redraws requires out-of-fold predictions of the members, which tell the error of a distance; train '
                'all folds, or leave --redraws out'
            )
        rows = LabelledEstimates(oof.estimate_m, oof.label_m, oof.site)
        check_enough(rows)
        return Redraws(rows, number)

    def paths(self) -> dict[str, str]:
        """Returns {video_id: path} of all clips in the folder."""
        return {name: self.archive.find(name) for name in self.site.index}


def read_inputs(request: EstimateRequest) -> Inputs:
    """Reads all inputs but the clips. Raises ValueError or OSError if one of them cannot be used."""
    trained = read_trained(request) if request.members else None
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
        track_events=request.camtrap_tracks,
        coverage=request.coverage,
        animals_are_known=bool(request.has_boxes or request.targets or request.every_second_has_an_animal),
        partial_effort=request.partial_effort,
        species=read_species(request.species_table) if request.species_table else {},
        completeness=read_completeness(request.completeness) if request.completeness else None,
        media_table=read_media_table(request.media_table, clips, archive.video_id_of) if request.media_table else None,
    )
    formats.check(request.format, survey)
    targets_job(request)  # checks its flags
    typed = epath.Path(request.out) / status.CORRECTIONS
    inputs = Inputs(
        archive=archive,
        trained=trained,
        survey=survey,
        known=None,
        corrections=corrections.read_corrections(typed, archive) if typed.exists() else None,
        site=stations.stations_of(clips, survey.deployments).set_axis(clips),
    )
    if 'distance' in request.format:
        check_photos(inputs.site)
    inputs.redraws(request.redraws)
    return inputs._replace(known=read_known(request, inputs)) if request.calibrate else inputs


def read_trained(request: EstimateRequest) -> Trained:
    """Reads the members. Raises ValueError if one of them is damaged or the flags do not fit them."""
    found = members.find_members(request.members)
    combined = combining.choose_combination(found, request.weights, request.round)
    oof = None
    if combined.oof is not None:
        estimate_m, label_m = combined.combination.apply(combined.oof), combined.labels.to_numpy(float)
        oof = out_of_fold.make_out_of_fold(found, combined.oof, estimate_m, label_m)
    enhance = members.choose_enhancement(found, request.enhance)
    gamma, sampling = members.choose_gamma(found), members.choose_sampling(found)
    intervals = None if oof is None else oof.fit_intervals(request.coverage)
    return Trained(found, combined, enhance, gamma, sampling, oof, intervals)


def read_known(request: EstimateRequest, inputs: Inputs) -> Known:
    """Reads the table of --calibrate and the headers of its clips.

    A row that cannot be used is a problem. Raises ValueError if no row can be used or, without boxes, if a station has
    too few rows.
    """
    points = read_known_points(request.calibrate, inputs.archive)
    unique = points.rows.drop_duplicates(['video_id', 'time'])
    wanted = unique.rename(columns={name: other for other, name in calibrate.OF_TARGETS.items()})
    columns = ['video_id', 'time_s', 'distance_m', 'site', 'row']
    seconds = find_known_seconds(wanted[columns].reset_index(drop=True), inputs.archive, request.workers)
    there = keyed(points.rows).index.isin(keyed(seconds.rows.rename(columns={'time_s': 'time'})).index)
    rows = points.rows[there].reset_index(drop=True)
    problems = points.problems + [
        Problem(problem.video_id, problem.row, problem.stage, f'{problem.reason}; correct or remove the row')
        for problem in seconds.problems
    ]
    if rows.empty:
        raise ValueError(f'{request.calibrate} has no row that can be used: {_told(problems)}')
    for problem in known_points.table_order(problems):
        log.info('%s: %s: %s', problem.row, problem.video_id, problem.reason)
    if not request.uses_ground:
        try:
            calibrate.check_known(rows['video_id'].map(inputs.stations()).fillna(NO_FOLDER), request.calibrate)
        except ValueError as few:
            raise ValueError(f'{few}; left out: {_told(problems)}' if problems else str(few)) from None
    return Known(points._replace(rows=rows, problems=problems), seconds)


def _told(problems: list[Problem]) -> str:
    return named([f'{problem.row}: {problem.video_id}: {problem.reason}' for problem in problems])


def targets_job(request: EstimateRequest, trained: Trained | None = None) -> Job:
    """Returns what to read the targets from, and how clips are decoded for the members.

    Raises ValueError if a flag has an impossible value.
    """
    seen = {}
    if trained is not None:
        seen = {name: getattr(trained, name) for name in ('enhance', 'gamma', 'sampling')} | {'audio': trained.hears}
    return Job(
        out=request.out,
        clips_full=(request.clips,),
        tables=request.targets,
        with_distances=False,
        detections=request.detector_file,
        min_confidence=request.least_confidence,
        animals=None if request.animals is None else split_names(request.animals),
        every_s=request.step_s,
        burst_gap_s=request.burst_gap_s,
        workers=request.workers,
        **seen,
    )
