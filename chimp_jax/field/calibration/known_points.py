"""Measured distances, from the table of --calibrate: animals, persons or poles at known distances from the camera.

A row has a clip, a second and a distance. It may have the foot point in the picture; without it, the box in that second
gives the foot point. A bad row is left out and told; the other rows serve.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import SECOND
from data_prep.archive import NO_CLIPS, Archive, Names, path_fault
from data_prep.inputs.cells import number, seconds, site_name
from data_prep.inputs.labels import Problem
from data_prep.inputs.tables import LONGEST_CLIP_S, read_table

COLUMNS = [*SECOND, 'distance', 'x', 'y', 'in_pixels', 'of_place', 'site', 'row']
_TYPED = (*SECOND, 'distance', 'x', 'y', 'site', 'animal')
STAGE = 'known distance'
_LARGEST_SHARE = 2.0  # a larger x or y is in pixels
_ANIMAL = {'': True, 'yes': True, 'y': True, '1': True, 'true': True, 'no': False, 'n': False, '0': False}
_ANIMAL['false'] = False
_PLACE = 'ground'  # a row with this word is about a place on the ground, whatever else its second shows
_NO_ROW = 'has no row; write one for each known distance: video_id,time,distance'


def table_order(problems: Iterable[Problem]) -> list[Problem]:
    """Returns problems in the order of their rows."""
    return sorted(problems, key=lambda problem: int(problem.row.rpartition(':')[2]))


class KnownPoints(NamedTuple):
    """The usable rows of the table, and what is wrong with the others.

    rows: COLUMNS. time: whole seconds; distance: metres; x, y: the foot point, NaN if not given, in shares of the
    picture from left and top, or in pixels; in_pixels: which of both; of_place: the distance is that of a place on the
    ground and of nothing else in the picture; row: 'file:line'.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    not_animals: frozenset[str] = frozenset()  # clips with a row `no`, usable or not: no second of them has an animal

    def by_second(self) -> pd.DataFrame:
        """Returns the rows of the seconds with one known distance of an animal, a person or a pole."""
        rows = self.rows[~self.rows['of_place'].astype(bool)]
        return rows[~rows.duplicated(SECOND, keep=False)].reset_index(drop=True)


def read_known_points(path, names: Names | Archive = NO_CLIPS) -> KnownPoints:
    """Reads video_id, time, distance and, if they are there, x, y, site and animal of a CSV.

    x and y are both in shares (0..1) or, if one of them is above 2, both in pixels. A row with the word no in the
    column animal shows a person or a pole. A row with the word ground is about a place on the ground. A
    number is the name of an animal, if the row gives x and y. names: the clips that exist, which the table
    may spell otherwise. Raises ValueError if the file is no such table or has no row.
    """
    path = epath.Path(path)
    table = read_table(
        path,
        ['video_id', 'time', 'distance'],
        ('time', 'distance', 'x', 'y'),
        renamed={'filepath': 'video_id', 'site_id': 'site'},
        any_case=_TYPED,
    )
    if table.empty:
        raise ValueError(f'{path} {_NO_ROW}')
    rows, problems, not_animals = [], [], set()
    for line, cells in zip(table.index, table.to_dict('records'), strict=True):
        place = f'{path.name}:{line}'
        video_id = names.video_id_of(cells['video_id'])
        if _ANIMAL.get(cells.get('animal', '').strip().lower()) is False:
            not_animals.add(video_id)
        try:
            rows.append({'video_id': video_id, 'row': place} | _row(cells, video_id, names))
        except ValueError as fault:
            problems.append(Problem(video_id, place, STAGE, str(fault)))
    found = pd.DataFrame(rows, columns=COLUMNS)
    reasons = _outside(found) | _repeated(found) | _two_sites(found)
    return _without(KnownPoints(found, problems, frozenset(not_animals)), reasons)


def in_shares(known: KnownPoints, size_px: Mapping[str, tuple[int, int]]) -> KnownPoints:
    """Returns the points with x and y in shares of the picture, without those outside of their picture.

    size_px: {video_id: (height, width)} of the clips that can be decoded.
    """
    rows, in_pixels = known.rows.copy(), known.rows['in_pixels'].astype(bool).to_numpy()
    sizes = [size_px.get(name, (math.nan, math.nan)) for name in rows['video_id']]
    height, width = np.array(sizes, float).reshape(-1, 2).T
    rows.loc[in_pixels, 'x'] = (rows['x'] / width)[in_pixels]
    rows.loc[in_pixels, 'y'] = (rows['y'] / height)[in_pixels]
    rows['in_pixels'] = False
    return _without(known._replace(rows=rows), _outside(rows))


