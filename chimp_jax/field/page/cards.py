"""The cards of the page: for each clip its most doubtful second, its other seconds, and a frame of known distance."""

import base64

import numpy as np

from chimp_jax.ensemble.prediction_tables import BOX, SECOND
from chimp_jax.field.page.choice import Choice, Key
from chimp_jax.field.page.data import Estimates
from chimp_jax.field.status import CORRECTED


def make_cards(
    estimates: Estimates,
    choice: Choice,
    known: dict[Key, tuple[Key, float]],
    frames: dict[Key, bytes | str],
) -> list[dict]:
    """Returns the values of page.html for each card of the choice.

    `others` has the seconds of the clip with a picture, by time; n_others counts all other seconds. `known` is a frame
    of known distance, or None.
    """
    rows = dict(
        zip(
            estimates.rows[list(SECOND)].itertuples(index=False, name=None),
            estimates.rows.itertuples(index=False),
            strict=True,
        )
    )
    n_seconds = estimates.rows['video_id'].value_counts()
    others: dict[str, list[Key]] = {}
    for key in sorted(choice.others):
        others.setdefault(key[0], []).append(key)
    return [
        _second(rows[key], frames, estimates)
        | {
            'others': [_second(rows[other], frames, estimates) for other in others.get(key[0], [])],
            'n_others': int(n_seconds[key[0]]) - 1,
            'known': _known(*known[key], frames) if key in known else None,
        }
        for key in choice.cards
    ]


def format_metres(value: float, digits: int = 1) -> str:
    """Returns a distance as text, '' if it is missing."""
    if value is None or np.isnan(value):
        return ''
    return f'{value:.{digits}f}' if abs(value) < 10_000 else f'{value:.3g}'


def _second(row, frames: dict[Key, bytes | str], estimates: Estimates) -> dict:
    key = (row.video_id, row.time)
    box = [getattr(row, name) for name in BOX]
    interval = f'{format_metres(row.distance_lower)} to {format_metres(row.distance_upper)} m'
    corrected = row.status == CORRECTED
    return {
        'video_id': row.video_id,
        'time': row.time,
        'distance': format_metres(row.distance),
        'interval': '' if np.isnan(row.distance_lower) or np.isnan(row.distance_upper) else interval,
        'spread': '' if corrected else format_metres(row.spread),
        'flags': row.flags.split(),
        'corrected': corrected,
        'typed': estimates.corrections.get(key, ''),
        'box': '' if np.isnan(box).any() else _box_style(*box),
        **_picture(key, frames),
    }


def _known(key: Key, distance_m: float, frames: dict[Key, bytes | str]) -> dict | None:
    """Returns the frame of known distance, None if it has no picture."""
    picture = _picture(key, frames)
    if not picture['image']:
        return None
    return {'video_id': key[0], 'time': key[1], 'distance': format_metres(distance_m), 'box': '', **picture}


def _picture(key: Key, frames: dict[Key, bytes | str]) -> dict:
    frame = frames.get(key, '')
    return {
        'image': base64.b64encode(frame).decode() if isinstance(frame, bytes) else '',
        'reason': frame if isinstance(frame, str) else '',
    }


def _box_style(x: float, y: float, width: float, height: float) -> str:
    return f'left:{x:.2%};top:{y:.2%};width:{width:.2%};height:{height:.2%}'
