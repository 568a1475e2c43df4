"""Checks a flat file of the R package Distance for the errors that its users make."""

import math
from array import array
from itertools import pairwise

import numpy as np

from data_prep.inputs.cells import number
from data_prep.inputs.tables import read_table

_NEEDED = ('Region.Label', 'Area', 'Sample.Label', 'Effort', 'distance', 'object')
_NUMBERS = ('Area', 'Effort', 'distance', 'distbegin', 'distend', 'multiplier')
_MAY_BE_NA = ('distance', 'object', 'distbegin', 'distend', 'size')


def checked_bins(cutpoints, truncation: float | None) -> tuple[list[float] | None, float | None]:
    """Returns the cutpoints up to the truncation, and the truncation. Raises ValueError if they do not fit."""
    if truncation is not None and not (math.isfinite(truncation) and truncation > 0):
        raise ValueError(f'the truncation {truncation} is not a distance; give metres above 0')
    if cutpoints is None:
        return None, truncation
    cutpoints = [float(point) for point in cutpoints]
    if len(cutpoints) < 2 or not np.isfinite(cutpoints).all() or cutpoints[0] < 0:
        raise ValueError(f'the cutpoints {_listed(cutpoints)} do not make bins; give two or more, none below 0')
    if any(a >= b for a, b in pairwise(cutpoints)):
        raise ValueError(f'the cutpoints {_listed(cutpoints)} are not ascending; sort them and remove repeated ones')
    truncation = cutpoints[-1] if truncation is None else float(truncation)
    if truncation > cutpoints[-1]:
        raise ValueError(
            f'the truncation {truncation:g} m is beyond the last cutpoint {cutpoints[-1]:g} m; '
            'lower it, or add a cutpoint'
        )
    if truncation not in cutpoints[1:]:
        raise ValueError(f'the truncation {truncation:g} m is inside a bin of {_listed(cutpoints)}; use a cutpoint')
    return cutpoints[: cutpoints.index(truncation) + 1], truncation


def check_flatfile(path, cutpoints=None, truncation: float | None = None) -> dict:
    """Checks the CSV of a flat file, written by write_distance or by hand, and returns its counts.

    cutpoints, truncation: metres, as ds() will receive them, or None.
    Returns {'observations': n, 'stations': n, 'stations without any': n, 'regions': n}.
    Raises ValueError with file, row and remedy.
    """
    texts = read_table(path, _NEEDED, numbers=_NUMBERS, thousands=('Area', 'Effort'))
    bins = [column for column in ('distbegin', 'distend') if column in texts]
    if len(bins) == 1:
        raise ValueError(f'{path} has {bins[0]} only; give both distbegin and distend, or neither')
    file = FlatFileCheck(str(path), *checked_bins(cutpoints, truncation), bool(bins))
    for line, cells in zip(texts.index, texts.to_dict('records'), strict=True):
        cells = {column: cell.strip() for column, cell in cells.items()}
        unknown = {column: '' for column in _MAY_BE_NA if cells.get(column) == 'NA'}  # R writes NA
        file.take(line, {**cells, **unknown})
    return file.counts()


