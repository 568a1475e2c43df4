"""The file formats of detectors: JSON to entries whose values are not checked yet.

MegaDetector's results, which PyTorch-Wildlife's Timelapse export repeats (github.com/agentmorris/MegaDetector,
megadetector-output-format.md); the list that `megadetector detect` writes (github.com/microsoft/MegaDetector,
docs/output_format.md); PyTorch-Wildlife's plain export (github.com/microsoft/CameraTraps, utils/post_process.py).
"""

import json
import re
from typing import Any, NamedTuple

from etils import epath

from data_prep.inputs.categories import category_names
from data_prep.inputs.detection_values import PIXEL, SHARE, Unusable, json_number, short

_EXPECTED = "MegaDetector's {'images': [{'file'}]}, PyTorch-Wildlife's [{'file'}] or {'annotations': [{'img_id'}]}"


class DetectorFile(NamedTuple):
    path: epath.Path
    where: str  # the name of the list of entries; '' if the file is that list
    entries: list
    names: dict[str, str]  # of the categories, see category_names; empty if the file does not name them
    species: dict[str, str]  # {id: name} of the classifications
    least_species: float | None  # least confidence of a classification, None if the file does not give it

    @property
    def box_unit(self) -> str:
        return SHARE if self.where == 'images' else PIXEL

    def place(self, i: int) -> str:
        return f'{self.path.name}:{self.where}[{i}]'


class RawDetection(NamedTuple):
    """The values of one detection as they are in the file; None if missing."""

    confidence: Any
    category: Any
    box: Any
    frame_number: Any
    classifications: Any = None


def read_file(path) -> DetectorFile:
    """Reads a results file (JSON, UTF-8). Raises ValueError if it cannot be read or has another format."""
    path = epath.Path(path)
    try:
        content = json.loads(path.read_bytes().decode('utf-8-sig'))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise ValueError(f'{path}: {reason}; give the complete JSON file that the detector wrote, in UTF-8') from error
    lists = {'': content} if isinstance(content, list) else content if isinstance(content, dict) else {}
    where = next((name for name in ('', 'images', 'annotations') if isinstance(lists.get(name), list)), None)
    entries = lists.get(where, [None])
    if entries and not any(isinstance(entry, dict) and ('file' in entry or 'img_id' in entry) for entry in entries):
        raise ValueError(f'{path} is {short(content)}; expected {_EXPECTED}')  # COCO's images have a file_name
    categories = lists.get('detection_categories') or lists.get('categories') or lists.get('det_categories') or {}
    try:
        names = category_names(categories)
    except ValueError as error:
        raise ValueError(f'{path}: the category names {short(categories)} {error}') from None
    return DetectorFile(path, where, entries, names, *_species(lists))


def _species(content: dict) -> tuple[dict[str, str], float | None]:
    """Returns the names of MegaDetector's classifications, and the least confidence that the file recommends."""
    listed = content.get('classification_categories')
    names = {k: v.strip() for k, v in listed.items() if isinstance(v, str)} if isinstance(listed, dict) else {}
    about = content.get('info')
    for name in ('classifier_metadata', 'typical_classification_threshold'):
        about = about.get(name) if isinstance(about, dict) else None
    try:
        return names, None if about is None else json_number(about, 'typical_classification_threshold', 0, 1)
    except Unusable:
        return names, None


def clip_path(entry: Any) -> str:
    """Returns the path of an entry's file with '/' and without './' before it, '' if the entry names no file."""
    path = entry.get('file', entry.get('img_id')) if isinstance(entry, dict) else None
    text = path.replace('\\', '/') if isinstance(path, str) else ''
    text = text.encode(errors='backslashreplace').decode()  # JSON can hold lone surrogates, a text file cannot
    return re.sub(r'^(\./+)+', '', text)


def raw_detections(entry: dict, box_unit: str) -> list[RawDetection]:
    """Returns the detections of an entry. Raises Unusable if the entry has no list of them, or failed."""
    if entry.get('failure') is not None:
        raise Unusable(f'the detector failed: {short(entry["failure"])}')
    frame = entry.get('frame_number')  # for detections without their own
    boxes = entry.get('bbox')
    if box_unit == PIXEL and isinstance(boxes, list):
        det = 'det_' if 'det_category' in entry else ''  # the entry has a classifier's results too
        columns = [entry.get(f'{det}confidence'), entry.get(f'{det}category'), boxes]
        columns.append(frame if isinstance(frame, list) else [frame] * len(boxes))
        if not all(isinstance(column, list) and len(column) == len(boxes) for column in columns):
            raise Unusable('its confidence, category, bbox and frame_number are not lists of one length')
        return [RawDetection(*values) for values in zip(*columns, strict=True)]
    detections = entry.get('detections')
    if not isinstance(detections, list):
        raise Unusable(f'its detections are {short(detections)}, not a list; run the detector on it again')
    key = 'conf' if box_unit == SHARE else 'confidence'
    return [_raw(detection, key, frame) for detection in detections]


def _raw(detection: Any, key: str, frame: Any) -> RawDetection:
    if not isinstance(detection, dict):
        return RawDetection(None, None, None, None)
    get = detection.get
    return RawDetection(get(key), get('category'), get('bbox'), get('frame_number', frame), get('classifications'))
