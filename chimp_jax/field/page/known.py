"""Frames of known distance, to compare a doubtful second with: corrections, and the table of --calibrate."""

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field.calibration.known_points import read_known_points
from chimp_jax.field.page.choice import Key, Second
from chimp_jax.field.page.data import Estimates
from data_prep.archive import Names


def station_of(estimates: Estimates) -> dict[str, str]:
    """Returns the station of each clip: its site in clips.csv, else its folder; '' for a clip in no folder."""
    site = dict(zip(estimates.clips['video_id'], estimates.clips['site'], strict=True))
    names = {*site, *estimates.overview.names}
    return {name: site.get(name) or str(PurePosixPath(name).parent).removeprefix('.') for name in names}


def known_distances(estimates: Estimates) -> tuple[dict[Key, float], str]:
    """Returns the distances in metres that a person measured, typed or corrected, and a note.

    The animal of a measured distance is '': it is about its second. The table of --calibrate may be gone: the page can
    be made without it. Then its seconds in distances.csv serve, which are those that are no animals, and the note has
    the reason. It is '' otherwise.
    """
    measured, note = dict(estimates.measured), ''
    if table := estimates.options.get('calibrate'):
        try:
            rows = read_known_points(table, Names(estimates.clips['video_id'])).by_second()
            measured |= {(row.video_id, row.time): float(row.distance) for row in rows.itertuples()}
        except (ValueError, OSError) as error:
            gone = f'there is no file {table}; run chimp-distance report in the folder in which estimate ran'
            note = ' '.join(str(error).split()) if epath.Path(table).exists() else gone
    known = {(*second, ''): metres for second, metres in measured.items()}
    return known | {key: float(text.replace(',', '.')) for key, text in estimates.corrections.items()}, note


def nearest_known(
    cards: Iterable[Second], estimates: Estimates, known: Mapping[Key, float]
) -> dict[Second, tuple[Key, float]]:
    """Returns for a card the row of its station whose known distance is nearest to an estimate of the card.

    known: of known_distances. Returns the key of the row and its known distance. A card without such a row, or of
    which a distance is known, is left out.
    """
    station = station_of(estimates)
    by_station: dict[str, list[Key]] = {}
    for key in sorted(known):
        by_station.setdefault(station.get(key[0], ''), []).append(key)
    estimates_m: dict[Second, list[float]] = {}
    there = estimates.rows[estimates.rows['distance'].notna()]
    for video_id, time, _, distance_m in there[[*KEY, 'distance']].itertuples(index=False, name=None):
        estimates_m.setdefault((video_id, time), []).append(distance_m)
    seconds = {key[:2] for key in known}
    found = {}
    for card in cards:
        candidates = by_station.get(station[card[0]], []) if station[card[0]] and card not in seconds else []
        if candidates:
            best = min(candidates, key=lambda key: min(abs(known[key] - metres) for metres in estimates_m[card]))
            found[card] = (best, known[best])
    return found
