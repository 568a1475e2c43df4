"""The rows that distances become in the observations.csv of a Camtrap DP package."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version

import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.exports.camtrap.owner import Said, time_of
from chimp_jax.field.exports.rows import short_number
from chimp_jax.field.status import CORRECTED
from chimp_jax.stations.ground_plane import angle_deg

ID_PREFIX = 'chimp_jax-'  # of the observationIDs of this export
METHOD = 'distanceMethod'  # the tag that all of them have
_ESCAPED = {'%': '%25', '|': '%7C', ':': '%3A'}


def observations_of(
    rows: pd.DataFrame,
    media: Mapping[str, Mapping],
    said: Mapping[str, Said],
    file: str,
    field_of_view_deg: float | None,
    classified_at: str | None,
) -> list[dict[str, str]]:
    """Returns the observations of distances: {column of observations.csv: text}.

    rows: of rows.checked_rows, each with a distance and scientificName. media: {video_id: medium} of
    media_match.media_of_clips. said: {mediaID: the owner's classes and species}. file: the name of
    media.csv in messages.
    Raises ValueError with the row if a box is not inside the frame or a medium has no time.
    """
    added, seen = [], {}
    for row in rows.to_dict('records'):
        about = media[row['video_id']]
        owner = said[about['mediaID']]
        name = f'{ID_PREFIX}{about["mediaID"]}-{row["time"]}'
        seen[name] = seen.get(name, 0) + 1
        at = _later(about['timestamp'], row['time'], f'{file}:{about["line"]}')
        added.append(
            {
                'observationID': name if seen[name] == 1 else f'{name}-{seen[name]}',
                'deploymentID': about['deploymentID'],
                'mediaID': about['mediaID'],
                'eventID': owner.event_id,
                'eventStart': at,
                'eventEnd': at,
                'observationLevel': 'media',
                'observationType': 'animal',
                'scientificName': row['scientificName'],
                'individualPositionRadius': short_number(row['distance'], 3),
                **_box_cells(row, field_of_view_deg),
                **_method_cells(row),
                'classificationTimestamp': classified_at or '',
            }
        )
    return added


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
        cells['individualPositionAngle'] = short_number(float(angle_deg(min(x + width / 2, 1), field_of_view_deg)), 2)
    return cells


def _method_cells(row: dict) -> dict[str, str]:
    corrected = row['status'] == CORRECTED
    tags = {
        'distanceLower': short_number(float(row['distance_lower']), 3),
        'distanceUpper': short_number(float(row['distance_upper']), 3),
        METHOD: 'person' if corrected else 'chimp_jax',
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


def moment(text: str, place: str) -> datetime:
    """Returns a time. Raises ValueError that begins with `place` if the text is another one."""
    try:
        return time_of(text)
    except ValueError:
        raise ValueError(
            f'{place}: {text!r} is not a time with a time zone; write it as 2024-03-01T08:00:00+02:00'
        ) from None


def _later(timestamp: str, seconds: int, place: str) -> str:
    at = moment(timestamp, place) + timedelta(seconds=int(seconds))
    return at.isoformat().replace('+00:00', 'Z') if timestamp.endswith('Z') else at.isoformat()
