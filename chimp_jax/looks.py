"""Looks at each clip once: the boxes of a detector, the brightness of its frames, its background.

The results of a clip are saved when the clip is done: the same call resumes after an interruption. If a clip's file has
changed, the clip is done again.
"""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from etils import epath
from PIL import Image

from chimp_jax.stations import movement
from data_prep.archive import is_photo
from data_prep.files import fingerprint, read_json, unchanged, write_whole
from data_prep.progress import Progress
from data_prep.workers import lost
from data_prep.workers.detector_frames import DetectorFrames, FramesTask, frames_of_clips
from data_prep.workers.guard import WorkerDied

FORMAT_VERSION = '1.5'  # of MegaDetector's results, the first with frame_number for clips
_VERSION = '1'  # of the saved looks
_SCRATCH = 'scratch-'
_MOST_PICTURES = 15  # of a clip that are read for its background; more change the median little
_PNG_END = b'IEND\xaeB`\x82'  # the last chunk
_PICTURE_BYTES = 256 << 20  # of pictures that are in memory together

Detect = Callable[[Sequence[np.ndarray]], Sequence[tuple[np.ndarray, np.ndarray]]]


class ClipLook(NamedTuple):
    """What was found in one clip."""

    video_id: str
    problem: str  # why the clip cannot be decoded, '' if it can
    doubt: str = ''  # what is wrong with its frames, '' if nothing
    frame_rate: float = 0.0  # frames per second
    duration_s: float = 0.0
    height_px: int = 0
    width_px: int = 0
    numbers: Sequence[int] = ()  # of the frames that were looked at, among all frames of the clip
    times_s: Sequence[float] = ()  # of these frames
    brightness: Sequence[float] = ()  # of these frames: mean luma, 0..255
    infrared: bool = False
    # (frame number, confidence, x1, y1, x2, y2 in shares of the picture); None without a detector.
    boxes: Sequence[Sequence[float]] | None = None
    background: str = ''  # path of a grey PNG 640 px wide, '' without one
    lost_runs: int = 0  # in so many runs in a row the clip was lost with its worker process

    def background_grey(self) -> np.ndarray | None:
        """Returns the background, uint8 [height, 640], None without one."""
        if not self.background:
            return None
        return np.asarray(Image.open(io.BytesIO(epath.Path(self.background).read_bytes())).convert('L'))


def look_at_clips(
    paths: Mapping[str, str],
    folder,
    per_second: str,
    detect: Detect | None,
    name: str,
    workers: int,
    progress: Progress,
    retry: bool = False,
) -> dict[str, ClipLook]:
    """Returns {video_id: its look}.

    paths: {video_id: path of the clip}. folder: where the looks are saved. per_second: frames per second, such as '2'
    or '1/3'. detect: pictures (uint8 [h, w, 3], the longer side 640 px) -> (boxes [k, 4] x1 y1 x2 y2 in pixels,
    confidences [k]) of each; None: no boxes. name: a text that changes with the detector. progress counts clips. retry:
    see lost.py. Raises guard.WorkerError or OSError if the machine is at fault, not a clip.
    """
    folder = epath.Path(folder) / _hash(_VERSION, per_second, name)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(16) as threads:
        saved = threads.map(lambda video_id: _saved(folder, video_id, paths[video_id]), paths)
        looks = {look.video_id: look for look in saved if look}
    lost_runs = {name: look.lost_runs for name, look in looks.items() if lost.is_due(look.lost_runs, retry)}
    looks = {name: look for name, look in looks.items() if name not in lost_runs}
    progress.skip(len(looks))
    for left in folder.glob(f'{_SCRATCH}*'):  # of a killed run
        left.rmtree()
    is_local = '://' not in str(folder)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=str(folder) if is_local else None))
    try:
        tasks = [
            FramesTask(video_id, path, per_second, str(scratch / f'{number}.raw'))
            for number, (video_id, path) in enumerate(paths.items())
            if video_id not in looks
        ]
        for task, frames in frames_of_clips(tasks, workers):
            looks[task.video_id] = _look(folder, task, frames, detect, lost_runs.get(task.video_id, 0))
            Path(task.raw_file).unlink(missing_ok=True)
            progress.advance(1, problems=bool(looks[task.video_id].problem))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return {video_id: looks[video_id] for video_id in paths}


def detector_file(
    looks: Iterable[ClipLook], name: str, least_confidence: float, typical_confidence: float, date: str
) -> dict:
    """Returns MegaDetector's results, format 1.5, of clips that a detector looked at.

    name: of the detector. least_confidence: below it the detector reports nothing. typical_confidence: from it on a
    detection counts as an animal. date: when it ran.
    """
    return {
        'info': {
            'format_version': FORMAT_VERSION,
            'detector': name,
            'detection_completion_time': date,
            'detector_metadata': {
                'megadetector_version': 'unknown',
                'typical_detection_threshold': typical_confidence,
                'conservative_detection_threshold': least_confidence,
            },
        },
        'detection_categories': {'1': 'animal'},
        'images': [_entry(look) for look in looks],
    }


