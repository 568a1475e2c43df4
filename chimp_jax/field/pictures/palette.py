"""The colours and strokes that tell the tracks of a clip apart, on the report page and in the picture of a clip.

Deficient colour vision leaves at least 20 units of CIELAB between any two colours, by simulation, and each colour has a
contrast of at least 3 : 1 with its background. A name stands beside every colour.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

ON_LIGHT = ('#0f4db3', '#8a2b0a', '#2b9c80', '#d44fb0', '#9d8b06', '#1d1038')
ON_DARK = ('#8fbcff', '#e8501c', '#48e6a8', '#c4568f', '#f7ec6a', '#9a5cf0')  # the same hues; also on photos
STROKES = ('', '6 3', '2 3', '9 3 2 3')  # dashes and gaps; the next one begins when all colours are used


class TrackStyle(NamedTuple):
    colour: int  # of ON_LIGHT and ON_DARK
    stroke: int  # of STROKES


def track_styles(names: Iterable[str]) -> dict[str, TrackStyle]:
    """Returns the style of each track of a clip, in the order of in_name_order. '' is no track and has none."""
    ordered = in_name_order({name for name in names if name})
    turns = (divmod(place, len(ON_LIGHT)) for place in range(len(ordered)))
    return {name: TrackStyle(c, turn % len(STROKES)) for name, (turn, c) in zip(ordered, turns, strict=True)}


def in_name_order(names: Iterable[str]) -> list[str]:
    """Returns the names sorted as people count: '2' before '10'."""
    return sorted(names, key=_parts)


def _parts(name: str) -> list:
    parts = re.split('([0-9]+)', name)
    return [[(part, 0) if i % 2 == 0 else ('', int(part)) for i, part in enumerate(parts)], name]
