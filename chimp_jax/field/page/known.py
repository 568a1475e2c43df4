"""Frames of known distance, to compare a doubtful second with: corrections, and the table of --calibrate."""

from collections.abc import Iterable
from pathlib import PurePosixPath

import pandas as pd

from chimp_jax.field.label_tables import read_label_table
from chimp_jax.field.page.choice import Key
from chimp_jax.field.page.data import Estimates
from data_prep.archive import Names


def station_of(estimates: Estimates) -> dict[str, str]:
    """Returns the station of each clip: its site in clips.csv, else its folder; '' for a clip in no folder."""
    site = dict(zip(estimates.clips['video_id'], estimates.clips['site'], strict=True))
    names = {*site, *estimates.rows['video_id']}
    return {name: site.get(name) or str(PurePosixPath(name).parent).removeprefix('.') for name in names}


def known_distances(estimates: Estimates) -> dict[Key, float]:
    """Returns the distances in metres that a person measured, typed or corrected.

    A table of --calibrate that cannot be read any more gives none: the page can be made without it.
    """
    known = {}
    if table := estimates.options.get('calibrate'):
        try:
            rows = read_label_table(table, Names(estimates.clips['video_id']))
        except (ValueError, OSError):
            rows = pd.DataFrame()
        known = {(row.video_id, row.time): float(row.distance) for row in rows.itertuples()}
    return known | {key: float(text.replace(',', '.')) for key, text in estimates.corrections.items()}


def nearest_known(cards: Iterable[Key], estimates: Estimates) -> dict[Key, tuple[Key, float]]:
    """Returns for a card the second of its station whose known distance is nearest to the estimate, and that distance.

    A card without such a second, or whose own distance is known, is left out.
    """
    station, known = station_of(estimates), known_distances(estimates)
    by_station: dict[str, list[Key]] = {}
    for key in sorted(known):
        by_station.setdefault(station.get(key[0], ''), []).append(key)
    distance_m = dict(
        zip(
            zip(estimates.rows['video_id'], estimates.rows['time'], strict=True),
            estimates.rows['distance'],
            strict=True,
        )
    )
    found = {}
    for card in cards:
        candidates = by_station.get(station[card[0]], []) if station[card[0]] and card not in known else []
        if candidates:
            best = min(candidates, key=lambda key: abs(known[key] - distance_m[card]))
            found[card] = (best, known[best])
    return found
