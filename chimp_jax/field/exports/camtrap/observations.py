"""The rows that distances become in the observations.csv of a Camtrap DP package."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.exports.camtrap.owner import Said, time_of
from chimp_jax.field.exports.rows import place_of, short_number
from chimp_jax.field.status import CORRECTED

ID_PREFIX = 'chimp_jax-'  # of the observationIDs of this export
METHOD = 'distanceMethod'  # the tag that all of them have
_ESCAPED = {'%': '%25', '|': '%7C', ':': '%3A'}


class Followed(NamedTuple):
    """The speed of a track and its interval in m/s, half of the interval of its angles in degrees; NaN if unknown."""

    speed_m_s: float
    lower_m_s: float = math.nan
    upper_m_s: float = math.nan
    half_angle_deg: float = math.nan


_NOT_FOLLOWED = Followed(math.nan)


class Context(NamedTuple):
    """What is the same for all new observations of a run.

    media: {video_id: medium} of media_match.media_of_clips. said: {mediaID: the owner's classes and species}. file: the
    name of media.csv in messages. tracks: {(video_id, animal): its speed}. classified_at: ISO 8601, '' if unknown.
    track_events: whether each track gets an observation of its own. coverage: of all intervals; None if unknown.
    """

    media: Mapping[str, Mapping]
    said: Mapping[str, Said]
    file: str
    tracks: Mapping[tuple[str, str], Followed]
    classified_at: str
    track_events: bool
    coverage: float | None = None


def observations_of(rows: pd.DataFrame, context: Context) -> list[dict[str, str]]:
    """Returns the media-based observations of distances: {column of observations.csv: text}.

    rows: of rows.checked_rows, each with a distance and scientificName. A row that names no animal has no individualID
    and no count. Raises ValueError with the row if a box is not inside the frame or a medium has no time.
    """
    added = []
    for row in rows.to_dict('records'):
        about = context.media[row['video_id']]
        at = _later(about, row['time'], context.file)
        end = f'/{_part(row["animal"])}' if row['animal'] else ''
        ids = {
            'observationID': f'{ID_PREFIX}{_part(about["mediaID"])}-{row["time"]}{end}',
            'mediaID': about['mediaID'],
            'eventStart': at,
            'eventEnd': at,
            'observationLevel': 'media',
        }
        added.append(ids | _box_cells(row) | _shared_cells(row, about, context))
    return added


def events_of(rows: pd.DataFrame, context: Context) -> list[dict[str, str]]:
    """Returns an event-based observation for each track, from its first to its last second.

    rows: of rows.checked_rows with scientificName; those without a distance too. A track without any distance has none.
    Radius and angle are of the first second with a distance, which random encounter models need (Rowcliffe et al. 2011,
    https://doi.org/10.1111/j.2041-210X.2011.00094.x). The R package camtraptor takes them in the same way from the
    media-based observations of an eventID and an individualID (https://github.com/inbo/camtraptor/pull/294).
    """
    added = []
    named = rows[rows['animal'] != '']
    for (video_id, animal), track in named.groupby(['video_id', 'animal'], sort=True):
        located = track[track['distance'].notna()]
        if located.empty:
            continue
        first, about = located.iloc[0].to_dict(), context.media[video_id]
        species = set(located['scientificName'])
        first['scientificName'] = species.pop() if len(species) == 1 else ''
        start, end = (_later(about, second, context.file) for second in (track['time'].min(), track['time'].max()))
        ids = {
            'observationID': f'{_individual(about, animal)}/event',
            'eventStart': start,
            'eventEnd': end,
            'observationLevel': 'event',
        }
        added.append(ids | _shared_cells(first, about, context))
    return added


def count_events(rows: pd.DataFrame, context: Context) -> dict[str, int]:
    """Returns the counts of events_of that a user should know. rows: as of events_of."""
    tracks = [track for _, track in rows[rows['animal'] != ''].groupby(['video_id', 'animal'])]
    tracks = [track for track in tracks if track['distance'].notna().any()]
    media = [context.media[track['video_id'].iloc[0]]['mediaID'] for track in tracks]
    return {
        'events added': len(tracks),
        'events without a first distance': sum(math.isnan(track['distance'].iloc[0]) for track in tracks),
        'events beside yours': sum(context.said[medium].animal_events > 0 for medium in media),
    }


def _shared_cells(row: Mapping, about: Mapping, context: Context) -> dict[str, str]:
    """Returns the cells that the observations of a second and of a track have alike. about: the medium."""
    owner, animal = context.said[about['mediaID']], row['animal']
    track = context.tracks.get((row['video_id'], animal), _NOT_FOLLOWED)
    cells = {
        'deploymentID': about['deploymentID'],
        'eventID': owner.event_id,
        'observationType': 'animal',
        'scientificName': row['scientificName'],
        'individualPositionRadius': short_number(row['distance'], 3),
        'individualPositionAngle': short_number(float(row.get('angle', math.nan)), 2),
        **_method_cells(row, track, context.coverage),
        'classificationTimestamp': context.classified_at,
    }
    if animal:
        # An individualID links the positions of one animal (https://github.com/tdwg/camtrap-dp/issues/210).
        individual = _individual(about, animal)
        cells |= {'count': '1', 'individualID': individual, 'individualSpeed': short_number(track.speed_m_s, 3)}
        if context.track_events:
            cells['eventID'] = owner.event_id or individual
    return cells


def _individual(about: Mapping, animal: str) -> str:
    """Returns an individualID that the package has once: a name of an animal is known in its clip alone."""
    return f'{ID_PREFIX}{_part(about["mediaID"])}/{_part(animal)}'


def _part(name: str) -> str:
    """Returns a name without the mark that separates the parts of an ID, so that no two IDs are equal."""
    return name.replace('%', '%25').replace('/', '%2F')


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


def _box_cells(row: Mapping) -> dict[str, str]:
    x, y, width, height = (float(row[name]) for name in BOX)
    if all(math.isnan(value) for value in (x, y, width, height)):
        return {}
    inside = 0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1
    if not inside:
        raise ValueError(
            f'{place_of(row)}: the box {x:g}, {y:g}, {width:g}, {height:g} is not inside the frame; give fractions of '
            'width and height from 0 to 1, or empty all four cells'
        )
    box = (short_number(value, 6) for value in (x, y, width, height))
    return dict(zip(('bboxX', 'bboxY', 'bboxWidth', 'bboxHeight'), box, strict=True))


def _method_cells(row: Mapping, track: Followed, coverage: float | None) -> dict[str, str]:
    corrected, angle_deg = row['status'] == CORRECTED, float(row.get('angle', math.nan))
    intervals = {
        'distanceLower': short_number(float(row['distance_lower']), 3),
        'distanceUpper': short_number(float(row['distance_upper']), 3),
        'speedLower': short_number(track.lower_m_s, 3),
        'speedUpper': short_number(track.upper_m_s, 3),
        'angleLower': short_number(angle_deg - track.half_angle_deg, 2),
        'angleUpper': short_number(angle_deg + track.half_angle_deg, 2),
    }
    tags = intervals | {
        'intervalCoverage': short_number(coverage, 4) if coverage and any(intervals.values()) else '',
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


def _later(about: Mapping, seconds: int, file: str) -> str:
    """Returns the time of a second of a medium, with the time zone of the medium."""
    timestamp = about['timestamp']
    at = moment(timestamp, f'{file}:{about["line"]}') + timedelta(seconds=int(seconds))
    return at.isoformat().replace('+00:00', 'Z') if timestamp.endswith('Z') else at.isoformat()
