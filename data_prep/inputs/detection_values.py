"""Checks the values of one detection: numbers, frame numbers, boxes, species."""

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from data_prep.inputs import tables

SHARE, PIXEL = 'share', 'pixel'  # units of a box: share of width and height (0..1), or pixels
RATES = 1e-3, 1e4  # frames per second
BOX_SLACK = 0.02  # share of the picture: a box may reach this far over the border, and is cut there

_shortener = reprlib.Repr()  # makes one short line of any value
_shortener.maxlevel, _shortener.maxstring = 2, 200
short = _shortener.repr


class Unusable(Exception):
    """A value or an entry cannot be used. The text is the reason in one line."""


def json_number(value: Any, what: str, low: float, high: float) -> float:
    """Returns a number from a number or a text. Raises Unusable for another value or one out of bounds."""
    given = value
    if isinstance(value, str):
        try:
            value = tables.number(value, '', what)
        except ValueError:
            value = math.nan
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise Unusable(f'the {what} {short(given)} is not a number from {low:g} to {high:g}')
    return float(value)


def confidence(value: Any) -> float:
    """Returns a confidence. One below 0 marks a detection that a person or a later step has discarded."""
    try:
        return json_number(value, 'confidence', -1e9, 1)
    except Unusable:
        raise Unusable(f'the confidence {short(value)} is not a number from 0 to 1') from None


def frame_number(value: Any) -> int:
    """Returns the number of a frame, from 0."""
    if value is None:
        raise Unusable(
            'an animal has no frame_number and therefore no time; run the detector on video frames with frame numbers'
        )
    found = json_number(value, 'frame_number', 0, 1e9)
    if found % 1:
        raise Unusable(f'the frame_number {found:g} is not a whole number')
    return int(found)


def frames_processed(value: Any) -> list[int] | None:
    """Returns the numbers of the frames in which the detector looked, None if the entry does not give them."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise Unusable(f'the frames_processed are {short(value)}, not a list of frame numbers')
    return [frame_number(item) for item in value]


def box(given: Any, unit: str) -> tuple[float, ...]:
    """Returns x1, y1, x2, y2 from [x, y, width, height] (SHARE) or [x1, y1, x2, y2] (PIXEL)."""
    if not isinstance(given, list) or len(given) != 4:
        raise Unusable(f'the bbox {short(given)} is not 4 numbers')
    low, high = (-BOX_SLACK, 1 + BOX_SLACK) if unit == SHARE else (-1e6, 1e6)
    x1, y1, x2, y2 = (json_number(value, 'bbox value', low, high) for value in given)
    if unit == SHARE:
        x2, y2 = (json_number(value, 'bbox end', low, high) for value in (x1 + x2, y1 + y2))
    elif max(x2, y2) <= 1:
        raise Unusable(f'the bbox {short(given)} is not in pixels')
    if unit == SHARE:
        x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in (x1, y1, x2, y2))
    if x2 <= x1 or y2 <= y1:
        raise Unusable(f'the bbox {short(given)} has no area in the picture')
    return x1, y1, x2, y2


def species(classifications: Any, names: Mapping[str, str], least: float | None) -> str:
    """Returns the name of the first classification, '' if it is not at or above its own least confidence.

    classifications: [[id, confidence], ...], the best first, as MegaDetector's format demands. least: the file's
    typical_classification_threshold; None if the file does not give one.
    """
    if least is None or not isinstance(classifications, list) or not classifications:
        return ''
    best = classifications[0]
    if not isinstance(best, list) or len(best) != 2:
        return ''
    try:
        return names.get(str(best[0]).strip(), '') if json_number(best[1], 'confidence', 0, 1) >= least else ''
    except Unusable:
        return ''
