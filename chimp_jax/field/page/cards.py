"""The cards of the page: for each clip its most doubtful second, its other seconds, its tracks, a known distance."""

import base64
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX, SECOND
from chimp_jax.field.page.choice import Choice, Key, Second
from chimp_jax.field.page.data import Estimates
from chimp_jax.field.page.labels import LETTER_WIDTH, Area, label_boxes, size_px
from chimp_jax.field.pictures.palette import TrackStyle, in_name_order, track_styles
from chimp_jax.field.status import CORRECTED

CARD_WIDTH = 300  # of the drawing over a picture, in its own units; about the pixels of a card
_LONGEST_NAME = 14  # letters of a track's name in a picture


def make_cards(
    estimates: Estimates,
    choice: Choice,
    known: dict[Second, tuple[Key, float]],
    frames: dict[Second, bytes | str],
) -> list[dict]:
    """Returns the values of page.html for each card of the choice.

    `animals` has the rows of a second; `others` has the seconds of the clip with a picture, by time; n_others counts
    all other seconds. `tracks` has the tracks of the clip. `known` is a frame of known distance, or None.
    """
    shown = {key[0] for key in choice.cards} | {key[0] for key, _ in known.values()}
    of_shown = estimates.rows[estimates.rows['video_id'].isin(shown)]
    rows = {key: list(part.itertuples(index=False)) for key, part in of_shown.groupby(SECOND)}
    clips = {name: part for name, part in of_shown.groupby('video_id')}
    styles = {name: track_styles(part['animal'].unique()) for name, part in clips.items()}
    others: dict[str, list[Second]] = {}
    for key in sorted(choice.others):
        others.setdefault(key[0], []).append(key)

    def second(key: Second) -> dict:
        return _second(rows[key], styles[key[0]], frames, estimates)

    return [
        second(key)
        | {
            'others': [second(other) for other in others.get(key[0], [])],
            'n_others': clips[key[0]]['time'].nunique() - 1,
            'tracks': tracks_of(clips[key[0]], estimates.tracks),
            'known': _known(*known[key], rows, styles, frames) if key in known else None,
        }
        for key in choice.cards
    ]


def tracks_of(rows: pd.DataFrame, table: pd.DataFrame | None) -> list[dict]:
    """Returns the tracks of a clip, by name: start, end, nearest distance and speed as texts, '' if unknown.

    rows: of the clip. table: tracks.csv, None without it; then start, end and nearest distance are those of the rows.
    """
    styles = track_styles(rows['animal'].unique())
    found = (
        rows[rows['animal'] != '']
        .groupby('animal')
        .agg(start=('time', 'min'), end=('time', 'max'), nearest=('distance', 'min'))
    )
    measured = {}
    if table is not None and len(rows):
        measured = {track.animal: track for track in table[table['video_id'] == rows['video_id'].iloc[0]].itertuples()}
    tracks = []
    for name in in_name_order(found.index):
        start_s, end_s, nearest_m = found.loc[name]
        track, speed, interval = measured.get(name), '', ''
        if track is not None:
            start_s, end_s, nearest_m = track.start_s, track.end_s, track.nearest_distance_m
            speed, interval = _speed(track.speed, track.speed_lower, track.speed_upper)
        tracks.append(
            {
                'animal': name,
                'style': styles[name],
                'start': f'{start_s:g}',
                'end': f'{end_s:g}',
                'nearest': format_metres(nearest_m),
                'speed': speed,
                'speed_interval': interval,
            }
        )
    return tracks


def format_metres(value: float, digits: int = 1) -> str:
    """Returns a distance as text, '' if it is missing."""
    if value is None or np.isnan(value):
        return ''
    return f'{value:.{digits}f}' if abs(value) < 10_000 else f'{value:.3g}'


def _speed(speed: float, lower: float, upper: float) -> tuple[str, str]:
    """Returns a speed and its interval in m/s as texts, '' if they are missing."""
    interval = '' if np.isnan([speed, lower, upper]).any() else f'{lower:.2f} to {upper:.2f}'
    return '' if np.isnan(speed) else f'{speed:.2f}', interval


