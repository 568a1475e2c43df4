"""Reads the results of a detector: the animals in the frames of each clip.

Formats: MegaDetector's results, which PyTorch-Wildlife's Timelapse export repeats (github.com/agentmorris/MegaDetector,
megadetector-output-format.md); the list that `megadetector detect` writes (github.com/microsoft/MegaDetector,
docs/output_format.md); PyTorch-Wildlife's plain export (github.com/microsoft/CameraTraps, utils/post_process.py).
Only the used values are checked: the box of a person, or of an animal below the least confidence, may be invalid.
"""

import json
import reprlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from etils import epath

from data_prep.archive import is_clip, plain_name
from data_prep.inputs.labels import Problem

_EXPECTED = "MegaDetector's {'images': [{'file'}]}, PyTorch-Wildlife's [{'file'}] or {'annotations': [{'img_id'}]}"
_RATES = 1e-3, 1e4  # frames per second
_SLACK = 0.01  # share of the picture: a rounded box may reach this far over its border

_shortener = reprlib.Repr()  # makes one short line of any value
_shortener.maxlevel, _shortener.maxstring = 2, 200
_short = _shortener.repr


class Detection(NamedTuple):
    frame_number: int  # from 0, of all frames of the clip
    confidence: float  # 0..1
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in the clip's box_unit


class ClipDetections(NamedTuple):
    """The animals that a detector found in a clip."""

    video_id: str  # by the caller's video_id_of; not checked
    frame_rate: float | None  # frames per second of the detector's run, None if the file does not give it
    sightings: list[Detection]  # in file order, repeats dropped; empty: no animal
    box_unit: str  # 'share' of width and height (0..1) or 'pixel'


class Detections(NamedTuple):
    clips: list[ClipDetections]  # in file order, without the clips that have a problem
    problems: list[Problem]
    notes: list[str]


class _Refused(Exception):
    pass