def with_feet(known: KnownPoints, feet: pd.DataFrame) -> KnownPoints:
    """Fills the missing foot points from the boxes of the seconds. Points in shares.

    feet: (video_id, time, x, y, others) of the best box of each second, as of best_feet. A row without a foot point
    becomes a problem, because it tells nothing about the ground. So does a row of a second with several animals.
    """
    box = feet.drop_duplicates(SECOND).set_index(SECOND)
    keys = pd.MultiIndex.from_frame(known.rows[SECOND])
    missing = known.rows['x'].isna().to_numpy()
    rows = known.rows.copy()
    for name in ('x', 'y'):
        rows.loc[missing, name] = box[name].reindex(keys).to_numpy(float)[missing]
    several = missing & (box['others'].reindex(keys).fillna(0).to_numpy() > 0)
    rows.loc[several, ['x', 'y']] = np.nan
    has_box = keys.isin(box.index)
    reasons = {
        i: 'the second shows several animals; give x and y of the one at this distance'
        if several[i]
        else 'the feet are cut off by the edge of the picture; give a second in which they are seen, or x and y'
        if has_box[i]
        else 'no box in this second, so the foot point is unknown; give x and y, or another second'
        for i in np.flatnonzero(rows['x'].isna().to_numpy())
    }
    return _without(known._replace(rows=rows), reasons)


def _row(cells: dict[str, str], video_id: str, names: Names | Archive) -> dict:
    if video_id not in names and (fault := path_fault(video_id)):
        raise ValueError(fault)
    distance_m = number(cells['distance'], '', 'the distance')
    if distance_m <= 0:
        raise ValueError(f'the distance {distance_m:g} is not above 0; correct or remove the row')
    x, y = (number(cells[name], '', name) if cells.get(name, '').strip() else math.nan for name in ('x', 'y'))
    if math.isnan(x) != math.isnan(y):
        raise ValueError('only one of x and y is given; give both, or neither')
    in_pixels = max(x, y) > _LARGEST_SHARE
    if in_pixels and 0 < min(x, y) < 1:
        raise ValueError(f'x={x:g} looks like a share and y={y:g} like pixels, or the reverse; write both in one unit')
    word = cells.get('animal', '').strip().lower()
    if word not in (*_ANIMAL, _PLACE) and not (word.isdecimal() and not math.isnan(x)):
        raise ValueError(
            f'animal {cells["animal"]!r} is neither yes nor no; write yes, and give x and y if the second has several'
        )
    return {
        'time': math.floor(seconds(cells['time'], '', 'the time', LONGEST_CLIP_S)),
        'distance': distance_m,
        'x': x,
        'y': y,
        'in_pixels': in_pixels,
        'of_place': word == _PLACE,
        'site': site_name(cells.get('site', '')),
    }


def _outside(rows: pd.DataFrame) -> dict[int, str]:
    """Returns {position: reason} of the points in shares that are outside of the picture."""
    x, y = rows['x'].to_numpy(float), rows['y'].to_numpy(float)
    outside = ((x < 0) | (x > 1) | (y < 0) | (y > 1)) & ~rows['in_pixels'].to_numpy(bool)
    text = 'the point x={:.3g}, y={:.3g} (shares of the picture) is outside the picture; correct x and y'
    return {i: text.format(x[i], y[i]) for i in np.flatnonzero(outside)}


def _repeated(rows: pd.DataFrame) -> dict[int, str]:
    """Returns the rows of one second without foot points that have different distances, or repeat a row."""
    reasons, first = {}, {}
    for i, row in enumerate(rows.itertuples(index=False)):
        foot = () if math.isnan(row.x) else (row.x, row.y)
        before = first.setdefault((row.video_id, row.time, foot), row)
        if before is row:
            continue
        if before.distance == row.distance:
            reasons[i] = f'repeats {before.row}; remove one of them'
        elif not foot:
            reasons[i] = (
                f'second {row.time} is at {row.distance:g} m here, at {before.distance:g} m in {before.row}; remove '
                'one row, or give the foot points x and y of both'
            )
    return reasons


def _two_sites(rows: pd.DataFrame) -> dict[int, str]:
    """Returns the rows whose folder has several sites in the table: nobody knows which camera a clip is from."""
    folder = pd.Series([name.rpartition('/')[0] for name in rows['video_id']], rows.index, dtype=object)
    reasons = {}
    for name, part in rows[rows['site'] != ''].groupby(folder):
        sites = sorted(part['site'].unique())
        if len(sites) > 1:
            told = ' and '.join(map(repr, sites[:3]))
            reason = f'the folder {name or "."!r} has clips of the sites {told}; give each camera a folder of its own'
            reasons |= dict.fromkeys(np.flatnonzero((folder == name).to_numpy()), reason)
    return reasons


def _without(known: KnownPoints, reasons: Mapping[int, str]) -> KnownPoints:
    """Returns the points without the rows {position: reason}, which become problems."""
    if not reasons:
        return known
    lost = known.rows.iloc[sorted(reasons)]
    problems = [
        Problem(row.video_id, row.row, STAGE, reasons[i])
        for i, row in zip(sorted(reasons), lost.itertuples(), strict=True)
    ]
    kept = known.rows.drop(index=known.rows.index[sorted(reasons)]).reset_index(drop=True)
    return known._replace(rows=kept, problems=known.problems + problems)
