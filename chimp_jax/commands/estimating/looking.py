"""The looks of `estimate` at the clips: --detect finds the animals, and the ground needs the backgrounds."""

import datetime
from collections.abc import Sequence

import numpy as np
from etils import epath

from chimp_jax.commands.estimating.flags import LEAST_CONFIDENCE, EstimateRequest
from chimp_jax.commands.estimating.inputs import Inputs
from chimp_jax.looks import Look, detector_file, look_at_clips
from data_prep.files import write_json
from data_prep.plan import Plan
from data_prep.progress import Progress
from data_prep.workers.detector_frames import SIZE_PX

_BACKGROUND_RATE = '1/2'  # frames per second, if there is no detector


def look_for_animals(request: EstimateRequest, inputs: Inputs) -> dict[str, Look]:
    """Runs the detector on all clips and writes detections.json. Returns the looks."""
    from chimp_jax.models import detector  # JAX's import takes a second

    paths = inputs.paths()
    found = detector.load_detector()

    def detect(pictures: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(one.boxes_px, one.scores) for one in found(_padded(pictures))]

    with Progress('searched for animals', len(paths)) as progress:
        looks = look_at_clips(
            paths, _folder(request), request.frames_per_second, detect, detector.NAME, request.workers, progress
        )
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    write_json(request.detector_file, detector_file(looks.values(), detector.NAME, LEAST_CONFIDENCE, date))
    return looks


def look_at_backgrounds(request: EstimateRequest, inputs: Inputs, plan: Plan) -> dict[str, Look]:
    """Returns the looks at the clips with targets and at those with known distances."""
    wanted = {name for table in plan.targets.values() for name in table.rows['video_id']}
    if inputs.known is not None:
        wanted |= set(inputs.known.points.rows['video_id'])
    paths = {name: path for name, path in inputs.paths().items() if name in wanted}
    with Progress('compared backgrounds', len(paths), passing=True) as progress:
        return look_at_clips(paths, _folder(request), _BACKGROUND_RATE, None, '', request.workers, progress)


def _folder(request: EstimateRequest) -> epath.Path:
    return epath.Path(request.out) / 'work' / 'looks'


def _padded(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the pictures in the upper left corner of black squares, uint8 [n, SIZE_PX, SIZE_PX, 3]."""
    squares = np.zeros((len(pictures), SIZE_PX, SIZE_PX, 3), np.uint8)
    for square, picture in zip(squares, pictures, strict=True):
        square[: picture.shape[0], : picture.shape[1]] = picture
    return squares