def _second(
    rows: Sequence, styles: Mapping[str, TrackStyle], frames: dict[Second, bytes | str], estimates: Estimates
) -> dict:
    """Returns the values of a second. rows: its rows of distances.csv."""
    key = (rows[0].video_id, rows[0].time)
    by_name = {row.animal: row for row in rows}
    animals = [_animal(by_name[name], styles.get(name), estimates.corrections) for name in in_name_order(by_name)]
    return {
        'video_id': key[0],
        'time': key[1],
        'animals': animals,
        'corrected': all(animal['corrected'] for animal in animals),
        **_picture(key, animals, frames),
    }


def _animal(row, style: TrackStyle | None, corrections: Mapping[Key, str]) -> dict:
    box = [getattr(row, name) for name in BOX]
    interval = f'{format_metres(row.distance_lower)} to {format_metres(row.distance_upper)} m'
    corrected = row.status == CORRECTED
    return {
        'animal': row.animal,
        'style': style,
        'distance': format_metres(row.distance),
        'interval': '' if np.isnan(row.distance_lower) or np.isnan(row.distance_upper) else interval,
        'spread': '' if corrected else format_metres(row.spread),
        'flags': row.flags.split(),
        'corrected': corrected,
        'reason': row.status,
        'typed': corrections.get((row.video_id, row.time, row.animal), ''),
        'box': None if np.isnan(box).any() else box,
    }


def _known(
    key: Key, distance_m: float, rows: Mapping[Second, Sequence], styles: Mapping[str, Mapping[str, TrackStyle]], frames
) -> dict | None:
    """Returns the frame of known distance, None if it has no picture. The box of a named animal is in it."""
    meant = [row for row in rows.get(key[:2], ()) if key[2] and row.animal == key[2]]
    animals = [_animal(row, styles[key[0]].get(key[2]), {}) for row in meant]
    picture = _picture(key[:2], animals, frames)
    if not picture['image']:
        return None
    of_animal = f', animal {key[2]}' if key[2] else ''
    where = f'{key[0]}, second {key[1]}{of_animal}'
    return {'where': where, 'distance': format_metres(distance_m), 'animals': animals, **picture, 'labels': []}


def _picture(key: Second, animals: Sequence[dict], frames: dict[Second, bytes | str]) -> dict:
    """Returns the picture of a second, or the reason why it is missing, and the labels of the named animals over it."""
    frame = frames.get(key, '')
    if isinstance(frame, str):
        return {'image': '', 'reason': frame, 'width': CARD_WIDTH, 'height': CARD_WIDTH, 'labels': []}
    width_px, height_px = size_px(frame)
    height = CARD_WIDTH * height_px / width_px
    boxed = [animal for animal in animals if animal['animal'] and animal['box']]
    return {
        'image': base64.b64encode(frame).decode(),
        'reason': '',
        'width': CARD_WIDTH,
        'height': height,
        'labels': _labels(boxed, height),
    }


def _labels(animals: Sequence[dict], height: float) -> list[dict]:
    areas = [_area(*animal['box'], height) for animal in animals]
    placed = label_boxes(areas, [_texts(animal) for animal in animals], CARD_WIDTH, height)
    return [
        {
            'text': label[0],
            'length': LETTER_WIDTH * len(label[0]),
            'x': label[1][0],
            'y': label[1][3],
            'below': label[1][1] >= area[3],  # of its box
            'style': animal['style'],
        }
        for animal, area, label in zip(animals, areas, placed, strict=True)
        if label
    ]


def _texts(animal: dict) -> list[str]:
    """Returns the label of an animal: its name, with its distance, and with its interval."""
    name = animal['animal']
    name = name if len(name) <= _LONGEST_NAME else f'{name[: _LONGEST_NAME - 1]}…'
    with_distance = f'{name}: {animal["distance"]} m' if animal['distance'] else f'{name}: no distance'
    texts = [name, with_distance]
    return [*texts, f'{with_distance} ({animal["interval"].removesuffix(" m")})'] if animal['interval'] else texts


def _area(x: float, y: float, width: float, height: float, drawing_height: float) -> Area:
    return x * CARD_WIDTH, y * drawing_height, (x + width) * CARD_WIDTH, (y + height) * drawing_height