def read_detections(path, min_confidence: float, video_id_of: Callable[[str], str] = plain_name) -> Detections:
    """Returns the animals at or above min_confidence (0..1) in each clip of a results file (JSON, UTF-8).

    An entry that cannot be used is a problem of its clip ('file:images[i]', 'file:annotations[i]' or, in a list,
    'file:[i]'). Entries of one clip are merged. video_id_of: returns the video_id that a path in the file means, as
    Archive.video_id_of does. Raises ValueError if the file cannot be read, has another format, or does not name the
    category of animals.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f'min_confidence {min_confidence} is not from 0 to 1')
    path = epath.Path(path)
    where, entries, names = _read(path)
    box_unit = 'share' if where == 'images' else 'pixel'
    found: dict[str, dict[Detection, None]] = {}  # a dict: in order, without repeats
    rates: dict[str, float] = {}
    problems, stills = [], []
    for i, entry in enumerate(entries):
        video_id = _video_id(entry, video_id_of)
        try:
            if not video_id:
                raise _Refused(f'{_short(entry)} names no file')
            if not is_clip(video_id):
                stills.append(i)
                continue
            if entry.get('failure') is not None:
                raise _Refused(f'the detector failed: {_short(entry["failure"])}')
            rate = entry.get('frame_rate')
            if rate is not None and rates.setdefault(video_id, _number(rate, 'frame_rate', *_RATES)) != rate:
                raise _Refused(f'the frame_rate is {rate:g} here, {rates[video_id]:g} in an earlier entry')
            sightings = found.setdefault(video_id, {})
            for confidence, category, box, frame_number in _detections(entry, box_unit):
                confidence = _number(confidence, 'confidence', 0, 1)
                if confidence >= min_confidence and _is_animal(category, names, path):
                    sightings[Detection(_frame_number(frame_number), confidence, _box(box, box_unit))] = None
        except _Refused as refusal:
            problems.append(Problem(video_id, f'{path.name}:{where}[{i}]', 'detections', str(refusal)))
    note = f'{path.name}: still images ignored in {len(stills)} entries, first in {where}[{min(stills, default=0)}]'
    for problem in problems:
        found.pop(problem.video_id, None)
    clips = [ClipDetections(video_id, rates.get(video_id), list(seen), box_unit) for video_id, seen in found.items()]
    return Detections(clips, problems, [note] if stills else [])


def best_by_second(clip: ClipDetections, frame_rate: float) -> dict[int, Detection]:
    """Returns {second: its most confident sighting}. If two are equal, the earlier frame counts.

    second = floor(frame_number / frame_rate), frame_rate in frames per second. The division uses whole numbers
    (30000/1001 is recovered from its float), because rounding could move a frame into the second before.
    Raises ValueError if the rate is out of bounds.
    """
    if not _RATES[0] <= frame_rate <= _RATES[1]:
        raise ValueError(f'{clip.video_id}: the frame rate {frame_rate} is not from {_RATES[0]:g} to {_RATES[1]:g}')
    rate = Fraction(frame_rate).limit_denominator(1_000_000)
    ranked = sorted(clip.sightings, key=lambda sighting: (sighting.confidence, -sighting.frame_number))  # best last
    best = {sighting.frame_number * rate.denominator // rate.numerator: sighting for sighting in ranked}
    return dict(sorted(best.items()))


def _read(path: epath.Path) -> tuple[str, list, dict[str, str]]:
    """Returns the name of the list of entries ('' if the file is that list), the entries, and {category: name}."""
    try:
        content = json.loads(path.read_bytes().decode('utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f'{path}: {error}; give the complete JSON file that the detector wrote, in UTF-8') from error
    lists = {'': content} if isinstance(content, list) else content if isinstance(content, dict) else {}
    where = next((name for name in ('', 'images', 'annotations') if isinstance(lists.get(name), list)), None)
    entries = lists.get(where, [None])
    if entries and not any(isinstance(entry, dict) and ('file' in entry or 'img_id' in entry) for entry in entries):
        raise ValueError(f'{path} is {_short(content)}; expected {_EXPECTED}')  # COCO's images have a file_name
    categories = lists.get('detection_categories') or lists.get('categories') or lists.get('det_categories') or {}
    return where, entries, _names(path, categories)


def _names(path: epath.Path, categories: Any) -> dict[str, str]:
    """Returns {id or name: name} in lower case from {id: name}, [{'id': id, 'name': name}] or [name of 0, ...]."""
    if isinstance(categories, list):
        pairs = [(c.get('id'), c.get('name')) if isinstance(c, dict) else (i, c) for i, c in enumerate(categories)]
        categories = {str(number): name for number, name in pairs}
    if not isinstance(categories, dict) or not all(isinstance(name, str) for name in categories.values()):
        raise ValueError(f'{path}: the category names {_short(categories)} are not {{id: name}}; write {{id: name}}')
    ids = {number.strip().lower(): name.strip().lower() for number, name in categories.items()}
    if ids and 'animal' not in ids.values():
        names = _short(list(categories.values()))
        raise ValueError(f'{path}: none of the categories {names} is named animal; rename the category of animals')
    return {name: name for name in ids.values()} | ids


def _is_animal(category: Any, names: dict[str, str], path: epath.Path) -> bool:
    text = str(category).strip().lower() if isinstance(category, int | str) else ''
    if not text or names and text not in names:
        raise _Refused(f'the category {_short(category)} is not among the category names')
    if not names and not text.strip('-0123456789'):
        remedy = 'detection_categories (MegaDetector) or categories=model.CLASS_NAMES (PyTorch-Wildlife)'
        raise ValueError(f'{path} does not name its categories ({_short(category)}); write it with {remedy}')
    return names.get(text, text) == 'animal'


def _video_id(entry: Any, video_id_of: Callable[[str], str]) -> str:
    path = entry.get('file', entry.get('img_id')) if isinstance(entry, dict) else None
    text = video_id_of(path) if isinstance(path, str) else ''
    return text.encode(errors='backslashreplace').decode()  # JSON can hold lone surrogates, a text file cannot


def _detections(entry: dict, box_unit: str) -> list[tuple[Any, Any, Any, Any]]:
    """Returns (confidence, category, box, frame number) of each detection, unchecked; None for a missing value."""
    frame_number = entry.get('frame_number')  # default for detections without their own
    boxes = entry.get('bbox')
    if box_unit == 'pixel' and isinstance(boxes, list):
        det = 'det_' if 'det_category' in entry else ''  # the entry has a classifier's results too
        columns = [entry.get(f'{det}confidence'), entry.get(f'{det}category'), boxes]
        columns.append(frame_number if isinstance(frame_number, list) else [frame_number] * len(boxes))
        if not all(isinstance(column, list) and len(column) == len(boxes) for column in columns):
            raise _Refused('its confidence, category, bbox and frame_number are not lists of one length')
        return list(zip(*columns, strict=True))
    detections = entry.get('detections')
    if not isinstance(detections, list) or not all(isinstance(detection, dict) for detection in detections):
        raise _Refused(f'its detections are {_short(detections)}, not a list; run the detector on it again')
    key = 'conf' if box_unit == 'share' else 'confidence'
    return [(d.get(key), d.get('category'), d.get('bbox'), d.get('frame_number', frame_number)) for d in detections]


def _number(value: Any, what: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _Refused(f'the {what} {_short(value)} is not a number from {low:g} to {high:g}')
    return float(value)


def _frame_number(value: Any) -> int:
    if value is None:
        raise _Refused(
            'an animal has no frame_number and therefore no time; run the detector on video frames with frame numbers'
        )
    number = _number(value, 'frame_number', 0, 1e9)
    if number % 1:
        raise _Refused(f'the frame_number {number:g} is not a whole number')
    return int(number)


def _box(box: Any, box_unit: str) -> tuple[float, ...]:
    """Returns x1, y1, x2, y2 from [x, y, width, height] (share) or [x1, y1, x2, y2] (pixel)."""
    if not isinstance(box, list) or len(box) != 4:
        raise _Refused(f'the bbox {_short(box)} is not 4 numbers')
    low, high = (-_SLACK, 1 + _SLACK) if box_unit == 'share' else (-1e6, 1e6)
    x1, y1, x2, y2 = (_number(value, 'bbox value', low, high) for value in box)
    if box_unit == 'share':
        x2, y2 = (_number(value, 'bbox end', low, high) for value in (x1 + x2, y1 + y2))
    elif max(x2, y2) <= 1:
        raise _Refused(f'the bbox {_short(box)} is not in pixels')
    if x2 < x1 or y2 < y1:
        raise _Refused(f'the bbox {_short(box)} has a negative size')
    return tuple(min(max(value, 0.0), 1.0) if box_unit == 'share' else value for value in (x1, y1, x2, y2))
