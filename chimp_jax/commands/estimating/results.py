"""The result files of `estimate`."""

import dataclasses
import os
from collections.abc import Mapping

import pandas as pd
from etils import epath

from chimp_jax.clip_stream import Streamed
from chimp_jax.commands.estimating.distances import Checks
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.ground import GroundEstimates, pictures
from chimp_jax.commands.estimating.inputs import Inputs
from chimp_jax.ensemble.results import write_table
from chimp_jax.field import estimates, status, summary
from chimp_jax.field.calibration import calibrate, fusion, ground_rows, grounds, station_file
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.snapshots import Snapshots
from chimp_jax.field.track_table import make_tracks
from chimp_jax.looks import ClipLook
from data_prep.files import write_json
from data_prep.plan import Plan

GROUND_INTERVALS = 'from the known points of the station and the variation between stations; docs/model-card.md'


def list_clips(
    inputs: Inputs,
    plan: Plan,
    streamed: Streamed,
    looks: Mapping[str, ClipLook],
    ground: GroundEstimates | None,
    rows: pd.DataFrame,
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
        status.animal_rows(rows),
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
    rows: pd.DataFrame,
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
        rows=rows,
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


def write_results(
    request: EstimateRequest,
    inputs: Inputs,
    plan: Plan,
    looks: Mapping[str, ClipLook],
    followed: pd.DataFrame,
    ground: GroundEstimates | None,
    rows: pd.DataFrame,
    clips: pd.DataFrame,
    made: dict,
    snapshots: Snapshots | None,
) -> dict:
    """Writes all result files. Returns the summary `made` with a part for each export.

    followed: of animals.follow_animals.
    """
    out = epath.Path(request.out)
    write_table(out / status.DISTANCES, rows if request.details else rows[estimates.COLUMNS])
    write_table(out / status.CLIPS, clips)
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
    tracks = make_tracks(status.animal_rows(rows), request.coverage)
    if len(tracks):
        write_table(out / status.TRACKS, tracks.round(4))
    else:
        (out / status.TRACKS).unlink(missing_ok=True)
    speeds = dict(zip(zip(tracks['video_id'], tracks['animal'], strict=True), tracks['speed'], strict=True))
    boxes = followed[followed['confidence'] >= request.least_confidence] if request.has_boxes else None
    exports = {
        name: formats.write(
            name, rows, clips, inputs.survey, out, made['date'], snapshots, plan.n_animals(), speeds, boxes
        )
        for name in request.format
    }
    write_json(out / status.SUMMARY, made | exports)
    return made | exports


def _absolute(path: str | None) -> str | None:
    return path if path is None or '://' in path else os.path.abspath(path)
