"""Reads the results of a detector: the animals in the frames of each clip.

Only the used values are checked: the box of a person, or of an animal below the least confidence, may be invalid.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from etils import epath

from data_prep.archive import is_clip, is_photo
from data_prep.inputs import detection_values as values
from data_prep.inputs.categories import ANIMAL, PERSONS, Categories, category_key, choose_categories
from data_prep.inputs.detection_values import Unusable, short
from data_prep.inputs.detector_files import DetectorFile, RawDetection, clip_path, raw_detections, read_file
from data_prep.inputs.labels import Problem

_REMEDY = 'correct the file or run the detector on the clip again'


class Detection(NamedTuple):
    frame_number: int  # from 0, of all frames of the clip
    confidence: float  # 0..1
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in the clip's box_unit
    label: str = ''  # the name of its category or species; '' if it is just an animal


class ClipDetections(NamedTuple):
    """The animals that a detector found in a clip."""

    video_id: str  # see read_detections
    frame_rate: float | None  # frames per second of the detector's run, None if the file does not give one
    sightings: list[Detection]  # in file order, repeats dropped; empty: no animal
    box_unit: str  # 'share' of width and height (0..1) or 'pixel'
    frames_processed: list[int] | None = None  # where the detector looked, ascending. None: the file does not say


class Detections(NamedTuple):
    clips: list[ClipDetections]  # in file order, without the clips that failed
    problems: list[Problem]  # of the clips that failed, and of those with a dropped detection
    notes: list[str]

    def in_pixels(self) -> frozenset[str]:
        """Returns the video_ids of the clips whose boxes are in pixels."""
        return frozenset(clip.video_id for clip in self.clips if clip.box_unit == values.PIXEL)


def read_detections(
    path,
    min_confidence: float,
    animals: Sequence[str] | None = None,
    video_id_of: Callable[[str], str] = str,
    with_persons: bool = False,
) -> Detections:
    """Returns the animals at or above min_confidence (0..1) in each clip of a results file (JSON, UTF-8).

    animals: names of the categories that count; None: the category `animal`. video_id_of: returns the video_id of a
    path in the file. Entries of one clip are merged. The detections of a photo need no frame number: they are in frame
    0, where the detector looked. with_persons: persons count too, as in clips of a measured walk.

    An entry that cannot be used is a problem of its clip ('file:images[i]', 'file:annotations[i]' or, in a list,
    'file:[i]'); such a clip is not among the clips. A detection that cannot be used is dropped: it is a problem of its
    clip if it could be an animal at or above min_confidence, else a note counts it.
    Raises ValueError if the file cannot be read, has another format, or does not tell which categories are animals.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f'min_confidence {min_confidence} is not from 0 to 1')
    file = read_file(path)
    entries, problems, n_stills, first_still = _entries(file, video_id_of)
    names = file.names or _inline_names(entries, min_confidence, file.path)
    categories = choose_categories(names, animals, str(file.path))
    if with_persons:
        categories = categories._replace(counted=categories.counted | PERSONS)
    reader = _Reader(file, categories, min_confidence)
    failed = {problem.video_id for problem in problems}
    found: dict[str, _Clip] = {}
    for entry in entries:
        if entry.video_id not in failed:
            reader.add(found.setdefault(entry.video_id, _Clip()), entry)
    empty_frames_listed = file.where != 'images' and any(clip.has_an_empty_frame() for clip in found.values())
    clips = [clip.result(video_id, file.box_unit, empty_frames_listed) for video_id, clip in found.items()]
    problems += [clip.problem(video_id) for video_id, clip in found.items() if clip.dropped]
    stills = f'{file.path.name}: images that are no JPEG or PNG ignored in {n_stills} entries, first in {first_still}'
    return Detections(clips, problems, ([stills] if n_stills else []) + reader.notes())


class _Entry(NamedTuple):
    place: str
    video_id: str
    content: dict
    detections: list[RawDetection]


def _entries(file: DetectorFile, video_id_of: Callable[[str], str]) -> tuple[list[_Entry], list[Problem], int, str]:
    """Returns the entries of clips, the problems of entries without detections, and the number and first of stills."""
    entries, problems, stills = [], [], []
    for i, content in enumerate(file.entries):
        path = clip_path(content)
        if path and not is_clip(path):
            stills.append(f'{file.where}[{i}]')
            continue
        video_id = video_id_of(path) if path else ''
        try:
            if not path:
                raise Unusable(f'{short(content)} names no file')
            entries.append(_Entry(file.place(i), video_id, content, raw_detections(content, file.box_unit)))
        except Unusable as reason:
            problems.append(Problem(video_id, file.place(i), 'detections', str(reason)))
    return entries, problems, len(stills), stills[0] if stills else ''


def _inline_names(entries: Sequence[_Entry], min_confidence: float, path: epath.Path) -> dict[str, str]:
    """Returns {category in lower case: category} of the detections that may count, for a file without a list of names.

    Raises ValueError if such a category is a number.
    """
    names = {}
    for raw in (raw for entry in entries for raw in entry.detections):
        try:
            counts = values.confidence(raw.confidence) >= min_confidence
        except Unusable:
            continue
        key = category_key(raw.category)
        if counts and key and not key.strip('-0123456789'):
            remedy = 'detection_categories (MegaDetector) or categories=model.CLASS_NAMES (PyTorch-Wildlife)'
            raise ValueError(f'{path} does not name its categories ({short(raw.category)}); write it with {remedy}')
        if counts and key:
            names.setdefault(key, str(raw.category).strip())
    return names


