"""The data of the page's scripts: the rows of each clip."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from chimp_jax.field.page.data import Estimates
from chimp_jax.field.page.known import station_of
from chimp_jax.field.pictures.palette import track_styles
from chimp_jax.field.status import CORRECTED


def clip_series(estimates: Estimates) -> list[dict]:
    """Returns the data of charts.js and cards.js: one dict per clip with rows. Numbers have 2 decimals;
    empty columns are left out.

    Keys are short because the page repeats them for each clip: n name, g group (site, else folder), d duration in s,
    a names of its tracks, y their styles (colour, stroke); per row t second, k place of its animal in a (-1: none),
    v distance, lo and hi interval, s spread (all metres), f flags, c 1 if a person corrected it.
    """
    length_s, station = estimates.clips.set_index('video_id')['duration_s'], station_of(estimates)
    series = []
    rows = estimates.rows
    columns = {
        't': rows['time'].tolist(),
        'v': _rounded(rows['distance']),
        'lo': _rounded(rows['distance_lower']),
        'hi': _rounded(rows['distance_upper']),
        's': _rounded(rows['spread']),
        'f': rows['flags'].tolist(),
        'c': (rows['status'] == CORRECTED).astype(int).tolist(),
    }
    start, animals = 0, rows['animal'].tolist()
    for video_id, seconds in itertools.groupby(rows['video_id'].tolist()):  # the rows are sorted by clip
        place = slice(start, start + sum(1 for _ in seconds))
        start = place.stop
        duration_s = length_s.get(video_id, np.nan)
        clip = {
            'n': video_id,
            'g': station[video_id],
            'd': None if np.isnan(duration_s) else round(duration_s, 1),
            **{name: values[place] for name, values in columns.items()},
        }
        always = ('n', 'g', 't', 'v')
        full = {name for name, values in clip.items() if isinstance(values, list) and set(values) - {None, ''}}
        full -= set() if any(clip['c']) else {'c'}  # 0 is a value in the other columns: an interval may begin at 0 m
        kept = {k: v for k, v in clip.items() if k in always or k in full or (k == 'd' and v is not None)}
        series.append(kept | _track_series(animals[place]))
    return series


def _track_series(animals: Sequence[str]) -> dict[str, list]:
    """Returns a, y and k of clip_series for the animals of a clip's rows; nothing if none has a name."""
    styles = track_styles(animals)
    place = {name: k for k, name in enumerate(styles)}
    series = {'a': [*styles], 'y': [*map(list, styles.values())], 'k': [place.get(name, -1) for name in animals]}
    return series if styles else {}


def _rounded(values: pd.Series) -> list:
    return [None if np.isnan(v) else round(v, 2) for v in values.tolist()]