def _entry(look: ClipLook) -> dict:
    if look.problem:
        return {'file': look.video_id, 'failure': look.problem, 'detections': None}
    detections = [
        {
            'category': '1',
            'conf': round(confidence, 4),
            'bbox': [round(value, 5) for value in (x1, y1, x2 - x1, y2 - y1)],
            'frame_number': int(number),
        }
        for number, confidence, x1, y1, x2, y2 in look.boxes
    ]
    if is_photo(look.video_id):  # as MegaDetector writes the entry of a photo
        return {'file': look.video_id, 'detections': [_without_frame(found) for found in detections]}
    return {
        'file': look.video_id,
        'frame_rate': look.frame_rate,
        'frames_processed': list(look.numbers),
        'detections': detections,
    }


def _without_frame(detection: dict) -> dict:
    return {name: value for name, value in detection.items() if name != 'frame_number'}


def _look(
    folder: epath.Path,
    task: FramesTask,
    frames: DetectorFrames | str | WorkerDied,
    detect: Detect | None,
    lost_runs: int,
) -> ClipLook:
    """Returns the look at a clip, and saves it. lost_runs: of the clip, before this run."""
    path = folder / _hash(task.video_id)
    if isinstance(frames, WorkerDied):
        reason, lost_runs = lost.judge(frames, lost_runs)
        look = ClipLook(task.video_id, reason, lost_runs=lost_runs)
    elif isinstance(frames, str) or not frames.numbers:
        look = ClipLook(task.video_id, frames if isinstance(frames, str) else 'no picture can be decoded')
    else:
        raw = np.memmap(task.raw_file, np.uint8, 'r')
        background = path.with_suffix('.png')
        write_whole(background, _png(_background(frames, raw)))
        look = ClipLook(
            video_id=task.video_id,
            problem='',
            doubt=frames.doubt,
            frame_rate=frames.frame_rate,
            duration_s=frames.duration_s,
            height_px=frames.size_px[0],
            width_px=frames.size_px[1],
            numbers=frames.numbers,
            times_s=frames.times_s,
            brightness=[round(value, 2) for value in frames.brightness],
            infrared=frames.infrared,
            boxes=None if detect is None else _boxes(frames, raw, detect),
            background=str(background),
        )
    content = look._replace(background='')._asdict() | {'files': fingerprint([task.path], whole=bool(look.problem))}
    write_whole(path.with_suffix('.json'), json.dumps(content))
    return look


def _saved(folder: epath.Path, video_id: str, path: str) -> ClipLook | None:
    """Returns the saved look at a clip, None if it is missing or the clip's file has changed."""
    file = folder / f'{_hash(video_id)}.json'
    content = read_json(file)
    background = file.with_suffix('.png')
    if content is None or not unchanged(content.pop('files'), [path]):
        return None
    if not content['problem'] and not (background.exists() and background.read_bytes().endswith(_PNG_END)):
        return None
    return ClipLook(**content)._replace(background='' if content['problem'] else str(background))


def _background(frames: DetectorFrames, raw: np.ndarray) -> np.ndarray:
    size = frames.places[0][1:]
    alike = [i for i, place in enumerate(frames.places) if place[1:] == size]  # a damaged clip may change its size
    chosen = np.unique(np.linspace(0, len(alike) - 1, _MOST_PICTURES).round().astype(int))
    return movement.background(np.stack([frames.picture(raw, alike[i]) for i in chosen]))


def _boxes(frames: DetectorFrames, raw: np.ndarray, detect: Detect) -> list[list[float]]:
    """Returns (frame number, confidence, x1, y1, x2, y2) of each box, shares of the picture."""
    found, places = [], frames.places
    n_together = max(1, _PICTURE_BYTES // max(height * width * 3 for _, height, width in places))
    for start in range(0, len(places), n_together):
        chosen = range(start, min(start + n_together, len(places)))
        answers = detect([frames.picture(raw, i) for i in chosen])
        for i, (boxes_px, confidences) in zip(chosen, answers, strict=True):
            _, height, width = places[i]
            shares = np.clip(np.asarray(boxes_px, float).reshape(-1, 4) / [width, height, width, height], 0, 1)
            for share, confidence in zip(shares.tolist(), confidences, strict=True):
                if share[0] < share[2] and share[1] < share[3]:
                    found.append([frames.numbers[i], float(confidence), *share])
    return found


def _png(grey: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(grey).save(content, 'PNG')
    return content.getvalue()


def _hash(*texts: str) -> str:
    return hashlib.sha256('\n'.join(texts).encode(errors='backslashreplace')).hexdigest()[:20]
