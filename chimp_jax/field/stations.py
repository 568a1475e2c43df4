"""Which camera station a clip belongs to, and how long each station was active."""

import math
import posixpath
from datetime import datetime

import numpy as np
import pandas as pd

from data_prep.inputs.tables import number, read_table

COLUMNS = ('station', 'folder', 'region', 'area_km2', 'active_seconds', 'latitude', 'longitude', 'row')

# The names of Camtrap DP 1.0's deployments.csv for the same things.
_CAMTRAP_DP = {'deploymentID': 'station', 'deploymentStart': 'start', 'deploymentEnd': 'end'}
_NAMED = 5  # how many clips or stations a message names


def read_deployments(path) -> pd.DataFrame:
    """The user's table of stations, a row each, with the COLUMNS; unknown text is '', unknown numbers are NaN.

    The file has the column station, and of the others those that are known: folder (where the clips of the station
    lie below the clips folder; without it, in a folder that is called as the station), region, area_km2,
    active_seconds or start and end (ISO 8601), latitude, longitude. A deployments.csv of Camtrap DP serves as well:
    its deployments are the stations. `row` is 'file:line'.
    Raises ValueError with file and row where a station is unnamed or stands twice, or a cell makes no sense.
    """
    texts = read_table(path)
    if 'station' not in texts and 'deploymentID' in texts:
        texts = texts.rename(columns=_CAMTRAP_DP)
    if 'station' not in texts:
        raise ValueError(
            f'{path} lacks the column station (or deploymentID, as in Camtrap DP); it has {", ".join(texts.columns)}'
        )
    if texts.empty:
        raise ValueError(f'{path} names no station; write a row for each camera station')
    first: dict[str, int] = {}
    deployments = []
    for line, cells in zip(texts.index, texts.to_dict('records'), strict=True):
        place = f'{path}:{line}'
        deployment = _deployment({name: cell.strip() for name, cell in cells.items()}, place)
        before = first.setdefault(deployment['station'], line)
        if before != line:
            raise ValueError(
                f'{place}: the station {deployment["station"]!r} stands in line {before} already; '
                'write one row a station, with the sum of its active_seconds'
            )
        deployments.append(deployment)
    return pd.DataFrame(deployments, columns=list(COLUMNS))


def _deployment(cells: dict[str, str], place: str) -> dict:
    if not cells['station']:
        raise ValueError(f'{place}: the station has no name; name it')
    folder = cells.get('folder', '').replace('\\', '/').rstrip('/')
    if folder.startswith('/') or '..' in folder.split('/') or ':' in folder:
        raise ValueError(f'{place}: the folder {folder!r} must lie below the clips folder; write it relative to that')
    bounds = {'area_km2': (0, math.inf), 'latitude': (-90, 90), 'longitude': (-180, 180)}
    numbers = {
        name: number(cells[name].replace(',', '.'), place, name, *limits) if cells.get(name) else math.nan
        for name, limits in bounds.items()
    }
    return {
        'station': cells['station'],
        'folder': folder,
        'region': cells.get('region', ''),
        'active_seconds': _active_seconds(cells, place),
        'row': place,
        **numbers,
    }


def _active_seconds(cells: dict[str, str], place: str) -> float:
    if text := cells.get('active_seconds'):
        return number(text.replace(',', '.'), place, 'active_seconds', 0)
    start, end = (_moment(cells.get(name, ''), place, name) for name in ('start', 'end'))
    if start is None and end is None:
        return math.nan
    if start is None or end is None:
        raise ValueError(f'{place}: only one of start and end is given; give both, or active_seconds')
    if (start.tzinfo is None) != (end.tzinfo is None):
        raise ValueError(f'{place}: only one of start and end has a time zone; give it for both or for none')
    if end <= start:
        raise ValueError(f'{place}: the end {end.isoformat()} is not after the start; exchange or mend them')
    return (end - start).total_seconds()


def _moment(text: str, place: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'{place}: {name} {text!r} is no ISO 8601 time; write it as 2024-03-01T08:00:00+02:00'
        ) from None


def stations_of(video_ids, deployments: pd.DataFrame | None = None) -> pd.Series:
    """The station of each clip, aligned with video_ids (an array, or a Series, whose index is kept).

    Without deployments it is the folder part of the video_id, '' where there is none. With them it is the one station
    whose folder the clip lies in; a deployment without a folder means a folder that is called as the station, at any
    depth.
    Raises ValueError with the clips' names where a clip lies in the folder of no station, or of two.
    """
    video_ids = video_ids if isinstance(video_ids, pd.Series) else pd.Series(np.asarray(video_ids, object))
    folders = {video_id: posixpath.dirname(video_id) for video_id in video_ids.unique()}
    if deployments is None:
        return video_ids.map(folders).astype(object)
    named = list(zip(deployments['station'], deployments['folder'], strict=True))
    fitting = {folder: _fitting(folder, named) for folder in set(folders.values())}
    homeless = [video_id for video_id, folder in folders.items() if not fitting[folder]]
    if homeless:
        raise ValueError(
            f'{_some(homeless)}: in no folder of the deployments table; add the station, or give its column folder '
            'the path below the clips folder'
        )
    for video_id, folder in folders.items():
        if len(fitting[folder]) > 1:
            raise ValueError(
                f'{video_id} lies in the folders of {len(fitting[folder])} stations ({_some(fitting[folder])}); '
                'give each a folder of its own in the column folder'
            )
    return video_ids.map({video_id: fitting[folder][0] for video_id, folder in folders.items()}).astype(object)


def _fitting(folder: str, named: list[tuple[str, str]]) -> list[str]:
    inside = f'/{folder}/'
    return [
        station
        for station, below in named
        if (below == '.' or inside.startswith(f'/{below}/') if below else f'/{station.strip("/")}/' in inside)
    ]


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ', '.join(names[:_NAMED]) + (f' and {more} more' if more > 0 else '')
