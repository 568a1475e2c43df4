"""The targets of `estimate`: which seconds of which clips get a distance, and which moments somebody looked at."""

import logging

import pandas as pd

from chimp_jax.commands.estimating.animals import follow_animals, plan_animals
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.inputs import Inputs, targets_job
from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field import corrections
from chimp_jax.field.exports import formats
from chimp_jax.field.exports.distance_flatfile import station_efforts
from chimp_jax.field.exports.snapshots import Snapshots, plan_snapshots
from chimp_jax.field.summary import MOST_NAMED
from data_prep.plan import Plan, make_plan, make_tasks, planned_seconds
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)


def plan_targets(request: EstimateRequest, inputs: Inputs) -> tuple[Plan, list[ClipTask], pd.DataFrame]:
    """Returns the targets of each clip, what to decode, and the followed boxes (of animals.follow_animals).

    Raises ValueError if an input does not fit the targets.
    """
    job = targets_job(request, inputs.trained)
    plan = make_plan(job, request.watch())
    if inputs.known is not None:
        plan = plan.without_animals(inputs.known.points.not_animals)
    followed = follow_animals(request, inputs, plan)
    if request.has_boxes:
        plan = plan_animals(plan, followed, request.least_confidence)
    for note in plan.notes():
        log.info('note: %s', note)
    animals = make_tasks(plan, job)
    formats.check_clips(request.format, inputs.survey, [task.video_id for task in animals], request.out)
    if inputs.corrections is not None:
        clips = set(inputs.corrections['video_id'])
        rows = pd.concat([table.rows for table in plan.targets.values()]).dropna(subset='time_s')
        corrections.check_corrections(
            inputs.corrections,
            planned_seconds(plan, clips, job.every_s, job.workers),
            rows.rename(columns={'time_s': 'time'})[KEY].astype({'time': int}),
        )
    if inputs.known is None:
        return plan, animals, followed
    with_known = plan.with_seconds(inputs.known.seconds, job.every_s)
    if n_animals := len(inputs.known.looks() - with_known.added):
        log.info(
            'note: %d seconds of %s are targets without it and count as animals; if they show a person or a pole, '
            'write no into the column animal of their rows',
            n_animals,
            request.calibrate,
        )
    if inputs.trained is None:  # nothing predicts the known seconds
        return plan, animals, followed
    return with_known, make_tasks(with_known, job), followed


def find_moments(request: EstimateRequest, inputs: Inputs, plan: Plan) -> Snapshots | None:
    """Returns the snapshot moments, None if no format has them. Raises ValueError if a moment was not looked at."""
    if 'distance' not in request.format:
        return None
    try:
        snapshots = plan_snapshots(
            plan,
            inputs.site,
            request.snapshot_s,
            detections=request.detector_file,
            targets=request.targets,
            partial_effort=request.partial_effort,
        )
    except ValueError:  # a dropped detection or a failure of the detector may be the cause
        print('\n'.join(f'{problem.video_id}: {problem.reason}' for problem in plan.problems()[:MOST_NAMED]))
        raise
    station_efforts(inputs.survey.deployments, snapshots, request.snapshot_s, request.partial_effort)
    return snapshots
