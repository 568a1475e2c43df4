"""Places for the labels of a drawing, such that no label covers another one or leaves the drawing."""

import io
from collections.abc import Iterable, Iterator, Sequence

from PIL import Image

Area = tuple[float, float, float, float]  # left, top, right, bottom

TEXT_HEIGHT, LETTER_WIDTH = 13, 6.2  # of labels, in the units of a drawing
_MARK_WIDTH = 5  # of the coloured mark before the label of a box


def size_px(jpeg: bytes) -> tuple[int, int]:
    """Returns width and height of a JPEG."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        return picture.size


def label_area(x: float, y: float, width: float) -> Area:
    """Returns the area of a label with its middle at x, y."""
    return x - width / 2, y - TEXT_HEIGHT / 2, x + width / 2, y + TEXT_HEIGHT / 2


def areas_around(x: float, y: float, width: float) -> Iterator[Area]:
    """Yields areas for a label around a point, the best first."""
    beside, above = 6 + width / 2, 6 + TEXT_HEIGHT / 2
    for right, down in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
        yield label_area(x + right * beside, y + down * above, width)


def first_free(areas: Iterable[Area], taken: Sequence[Area], width: float, height: float) -> Area | None:
    """Returns the first area inside a drawing of width x height that overlaps none of the taken ones, None without."""
    return next((area for area in areas if _inside(area, width, height) and not _covers(area, taken)), None)


def label_boxes(
    boxes: Sequence[Area], texts: Sequence[Sequence[str]], width: float, height: float
) -> list[tuple[str, Area] | None]:
    """Returns a text and its area for each box of a drawing of width x height, None for a box without room.

    texts: of each box, from the shortest to the longest. Every box gets its shortest text before one gets a longer one.
    A label lies beside the other boxes if it can.
    """
    placed: list[tuple[str, Area] | None] = [None] * len(boxes)
    for length in range(max(map(len, texts), default=0)):
        for number, (box, options) in enumerate(zip(boxes, texts, strict=True)):
            if length < len(options):
                taken = [other[1] for k, other in enumerate(placed) if other and k != number]
                areas = list(_areas_at(box, LETTER_WIDTH * len(options[length]) + _MARK_WIDTH))
                others = [other for k, other in enumerate(boxes) if k != number]
                area = first_free(areas, taken + others, width, height) or first_free(areas, taken, width, height)
                placed[number] = (options[length], area) if area else placed[number]
    return placed


def _areas_at(box: Area, width: float) -> Iterator[Area]:
    """Yields areas for the label of a box: above, below, inside, beside."""
    left, top, right, bottom = box
    half = TEXT_HEIGHT / 2
    for y in (top - half - 2, bottom + half + 2, top + half + 2, bottom - half - 2):
        for x in (left + width / 2, right - width / 2):
            yield label_area(x, y, width)
    for y in (top + half, (top + bottom) / 2, bottom - half):
        yield label_area(right + width / 2 + 2, y, width)
        yield label_area(left - width / 2 - 2, y, width)


def _inside(area: Area, width: float, height: float) -> bool:
    return area[0] >= 0 and area[1] >= 0 and area[2] <= width and area[3] <= height


def _covers(area: Area, taken: Sequence[Area]) -> bool:
    return any(area[0] < t[2] and t[0] < area[2] and area[1] < t[3] and t[1] < area[3] for t in taken)
