"""The tables that the answers become: labels, the seconds without a distance, and known points."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.field.label.answers import DISTANCE, SKIP, GroundClick, Joint
from chimp_jax.field.label.survey import AnimalBox
from data_prep.inputs.tables import csv_text, read_table

OTHERS_SUFFIX, KNOWN_SUFFIX = '.others.csv', '.known.csv'
_LABEL_COLUMNS = ['video_id', 'time', 'distance', 'site', 'x', 'y', 'x1', 'y1', 'x2', 'y2', 'who']
_KNOWN_COLUMNS = ['video_id', 'time', 'distance', 'x', 'y', 'animal']
_PLACE = ['time', 'distance', 'x', 'y']
_TYPED = (*_KNOWN_COLUMNS, 'site')


class KnownTable(NamedTuple):
    """The user's table of known distances, as text."""

    columns: Sequence[str] = ()
    rows: Sequence[Mapping[str, str]] = ()


def read_known_table(path) -> KnownTable:
    """Returns the cells of a table of known distances. Raises ValueError if it is no such table."""
    table = read_table(
        path,
        ['video_id', 'time', 'distance'],
        ('time', 'distance', 'x', 'y'),
        renamed={'filepath': 'video_id', 'site_id': 'site'},
        any_case=_TYPED,
    )
    return KnownTable(list(table.columns), table.to_dict('records'))


def without_clicks(
    known: KnownTable, points: pd.DataFrame, clicked: Collection[tuple]
) -> tuple[KnownTable, pd.DataFrame]:
    """Returns the user's table and its points without the clicked ones: their journal has them.

    They are in the table if labels.known.csv is given back with --calibrate. clicked: of answers.clicked_places.
    """
    rows = [row for row in known.rows if (row['video_id'], *(_number(row.get(name)) for name in _PLACE)) not in clicked]
    mine = [place in clicked for place in points[['video_id', *_PLACE]].itertuples(index=False, name=None)]
    return known._replace(rows=rows), points[~np.array(mine, bool)]


def labels_text(
    joint: Iterable[Joint], site: Mapping[str, str], boxes: Mapping[tuple[str, int], Sequence[AnimalBox]]
) -> str:
    """Returns labels.csv: a row for each distance.

    The column animal is there if a second has several animals, because elsewhere a name means nothing. x, y: the foot
    point; x1..y2: the box of the animal, in shares of the picture; empty if unknown.
    """
    labelled = [one for one in joint if one.kind == DISTANCE]
    columns = [*_LABEL_COLUMNS[:2], 'animal', *_LABEL_COLUMNS[2:]] if _names_matter(labelled, boxes) else _LABEL_COLUMNS
    rows = []
    for one in labelled:
        clip, second, animal = one.target
        box = _box_of(boxes.get((clip, second), ()), animal)
        foot = (box and box.foot()) or ('', '')
        cells = {
            'video_id': clip,
            'time': second,
            'animal': animal,
            'distance': f'{one.distance_m:.4g}' if one.distance_m < 1000 else f'{one.distance_m:.0f}',
            'site': site.get(clip, ''),
            'who': ';'.join(one.who),
        }
        cells |= dict(zip(('x', 'y'), map(_share, foot), strict=True))
        cells |= dict(zip(('x1', 'y1', 'x2', 'y2'), map(_share, box.corners if box else [''] * 4), strict=True))
        rows.append([cells[name] for name in columns])
    return csv_text(columns, rows)


def others_text(joint: Iterable[Joint]) -> str:
    """Returns the table of the seconds without a distance, with the reason in `answer`."""
    rows = [(*one.target, one.kind, ';'.join(one.who)) for one in joint if one.kind not in (DISTANCE, SKIP)]
    return csv_text(['video_id', 'time', 'animal', 'answer', 'who'], rows)


def known_text(given: KnownTable, clicks: Iterable[GroundClick]) -> str:
    """Returns the user's table of known distances with the clicked points below its rows, for estimate --calibrate."""
    columns = [*given.columns, *(name for name in _KNOWN_COLUMNS if name not in given.columns)]
    rows = [[row.get(name, '') for name in columns] for row in given.rows]
    for click in clicks:
        cells = {'video_id': click.clip, 'time': click.second, 'distance': f'{click.distance_m:g}'}
        cells |= {'x': _share(click.x), 'y': _share(click.y), 'animal': click.shows}
        rows.append([cells.get(name, '') for name in columns])
    return csv_text(columns, rows)


def _names_matter(labelled: Sequence[Joint], boxes: Mapping[tuple[str, int], Sequence[AnimalBox]]) -> bool:
    counts = Counter(one.target[:2] for one in labelled)
    several = any(n > 1 or len(boxes.get(second, ())) > 1 for second, n in counts.items())
    # A column of 1 and empty cells would read as yes and no.
    return several and {one.target[2] for one in labelled} != {'1', ''}


def _box_of(boxes: Sequence[AnimalBox], animal: str) -> AnimalBox | None:
    """Returns the box of an animal; the only box of a second is that of an animal without a name."""
    named = [box for box in boxes if box.animal == animal] if animal else list(boxes)
    return named[0] if len(named) == 1 else None


def _number(text: str | None) -> float | None:
    try:
        return float(text or '')
    except ValueError:
        return None


def _share(value) -> str:
    return value if isinstance(value, str) else f'{value:.5f}'