class FlatFileCheck:
    """Checks the rows of a flat file one by one, and the rules about several rows.

    Numbers of objects that count from 1 take 8 bytes a row, so a file of millions of rows can be checked.
    """

    def __init__(self, name: str, cutpoints, truncation, binned: bool):
        """name: of the file in messages. cutpoints, truncation: of checked_bins. binned: the rows have their bin."""
        self.name, self.cutpoints, self.truncation, self.binned = name, cutpoints, truncation, binned
        self.areas: dict[str, tuple[float, str]] = {}
        self.stations: dict[str, tuple[str, float, str]] = {}
        self.counted = array('q')  # the lines of the objects 1, 2, 3, ...
        self.objects: dict[str, int] = {}  # the lines of the others
        self.detections: dict[str, int] = {}
        self.empty: dict[str, str] = {}

    def take(self, line: int, cells: dict[str, str]) -> None:
        """Checks a row. Raises ValueError with file, row and remedy."""
        station, place = cells['Sample.Label'], f'{self.name}:{line}'
        self._survey(place, station, cells)
        if not cells['distance']:
            self._empty_row(place, station, cells)
            return
        if station in self.empty:
            raise ValueError(
                f'{place}: the station {station!r} has a row without a distance in {self.empty[station]}; '
                'delete that row, because the station has a detection'
            )
        distance = number(cells['distance'], place, 'distance', 0)
        if not cells['object']:
            raise ValueError(f'{place}: object is empty but there is a distance; number the observations')
        before = self._number(cells['object'], line)
        if before != line:
            raise ValueError(
                f'{place}: object {cells["object"]} is already in {self.name}:{before}; number each row differently'
            )
        if self.cutpoints and not self.cutpoints[0] <= distance <= self.cutpoints[-1]:
            raise ValueError(
                f'{place}: distance {distance:g} m is outside the cutpoints {_listed(self.cutpoints)}; '
                'remove the row, or add a cutpoint'
            )
        if self.binned:
            self._bin(place, distance, cells)
        self.detections[station] = self.detections.get(station, 0) + 1

    def _number(self, name: str, line: int) -> int:
        """Returns the first line with an object."""
        if name not in self.objects and name == str(len(self.counted) + 1):
            self.counted.append(line)
        counted = name.isdecimal() and name == str(int(name)) and 1 <= int(name) <= len(self.counted)
        return self.counted[int(name) - 1] if counted else self.objects.setdefault(name, line)

    def _survey(self, place: str, station: str, cells: dict[str, str]) -> None:
        region = cells['Region.Label']
        for column in ('Region.Label', 'Sample.Label'):
            if not cells[column]:
                raise ValueError(f'{place}: {column} is empty; name it')
        area = number(cells['Area'], place, 'Area', 0)
        effort = number(cells['Effort'], place, 'Effort', 0)
        if effort == 0:
            raise ValueError(f'{place}: Effort is 0; write the number of snapshot moments, or remove the station')
        area_before, where = self.areas.setdefault(region, (area, place))
        if area_before != area:
            raise ValueError(
                f'{place}: Area of {region!r} is {area:g}, but {area_before:g} in {where}; write one area in all rows'
            )
        region_before, effort_before, where = self.stations.setdefault(station, (region, effort, place))
        if region_before != region:
            raise ValueError(
                f'{place}: Sample.Label {station!r} is in the regions {region_before!r} ({where}) and {region!r}; '
                'give each station a name of its own'
            )
        if effort_before != effort:
            raise ValueError(
                f'{place}: Effort of {station!r} is {effort:g}, but {effort_before:g} in {where}; '
                'write one effort in all its rows'
            )
        if cells.get('multiplier') and not 0 < number(cells['multiplier'], place, 'multiplier') <= 1:
            raise ValueError(f'{place}: multiplier {cells["multiplier"]} is not above 0 and up to 1; write theta/360')

    def _empty_row(self, place: str, station: str, cells: dict[str, str]) -> None:
        filled = next((name for name in ('object', 'distbegin', 'distend', 'size') if cells.get(name)), None)
        if filled:
            raise ValueError(
                f'{place}: {filled} is given without a distance; fill in the distance, or empty both cells'
            )
        if self.detections.get(station) or station in self.empty:
            raise ValueError(
                f'{place}: a row without a distance, but the station {station!r} has other rows; delete this row '
                '(a missing distance breaks binned analyses)'
            )
        self.empty[station] = place

    def _bin(self, place: str, distance: float, cells: dict[str, str]) -> None:
        if not (cells['distbegin'] and cells['distend']):
            raise ValueError(f'{place}: distbegin or distend is empty but there is a distance; fill in both')
        begin, end = (number(cells[name], place, name, 0) for name in ('distbegin', 'distend'))
        if not begin <= distance <= end or begin == end:
            raise ValueError(f'{place}: distance {distance:g} m is not in its bin {begin:g} to {end:g} m; correct one')
        if self.cutpoints and (begin, end) not in pairwise(self.cutpoints):
            raise ValueError(
                f'{place}: the bin {begin:g} to {end:g} m is not a bin of the cutpoints {_listed(self.cutpoints)}; '
                'write the file again with these cutpoints'
            )
        if self.truncation is not None and end > self.truncation:
            raise ValueError(
                f'{place}: the bin ends at {end:g} m, beyond the truncation {self.truncation:g} m; remove the row'
            )

    def counts(self) -> dict:
        if not self.stations:
            raise ValueError(f'{self.name} has no rows; write at least one for each station')
        return {
            'observations': sum(self.detections.values()),
            'stations': len(self.stations),
            'stations without any': len(self.empty),
            'regions': len(self.areas),
        }


def _listed(cutpoints: list[float]) -> str:
    return ', '.join(f'{point:g}' for point in cutpoints)