@dataclasses.dataclass
class _Clip:
    """What the entries of one clip say."""

    sightings: dict[Detection, None] = dataclasses.field(default_factory=dict)  # a dict: in order, without repeats
    rates: set[float] = dataclasses.field(default_factory=set)
    processed: set[int] | None = dataclasses.field(default_factory=set)  # None: an entry does not give them
    frames: dict[int | None, bool] = dataclasses.field(default_factory=dict)  # {frame of an entry: is one with boxes}
    dropped: list[tuple[str, str]] = dataclasses.field(default_factory=list)  # (place, reason) of possible animals
    doubtful: set[int] = dataclasses.field(default_factory=set)  # their frames
    any_doubtful: bool = False  # one of them has no usable frame: it may have been in any frame

    def has_an_empty_frame(self) -> bool:
        return None not in self.frames and len(self.frames) > 1 and not all(self.frames.values())

    def result(self, video_id: str, box_unit: str, empty_frames_listed: bool) -> ClipDetections:
        processed = self.processed
        if processed is None and empty_frames_listed and None not in self.frames:
            processed = set(self.frames)
        if processed is not None:
            if self.any_doubtful:
                processed = set()
            # A frame with a dropped detection is as good as not looked at: nobody knows whether it was an animal.
            processed = (processed - self.doubtful) | {sighting.frame_number for sighting in self.sightings}
        rate = min(self.rates) if len(self.rates) == 1 else None
        frames = None if processed is None else sorted(processed)
        return ClipDetections(video_id, rate, list(self.sightings), box_unit, frames)

    def problem(self, video_id: str) -> Problem:
        place, reason = self.dropped[0]
        n = len(self.dropped)
        what = 'a detection is dropped' if n == 1 else f'{n} detections are dropped, the first because'
        return Problem(video_id, place, 'detections', f'{what}: {reason}; {_REMEDY}')


class _Reader:
    """Adds the entries of one file to their clips, and counts what is ignored."""

    def __init__(self, file: DetectorFile, categories: Categories, min_confidence: float):
        self._file, self._categories, self._least = file, categories, min_confidence
        self._other_animals: Counter[str] = Counter()  # {category: detections at or above the least confidence}
        self._ignored: dict[str, list[str]] = {}  # {what: where and why}

    def add(self, clip: _Clip, entry: _Entry) -> None:
        self._add_rate(clip, entry)
        self._add_frames(clip, entry)
        for raw in entry.detections:
            if is_photo(entry.video_id) and raw.frame_number is None:
                raw = raw._replace(frame_number=0)
            try:
                sighting = self._sighting(raw)
            except Unusable as reason:
                self._drop(clip, entry, raw, str(reason))
                continue
            if sighting:
                clip.sightings[sighting] = None

    def notes(self) -> list[str]:
        name = self._file.path.name
        notes = [f'{name}: {what} in {len(why)} entries, first {why[0]}' for what, why in self._ignored.items()]
        others = ', '.join(f'{category} ({n})' for category, n in sorted(self._other_animals.items()))
        return notes + (
            [f'{name}: detections that --animals does not name are not counted: {others}'] if others else []
        )

    def _sighting(self, raw: RawDetection) -> Detection | None:
        """Returns a detection, None if it is not an animal that counts."""
        confidence = values.confidence(raw.confidence)
        if confidence < self._least or self._categories.means_empty(raw.category):
            return None
        name = self._categories.name(raw.category)
        if name is None:
            raise Unusable(f'the category {short(raw.category)} is not among the category names')
        if not self._categories.counts(name):
            if self._categories.is_another_animal(name):
                self._other_animals[name] += 1
            return None
        frame_number, box = values.frame_number(raw.frame_number), values.box(raw.box, self._file.box_unit)
        species = values.species(raw.classifications, self._file.species, self._file.least_species)
        label = species or ('' if name.casefold() == ANIMAL else name)
        return Detection(frame_number, confidence, box, label)

    def _drop(self, clip: _Clip, entry: _Entry, raw: RawDetection, reason: str) -> None:
        name = self._categories.name(raw.category)
        if name is not None and not self._categories.counts(name):
            self._ignore('detections that are no animals dropped', entry, reason)
            return
        clip.dropped.append((entry.place, reason))
        try:
            clip.doubtful.add(values.frame_number(raw.frame_number))
        except Unusable:
            clip.any_doubtful = True

    def _add_rate(self, clip: _Clip, entry: _Entry) -> None:
        rate = entry.content.get('frame_rate')
        try:
            if rate is not None:
                clip.rates.add(values.json_number(rate, 'frame_rate', *values.RATES))
        except Unusable as reason:
            self._ignore('the frame_rate ignored', entry, str(reason))
        if len(clip.rates) > 1:
            self._ignore('the frame_rate ignored', entry, f'the entries of {entry.video_id} give different ones')

    def _add_frames(self, clip: _Clip, entry: _Entry) -> None:
        try:
            frames = values.frames_processed(entry.content.get('frames_processed'))
        except Unusable as reason:
            self._ignore('frames_processed ignored', entry, str(reason))
            frames = None
        if is_photo(entry.video_id):
            frames = [0]
        clip.processed = None if frames is None or clip.processed is None else clip.processed | set(frames)
        frame = _frame_of_entry(entry.content.get('frame_number'))
        clip.frames[frame] = clip.frames.get(frame, False) or bool(entry.detections)

    def _ignore(self, what: str, entry: _Entry, reason: str) -> None:
        self._ignored.setdefault(what, []).append(f'{entry.place.partition(":")[2]}: {reason}')


def _frame_of_entry(value: Any) -> int | None:
    try:
        return values.frame_number(value)
    except Unusable:
        return None
