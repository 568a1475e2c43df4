"""The result files of `estimate`."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.commands.estimating.distances import Checks, Estimating
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.ground import GroundEstimates, pictures
from chimp_jax.commands.estimating.inputs import Inputs
from chimp_jax.ensemble.results import write_table
from chimp_jax.field import estimates, status, summary
from chimp_jax.field.calibration import calibrate, fusion, ground_rows, grounds, station_file
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.camtrap.observations import Followed
from chimp_jax.field.exports.snapshots import Snapshots
from chimp_jax.field.rows.counts import RowCounts
from chimp_jax.field.rows.read import Pieces
from chimp_jax.field.rows.write import is_in_parts, remove_rows, written_rows
from chimp_jax.field.track_table import make_tracks
from chimp_jax.looks import ClipLook
from chimp_jax.streamed.results import Streamed
from chimp_jax.streamed.saved import SavedStream
from data_prep.files import write_json
from data_prep.plan import Plan

GROUND_INTERVALS = 'from the known points of the station and the variation between stations; docs/model-card.md'


def list_clips(
    inputs: Inputs,
    plan: Plan,
    streamed: Streamed | SavedStream,
    looks: Mapping[str, ClipLook],
    ground: GroundEstimates | None,
    counts: RowCounts,
) -> pd.DataFrame:
    """Returns the rows of clips.csv."""
    problems = estimates.clip_problems(plan, streamed)
    if ground is not None and inputs.trained is None:
        missing = ground_rows.missing_reasons(ground.best())
        problems |= {name: '; '.join(filter(None, [problems.get(name), why])) for name, why in missing.items()}
    doubts = {name: look.doubt for name, look in looks.items() if look.doubt}
    return estimates.clip_rows(
        inputs.site,
        streamed,
        counts.seconds,
        problems,
        plan.watched,
        doubts | plan.unlooked,
        {name: look.duration_s for name, look in looks.items() if not look.problem} | plan.durations_s(),
        plan.not_clips,
    )


def summarise(
    inputs: Inputs,
    plan: Plan,
    ground: GroundEstimates | None,
    calibration: calibrate.Calibration | None,
    checks: Checks,
    counts: RowCounts,
    clips: pd.DataFrame,
    device: str | None,
    coverage: float,
) -> dict:
    """Returns the content of summary.json, without the exports. coverage: of the intervals."""
    trained = inputs.trained
    errors = None
    if trained is not None and trained.oof is not None:
        errors = trained.oof.errors(inputs.cutpoints_m())
    made = summary.make_summary(
        members=[] if trained is None else [member.name for member in trained.members],
        combination=None if trained is None else trained.combined.combination,
        intervals=None if trained is None else trained.intervals,
        out_of_fold=errors,
        calibration=calibration,
        counts=counts,
        clips=clips,
        device=device,
        simulated=trained is not None and all(member.simulated for member in trained.members),
        notes=plan.notes(),
    )
    if trained is None:
        made |= {'coverage': coverage, 'interval': GROUND_INTERVALS}
    problems = ground.problems if ground else inputs.known.points.problems if inputs.known else []
    if problems:
        made['known_problems'] = [f'{problem.row}: {problem.video_id}: {problem.reason}' for problem in problems]
    if checks:
        made['combined'] = fusion.checks_table(checks)
    return made | ({} if ground is None else {'ground': grounds.summary_of(ground.grounds, ground.notes)})


class Results(NamedTuple):
    """What the screen and the exit code tell."""

    summary: dict  # content of summary.json
    clips: pd.DataFrame  # clips.csv
    counts: RowCounts  # of distances.csv


def write_results(
    request: EstimateRequest,
    inputs: Inputs,
    plan: Plan,
    looks: Mapping[str, ClipLook],
    followed: pd.DataFrame,
    ground: GroundEstimates | None,
    streamed: Streamed | SavedStream,
    device: str | None,
    estimating: Estimating,
    snapshots: Snapshots | None,
) -> Results:
    """Writes all result files. followed: of animals.follow_animals. device: of the members' predictions."""
    out, counts = epath.Path(request.out), RowCounts()
    pieces = counts.passing(estimating.pieces)
    kept = pieces if request.details else (piece[estimates.COLUMNS] for piece in pieces)
    with written_rows(out, status.DISTANCES_NAME, kept) as rows:
        clips = list_clips(inputs, plan, streamed, looks, ground, counts)
        write_table(out / status.CLIPS, clips)
        calibration, checks = estimating.calibration, estimating.checks
        made = summarise(inputs, plan, ground, calibration, checks, counts, clips, device, request.coverage)
        _write_inputs(request, looks, ground)
        followed_tracks, n_parts = _write_tracks(request, rows, counts)
        n_parts |= {status.DISTANCES_NAME: len(rows.parts)} if is_in_parts(out, status.DISTANCES_NAME) else {}
        boxes = followed[followed['confidence'] >= request.least_confidence] if request.has_boxes else None
        exports = {
            name: formats.write(
                name,
                rows,
                clips,
                inputs.survey,
                out,
                made['date'],
                snapshots,
                plan.n_animals(),
                followed_tracks,
                boxes,
                inputs.redraws(request.redraws),
            )
            for name in request.format
        }
    whole = made | ({'parts': n_parts} if n_parts else {}) | exports
    write_json(out / status.SUMMARY, whole)
    return Results(whole, clips, counts)


def _write_inputs(request: EstimateRequest, looks: Mapping[str, ClipLook], ground: GroundEstimates | None) -> None:
    """Writes what the rows were made from: the options, and the boxes and stations of the ground."""
    out = epath.Path(request.out)
    # The report may run in another folder.
    paths = {name: _absolute(getattr(request, name)) for name in ('clips', 'calibrate')}
    write_json(out / status.OPTIONS, dataclasses.asdict(request) | paths)
    if ground is not None:
        write_table(out / status.BOXES, ground_rows.boxes_table(ground.boxes))
        content = grounds.stations_file(ground.grounds, request.theta_deg, pictures(looks), ground.notes)
        station_file.write_stations(out / status.STATIONS, content)
    else:  # of an earlier run with other flags
        for name in (status.BOXES, status.STATIONS):
            (out / name).unlink(missing_ok=True)


def _write_tracks(
    request: EstimateRequest, rows: Iterable[pd.DataFrame], counts: RowCounts
) -> tuple[dict[tuple[str, str], Followed], dict[str, int]]:
    """Writes the table of the tracks. Returns the tracks that --format camtrap-dp needs, and the number of parts."""
    found: dict[tuple[str, str], Followed] = {}
    if not counts.n_tracks:
        remove_rows(request.out, status.TRACKS_NAME)
        return found, {}

    def pieces() -> Iterator[pd.DataFrame]:
        for tracks in make_tracks(Pieces(lambda: map(status.animal_rows, rows)), request.coverage):
            if 'camtrap-dp' in request.format:
                numbers = tracks[['speed', 'speed_lower', 'speed_upper']].astype(float)
                numbers = numbers.assign(half_deg=(tracks['angle_upper'] - tracks['angle']).astype(float))
                keys = zip(tracks['video_id'], tracks['animal'], strict=True)
                found.update(zip(keys, map(Followed._make, numbers.to_numpy()), strict=True))
            yield tracks.round(4)

    with written_rows(request.out, status.TRACKS_NAME, pieces()) as tracks:
        return found, {status.TRACKS_NAME: len(tracks.parts)} if is_in_parts(request.out, status.TRACKS_NAME) else {}


def _absolute(path: str | None) -> str | None:
    return path if path is None or '://' in path else os.path.abspath(path)
