"""Adds distances to a copy of the user's Camera Trap Data Package (Camtrap DP 1.0, Bubnicki et al. 2024).

The copy has one more observation for each distance. The user's deployments, media, metadata and observations do not
change. Values for which the standard has no field are in observationTags.
"""

import math
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.exports.camtrap_package import Package, check_package, read_package, schema_names
from chimp_jax.field.exports.media_match import media_of_clips
from chimp_jax.field.exports.rows import checked_rows, short_number
from chimp_jax.field.status import CORRECTED, OK
from data_prep.files import write_whole
from data_prep.inputs.tables import csv_text

ID_PREFIX = 'chimp_jax-'  # of the observationIDs of this export
_METHOD = 'distanceMethod'
_COLUMNS = ('distance_lower', 'distance_upper', 'flags', 'status', *BOX)
_ESCAPED = {'%': '%25', '|': '%7C', ':': '%3A'}


def merge_camtrap_dp(
    rows: pd.DataFrame,
    package_dir,
    out_dir,
    field_of_view_deg: float | None = None,
    classified_at: str | None = None,
) -> dict:
    """Writes a copy of the package into out_dir, with one more row in observations.csv for each distance.

    rows: distances.csv. package_dir: the folder of the user's datapackage.json; None raises an error with the remedy.
    field_of_view_deg: the camera's horizontal field of view; the angle is written if a row also has a box.
    classified_at: the time of the estimate, ISO 8601 with time zone; None leaves classificationTimestamp empty.
    The same input gives the same bytes. Rows of an earlier run are replaced; all other rows are kept.
    Returns the counts of rows added, kept, replaced and left out, and the clips that are not in the package.
    Raises ValueError with file, row and remedy, before anything is written.
    """
    package, text, counts = _merge(rows, package_dir, out_dir, field_of_view_deg, classified_at)
    _copy(package, epath.Path(out_dir), text)
    return counts


def check_merge(video_ids, package_dir, out_dir, field_of_view_deg: float | None = None) -> None:
    """Raises the ValueErrors of merge_camtrap_dp that do not depend on the distances. Writes nothing.

    video_ids: of the clips that may get distances.
    """
    names = list(video_ids)
    rows = pd.DataFrame({'video_id': names, 'time': 0, 'distance': 1.0, 'flags': '', 'status': OK})
    rows[['distance_lower', 'distance_upper', *BOX]] = math.nan
    _merge(rows, package_dir, out_dir, field_of_view_deg, None)


def _merge(rows, package_dir, out_dir, field_of_view_deg, classified_at) -> tuple[Package, str, dict]:
    """Returns the package, its new observations.csv, checked, and the counts of merge_camtrap_dp."""
    if package_dir is None:
        raise ValueError(
            'the format camtrap-dp needs your own package, with its media and deployments; '
            'give the folder of its datapackage.json'
        )
    if field_of_view_deg is not None and not 0 < field_of_view_deg < 180:
        raise ValueError(f'a field of view of {field_of_view_deg} degrees is impossible; give one between 0 and 180')
    if classified_at is not None:
        _moment(classified_at, 'classified_at')
    rows = checked_rows(rows, _COLUMNS)
    package = read_package(package_dir)
    _check_out_dir(package.folder, epath.Path(out_dir))
    with_distance = rows[rows['distance'].notna()]
    media, unknown = media_of_clips(with_distance['video_id'].unique(), package.media, package.file('media'))
    added = _observations(with_distance, media, package, field_of_view_deg, classified_at)
    header, lines, counts = _merged(package, added)
    text = csv_text(header, lines)
    check_package(package, text)
    left_out = {
        'no distance': int(rows['distance'].isna().sum()),
        'clip not in media.csv': int(with_distance['video_id'].isin(unknown).sum()),
    }
    about = {'left out': {reason: n for reason, n in left_out.items() if n}, 'clips not in media.csv': unknown}
    return package, text, {**counts, **about}


def position_angle(center_x: float, field_of_view_deg: float) -> float:
    """Returns the angle in degrees, left negative, between the middle of the frame and center_x (0..1 of the width).

    Pinhole model: the frame is flat, and half its width is tan(field of view / 2) at distance 1. The model ignores
    the distortion of wide-angle lenses.
    """
    half_width = math.tan(math.radians(field_of_view_deg) / 2)
    return math.degrees(math.atan((center_x - 0.5) * 2 * half_width))


def tags_text(tags: dict[str, str]) -> str:
    """Returns 'k:v | k:v' without empty values; '%', '|' and ':' in a value are percent-encoded."""
    return ' | '.join(f'{key}:{_escaped(value)}' for key, value in tags.items() if value)


def tags_of(text: str) -> dict[str, str]:
    """Returns the tags of the form k:v in an observationTags cell: the inverse of tags_text."""
    pairs = (tag.strip().partition(':') for tag in text.split('|'))
    return {key: _unescaped(value) for key, colon, value in pairs if colon}


def _escaped(value: str) -> str:
    return ''.join(_ESCAPED.get(letter, letter) for letter in value)


def _unescaped(value: str) -> str:
    for letter, code in reversed(_ESCAPED.items()):  # '%' last
        value = value.replace(code, letter)
    return value


