"""The animals of `estimate`: follows the boxes of a detector through each clip, and plans a target for each animal."""

import pandas as pd

from chimp_jax.commands.estimating.flags import LEAST_OF_TRACK, EstimateRequest
from chimp_jax.commands.estimating.inputs import Inputs, targets_job
from chimp_jax.field.calibration import boxes
from data_prep.inputs.detections import ClipDetections, read_detections
from data_prep.plan import Plan


def follow_animals(request: EstimateRequest, inputs: Inputs, plan: Plan) -> pd.DataFrame:
    """Returns the boxes (boxes.TIMED) of all tracks in the clips with targets. Empty without a detector.

    Boxes below the least confidence are no targets. They only continue a track.
    """
    if not request.has_boxes:
        return pd.DataFrame(columns=boxes.TIMED)
    with_targets = {name for table in plan.targets.values() for name in table.rows['video_id']}
    least = min(LEAST_OF_TRACK, request.least_confidence)
    clips = [clip for clip in read_detected(request, inputs, least) if clip.video_id in with_targets]
    return boxes.follow_boxes(boxes.timed_boxes(clips, plan.headers), request.least_confidence)


def plan_animals(plan: Plan, followed: pd.DataFrame, least_confidence: float) -> Plan:
    """Returns the plan with a target for each animal of a second, and with the boxes of the tracks.

    A second that is a target for another reason, such as a known distance, stays one target.
    """
    best = boxes.best_boxes(followed[followed['confidence'] >= least_confidence])
    corners = list(map(tuple, best[boxes.CORNERS].to_numpy(float)))
    rows = best[['video_id', 'animal', 'label']].assign(time_s=best['time'], box=corners)
    columns = ['time_s', 'confidence', *boxes.CORNERS, 'animal']
    of_clips = {
        name: list(part[columns].itertuples(index=False, name=None)) for name, part in followed.groupby('video_id')
    }
    return plan.with_animals(rows).with_boxes(of_clips)


def read_detected(
    request: EstimateRequest, inputs: Inputs, least_confidence: float | None = None, with_persons: bool = False
) -> list[ClipDetections]:
    """Returns the detections of each clip.

    least_confidence: None for that of the request. with_persons: as of read_detections.
    """
    job = targets_job(request)
    least = job.min_confidence if least_confidence is None else least_confidence
    return read_detections(job.detections, least, job.animals, inputs.archive.video_id_of, with_persons).clips
