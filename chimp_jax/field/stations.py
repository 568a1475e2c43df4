"""The camera station of each clip, and how long each station was active."""

import math
import posixpath
from datetime import datetime

import numpy as np
import pandas as pd

from chimp_jax.field.label_tables import named
from data_prep.archive import plain_name
from data_prep.inputs.cells import number, site_name, tidy
from data_prep.inputs.tables import read_table

COLUMNS = ('station', 'folder', 'region', 'area_km2', 'active_seconds', 'latitude', 'longitude', 'row')

_NUMBERS = ('area_km2', 'active_seconds', 'latitude', 'longitude')
# Columns of Camtrap DP 1.0's deployments.csv -> the columns here.
_CAMTRAP_DP = {'deploymentID': 'station', 'deploymentStart': 'start', 'deploymentEnd': 'end'}
_TYPED = (*COLUMNS[:-1], 'start', 'end')


def read_deployments(path) -> pd.DataFrame:
    """Reads the user's table of stations -> a row for each, with the COLUMNS; unknown texts are '', numbers NaN.

    The file must have the column station. It may have folder (of the station's clips, below the clips folder; by
    default a folder with the name of the station), region, area_km2, active_seconds or start and end (ISO 8601),
    latitude, longitude. It may also be a deployments.csv of Camtrap DP, whose deployments are the stations. `row` is
    'file:line'. Names of stations and folders are tidied: composed letters, no repeated blanks. Raises ValueError with
    file and row if a station has no name or two rows, or a cell is not valid.
    """
    texts = read_table(path, numbers=_NUMBERS, thousands=('area_km2', 'active_seconds'), any_case=_TYPED)
    if 'station' not in texts and 'deploymentID' in texts:
        texts = texts.rename(columns=_CAMTRAP_DP)
    if 'station' not in texts:
        raise ValueError(
            f'{path} lacks the column station (or deploymentID, as in Camtrap DP); it has {", ".join(texts.columns)}'
        )
    if texts.empty:
        raise ValueError(f'{path} has no row; write one for each camera station')
    first: dict[str, int] = {}
    deployments = []
    for line, cells in zip(texts.index, texts.to_dict('records'), strict=True):
        place = f'{path}:{line}'
        deployment = _deployment({name: cell.strip() for name, cell in cells.items()}, place)
        before = first.setdefault(deployment['station'], line)
        if before != line:
            raise ValueError(
                f'{place}: line {before} has the station {deployment["station"]!r} too; '
                'write one row for each station, with the sum of its active_seconds'
            )
        deployments.append(deployment)
    return pd.DataFrame(deployments, columns=list(COLUMNS))


def _deployment(cells: dict[str, str], place: str) -> dict:
    station = site_name(cells['station'])
    if not station:
        raise ValueError(f'{place}: the station has no name; write one')
    folder = _tidy_folder(plain_name(cells.get('folder', '').rstrip('/\\')))
    if folder.startswith('/') or '..' in folder.split('/') or ':' in folder:
        raise ValueError(f'{place}: the folder {folder!r} is not below the clips folder; write it relative to that')
    bounds = {'area_km2': (0, math.inf), 'latitude': (-90, 90), 'longitude': (-180, 180)}
    numbers = {
        name: number(cells[name], place, name, *limits) if cells.get(name) else math.nan
        for name, limits in bounds.items()
    }
    return {
        'station': station,
        'folder': folder,
        'region': cells.get('region', ''),
        'active_seconds': _active_seconds(cells, place),
        'row': place,
        **numbers,
    }


def _active_seconds(cells: dict[str, str], place: str) -> float:
    if text := cells.get('active_seconds'):
        return number(text, place, 'active_seconds', 0)
    start, end = (_moment(cells.get(name, ''), place, name) for name in ('start', 'end'))
    if start is None and end is None:
        return math.nan
    if start is None or end is None:
        raise ValueError(f'{place}: only one of start and end is given; give both, or active_seconds')
    if (start.tzinfo is None) != (end.tzinfo is None):
        raise ValueError(f'{place}: only one of start and end has a time zone; give it for both, or for neither')
    if end <= start:
        raise ValueError(f'{place}: the end {end.isoformat()} is not after the start; correct them')
    return (end - start).total_seconds()


def _moment(text: str, place: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'{place}: {name} {text!r} is not an ISO 8601 time; write for example 2024-03-01T08:00:00+02:00'
        ) from None


def stations_of(video_ids, deployments: pd.DataFrame | None = None) -> pd.Series:
    """Returns the station of each clip, aligned with video_ids (an array, or a Series, whose index is kept).

    Without deployments the station is the tidied folder part of the video_id, '' if it has none. With deployments it is
    the station whose folder contains the clip. A deployment without a folder stands for any folder with the name of the
    station, at any depth. Raises ValueError with the clips that lie in the folder of no station or of two.
    """
    video_ids = video_ids if isinstance(video_ids, pd.Series) else pd.Series(np.asarray(video_ids, object))
    folders = {video_id: _tidy_folder(posixpath.dirname(video_id)) for video_id in video_ids.unique()}
    if deployments is None:
        return video_ids.map(folders).astype(object)
    folder_of = list(zip(deployments['station'], deployments['folder'], strict=True))
    fitting = {folder: _fitting(folder, folder_of) for folder in set(folders.values())}
    homeless = [video_id for video_id, folder in folders.items() if not fitting[folder]]
    if homeless:
        raise ValueError(
            f'{named(homeless)}: in no folder of the deployments table; add the station, or write the path below the '
            'clips folder into its column folder'
        )
    for video_id, folder in folders.items():
        if len(fitting[folder]) > 1:
            raise ValueError(
                f'{video_id} lies in the folders of {len(fitting[folder])} stations ({named(fitting[folder])}); '
                'give each station its own folder in the column folder'
            )
    return video_ids.map({video_id: fitting[folder][0] for video_id, folder in folders.items()}).astype(object)


def _tidy_folder(folder: str) -> str:
    """Returns a folder whose names are tidy, so that `ridge ` and `ridge`, or `ê` in two forms, are one station."""
    return '/'.join(map(tidy, folder.split('/')))


def _fitting(folder: str, folder_of: list[tuple[str, str]]) -> list[str]:
    inside = f'/{folder}/'
    return [
        station
        for station, below in folder_of
        if (below == '.' or inside.startswith(f'/{below}/') if below else f'/{station.strip("/")}/' in inside)
    ]
