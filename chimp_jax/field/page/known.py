"""Frames of known distance, to compare a doubtful second with: corrections, and the table of --calibrate."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from etils import epath

from chimp_jax.field.calibration.known_points import read_known_points
from chimp_jax.field.page.choice import Key
from chimp_jax.field.page.data import Estimates
from data_prep.archive import Names


def station_of(estimates: Estimates) -> dict[str, str]:
    """Returns the station of each clip: its site in clips.csv, else its folder; '' for a clip in no folder."""
    site = dict(zip(estimates.clips['video_id'], estimates.clips['site'], strict=True))
    names = {*site, *estimates.rows['video_id']}
    return {name: site.get(name) or str(PurePosixPath(name).parent).removeprefix('.') for name in names}


def known_distances(estimates: Estimates) -> tuple[dict[Key, float], str]:
    """Returns the distances in metres that a person measured, typed or corrected, and a note.

    The table of --calibrate may be gone: the page can be made without it. Then its seconds in distances.csv serve,
    which are those that are no animals, and the note has the reason. It is '' otherwise.
    """
    known, note = dict(estimates.measured), ''
    if table := estimates.options.get('calibrate'):
        try:
            rows = read_known_points(table, Names(estimates.clips['video_id'])).by_second()
            known |= {(row.video_id, row.time): float(row.distance) for row in rows.itertuples()}
        except (ValueError, OSError) as error:
            gone = f'there is no file {table}; run chimp-distance report in the folder in which estimate ran'
            note = ' '.join(str(error).split()) if epath.Path(table).exists() else gone
    return known | {key: float(text.replace(',', '.')) for key, text in estimates.corrections.items()}, note


def nearest_known(
    cards: Iterable[Key], estimates: Estimates, known: Mapping[Key, float]
) -> dict[Key, tuple[Key, float]]:
    """Returns for a card the second of its station whose known distance is nearest to the estimate, and that distance.

    known: of known_distances. A card without such a second, or whose own distance is known, is left out.
    """
    station = station_of(estimates)
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
