"""The columns x1, y1, x2, y2 and probability of a table: the boxes of animals. A bad box leaves its target in place."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from data_prep.inputs.cells import number
from data_prep.inputs.columns.animal import Fault
from data_prep.inputs.detection_values import BOX_SLACK

CORNERS = ('x1', 'y1', 'x2', 'y2')
PROBABILITY = 'probability'
NO_BOX = (math.nan,) * 4

_COLUMNS = ['video_id', 'time', 'animal', PROBABILITY, *CORNERS]


class TableBox(NamedTuple):
    """A box in a table."""

    video_id: str
    time_s: float  # as in the table, not floored
    animal: str  # '' if unknown
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in 0..1 of width and height from the upper left
    confidence: float  # 0..1; 1 if the table has none
    row: str  # 'file:line'


class TableBoxes(NamedTuple):
    boxes: tuple[TableBox, ...]  # in the order of the table, without repeated ones
    faults: list[Fault]  # boxes that cannot be used


def read_boxes(texts: pd.DataFrame, names: pd.Series, second_of: Callable[[str], float], file: str) -> TableBoxes:
    """Returns the boxes in a table (video_id as text; the index is the line), none without the columns of boxes.

    A box that reaches over the border of the picture by at most BOX_SLACK is cut. A row without a box, or without an
    animal, has none. Two different boxes of one name at one time are a fault; boxes without a name may be of several
    animals. names: of read_names. second_of: see split_by_animal. file: its name in rows.
    """
    faults: list[Fault] = []
    first: dict[tuple, tuple[int, TableBox]] = {}
    if not {'time', *CORNERS} <= set(texts):
        return TableBoxes((), [])
    with_animal = names[names.notna()]
    rows = texts.loc[with_animal.index].assign(animal=with_animal)
    rows = rows if PROBABILITY in rows else rows.assign(probability='')
    for line, video_id, time, animal, probability, *corners in rows[_COLUMNS].itertuples():
        if not any(corner.strip() for corner in corners):
            continue
        try:
            box, confidence, time_s = _box(corners), _confidence(probability), second_of(time)
            found = TableBox(video_id, time_s, animal, box, confidence, f'{file}:{line}')
            line_before, before = first.setdefault((video_id, time_s, animal, animal or box), (line, found))
            if before.box != box:
                raise ValueError(
                    f'second {time_s:g} has two boxes of one animal in a frame, {animal!r} here and in line '
                    f'{line_before}; remove one'
                )
        except ValueError as fault:
            faults.append((video_id, line, str(fault)))
    return TableBoxes(tuple(found for _, found in first.values()), faults)


def match_boxes(keys: Sequence[tuple[str, int, str]], boxes: Iterable[TableBox]) -> list[tuple[float, ...]]:
    """Returns the box of each target (video_id, second, animal), NO_BOX if unknown.

    The first box with the animal's name at this second counts, or the first without a name for a target without one.
    If neither exists, and the second has one target and one box, and one of the two has no name, they belong together.
    """
    found: dict[tuple[str, int], list[TableBox]] = defaultdict(list)
    for box in boxes:
        found[box.video_id, math.floor(box.time_s)].append(box)
    n_targets = Counter(key[:2] for key in keys)
    return [_match(animal, found.get((*second,), []), n_targets[(*second,)]) for *second, animal in keys]


def _match(animal: str, boxes: Sequence[TableBox], n_targets: int) -> tuple[float, ...]:
    mine = [box for box in boxes if box.animal == animal]
    if not mine and n_targets == 1 and len(boxes) == 1 and '' in (animal, boxes[0].animal):
        mine = boxes
    return mine[0].box if mine else NO_BOX


def _box(corners: Sequence[str]) -> tuple[float, float, float, float]:
    """Returns a box within 0..1. Raises ValueError if the cells hold no box."""
    values = [number(text, '', f'the box: {name}') for name, text in zip(CORNERS, corners, strict=True)]
    outside = [i for i, value in enumerate(values) if not -BOX_SLACK <= value <= 1 + BOX_SLACK]
    if outside:
        name, value = CORNERS[outside[0]], values[outside[0]]
        raise ValueError(
            f'the box is outside the picture, {name} is {value:g}; write shares of width and height, 0 to 1'
        )
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in values)
    if x1 >= x2 or y1 >= y2:
        raise ValueError('the box has no area; x1, y1 is its upper left corner and x2, y2 its lower right one')
    return x1, y1, x2, y2


def _confidence(text: str) -> float:
    return number(text, '', 'the probability', 0, 1) if text.strip() else 1.0