def _observations(rows, media: dict[str, dict], package: Package, field_of_view_deg, classified_at) -> list[dict]:
    added, seen = [], {}
    for row in rows.to_dict('records'):
        about = media.get(row['video_id'])
        if about is None:
            continue
        name = f'{ID_PREFIX}{about["mediaID"]}-{row["time"]}'
        seen[name] = seen.get(name, 0) + 1
        at = _later(about['timestamp'], row['time'], f'{package.file("media")}:{about["line"]}')
        added.append(
            {
                'observationID': name if seen[name] == 1 else f'{name}-{seen[name]}',
                'deploymentID': about['deploymentID'],
                'mediaID': about['mediaID'],
                'eventStart': at,
                'eventEnd': at,
                'observationLevel': 'media',
                'observationType': 'animal',
                'scientificName': row.get('scientificName', ''),
                'individualPositionRadius': short_number(row['distance'], 3),
                **_box_cells(row, field_of_view_deg),
                **_method_cells(row),
                'classificationTimestamp': classified_at or '',
            }
        )
    return added


def _box_cells(row: dict, field_of_view_deg: float | None) -> dict[str, str]:
    x, y, width, height = (float(row[name]) for name in BOX)
    if all(math.isnan(value) for value in (x, y, width, height)):
        return {}
    inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1
    if not inside:
        raise ValueError(
            f'distances.csv, {row["video_id"]} at {row["time"]} s: the box {x:g}, {y:g}, {width:g}, {height:g} is not '
            'inside the frame; give fractions of width and height from 0 to 1, or empty all four cells'
        )
    box = (short_number(value, 6) for value in (x, y, width, height))
    cells = dict(zip(('bboxX', 'bboxY', 'bboxWidth', 'bboxHeight'), box, strict=True))
    if field_of_view_deg is not None:
        cells['individualPositionAngle'] = short_number(position_angle(min(x + width / 2, 1), field_of_view_deg), 2)
    return cells


def _method_cells(row: dict) -> dict[str, str]:
    corrected = row['status'] == CORRECTED
    tags = {
        'distanceLower': short_number(float(row['distance_lower']), 3),
        'distanceUpper': short_number(float(row['distance_upper']), 3),
        _METHOD: 'person' if corrected else 'chimp_jax',
        'distanceFlags': '' if pd.isna(row['flags']) else str(row['flags']),
    }
    return {
        'classificationMethod': 'human' if corrected else 'machine',
        'classifiedBy': 'corrections.csv of chimp_jax' if corrected else f'chimp_jax {_version()}',
        'observationTags': tags_text(tags),
    }


def _version() -> str:
    try:
        return version('chimp_jax')
    except PackageNotFoundError:  # run from a checkout
        return 'unreleased'


def _moment(text: str, place: str) -> datetime:
    try:
        return datetime.strptime(text, '%Y-%m-%dT%H:%M:%S%z')
    except ValueError:
        raise ValueError(
            f'{place}: {text!r} is not a time with a time zone; write it as 2024-03-01T08:00:00+02:00'
        ) from None


def _later(timestamp: str, seconds: int, place: str) -> str:
    at = _moment(timestamp, place) + timedelta(seconds=int(seconds))
    return at.isoformat().replace('+00:00', 'Z') if timestamp.endswith('Z') else at.isoformat()


def _merged(package: Package, added: list[dict]) -> tuple[list[str], list[list[str]], dict]:
    """Returns the header, the user's rows and then the new rows, and their counts. Drops rows of an earlier run."""
    existing = package.observations
    header = _with_missing(list(existing.columns))
    tags = existing.get('observationTags', [''] * len(existing))
    earlier = [
        name.startswith(ID_PREFIX) and _METHOD in tags_of(text)
        for name, text in zip(existing['observationID'], tags, strict=True)
    ]
    kept = existing[~np.array(earlier, bool)]
    taken = set(kept['observationID'])
    clash = next((row['observationID'] for row in added if row['observationID'] in taken), None)
    if clash:
        line = kept.index[kept['observationID'] == clash][0]
        raise ValueError(
            f'{package.file("observations")}:{line}: the observationID {clash!r} begins like those of chimp_jax, '
            'but chimp_jax did not write the row; rename it'
        )
    lines = kept.reindex(columns=header, fill_value='').values.tolist()
    lines += [[row.get(name, '') for name in header] for row in added]
    return header, lines, {'observations added': len(added), 'kept': len(kept), 'replaced': sum(earlier)}


def _with_missing(names: list[str]) -> list[str]:
    """Returns the user's columns and the missing columns of the standard, each after its neighbour in the standard."""
    names, before = list(names), -1
    for name in schema_names('observations'):
        if name not in names:
            names.insert(before + 1, name)
        before = names.index(name)
    return names


def _check_out_dir(package_dir: epath.Path, out_dir: epath.Path) -> None:
    inside, here = (path.resolve() for path in (package_dir, out_dir))
    if here == inside or inside in here.parents or here in inside.parents:
        raise ValueError(f'{out_dir} overlaps your package {package_dir}; choose another output folder')


def _copy(package: Package, out_dir: epath.Path, observations: str) -> None:
    for name in package.files:
        if name != package.paths['observations']:
            write_whole(out_dir / name, (package.folder / name).read_bytes())
    write_whole(out_dir / package.paths['observations'], observations)
