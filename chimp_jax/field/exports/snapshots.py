"""The snapshot moments of a survey: with an animal, empty, or not looked at. And the effort that they are worth.

A moment that nobody looked at is neither an animal nor effort. The camera's active moments outside of clips are empty,
because no animal triggered the camera. Photos have no moments: between two photos nobody knows what was in view, so
their number is not in proportion to the time that animals spend in view.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_prep.archive import is_photo
from data_prep.inputs.clip_looks import last_frame_s
from data_prep.inputs.headers import Header
from data_prep.inputs.looked_at import ANIMAL, EMPTY, NOT_LOOKED, LookedAt, snapshot_moments
from data_prep.plan import Plan

COLUMNS = ('video_id', 'station', 'moment', 'state', 'time', 'frame_s', 'n_animals')


class Snapshots(NamedTuple):
    """The snapshot moments of all clips.

    moments: COLUMNS, a row for each moment 0, t, 2t, ... of each readable clip. moment: seconds. state: ANIMAL, EMPTY
    or NOT_LOOKED. time: the second whose rows of distances.csv belong to the moment. frame_s: the time of the frame
    that stands for the moment. n_animals: in this frame. unreadable: {video_id: station} of the clips whose number of
    moments is unknown.
    """

    moments: pd.DataFrame
    unreadable: dict[str, str]

    def seen(self) -> pd.DataFrame:
        return self.moments[self.moments['state'] == ANIMAL]

    def unlooked(self) -> pd.DataFrame:
        return self.moments[self.moments['state'] == NOT_LOOKED]

    def share_looked_at(self) -> pd.Series:
        """Returns the share of the moments in a station's clips that somebody looked at, indexed by station."""
        return (self.moments['state'] != NOT_LOOKED).groupby(self.moments['station']).mean()

    def counts(self) -> dict[str, int]:
        """Returns the counts for summary.json."""
        state = self.moments['state']
        return {
            'with an animal': int((state == ANIMAL).sum()),
            'empty': int((state == EMPTY).sum()),
            'not looked at': int((state == NOT_LOOKED).sum()),
            'clips not looked at': int(self.unlooked()['video_id'].nunique()),
            'clips with unknown length': len(self.unreadable),
        }


def find_snapshots(
    looked_at: Mapping[str, LookedAt],
    end_s: Mapping[str, float],
    targets: Collection[tuple[str, int]] | None,
    site: pd.Series,
    interval_s: int,
) -> Snapshots:
    """Returns the snapshot moments of the clips in `site`, the station of each clip, indexed by video_id.

    looked_at: without the clips that nobody looked at. end_s: the time of the last frame of each clip that can be read;
    infinite if the length is unknown. targets: (video_id, second) of the rows of distances.csv; None if every
    second has a row. interval_s: seconds between the moments.
    """
    parts, unreadable = [pd.DataFrame(columns=list(COLUMNS))], {}
    for video_id, station in site.items():
        if not math.isfinite(end_s.get(video_id, math.inf)):
            unreadable[video_id] = station
            continue
        moments = snapshot_moments(looked_at.get(video_id), end_s[video_id], interval_s)
        own = [targets is None or (video_id, int(moment)) in targets for moment in moments.times_s]
        parts.append(
            pd.DataFrame(
                {
                    'video_id': video_id,
                    'station': station,
                    'moment': moments.times_s,
                    'state': moments.states,
                    'time': np.where(own, moments.times_s, moments.seconds),
                    'frame_s': moments.frames_s,
                    'n_animals': moments.n_animals,
                }
            )
        )
    moments = pd.concat(parts[1:] or parts, ignore_index=True)
    return Snapshots(moments.astype({'moment': int, 'time': int, 'frame_s': float, 'n_animals': int}), unreadable)


def plan_snapshots(
    plan: Plan,
    site: pd.Series,
    interval_s: int,
    detections: str | None = None,
    targets: str | None = None,
    partial_effort: bool = False,
) -> Snapshots:
    """Returns the snapshot moments of a plan, made with Watch.frames. Photos have none.

    site: the station of each clip in the folder, indexed by video_id. interval_s: seconds between the moments.
    detections, targets: the files that tell where somebody looked; without them every second has an animal.
    Raises ValueError with the remedy if a moment was not looked at, unless partial_effort is given and the moments
    that were looked at are a fair sample.
    """
    if plan.looks_fault:
        raise ValueError(
            f'{plan.looks_fault}, so a moment without an animal may be empty or not looked at; write the file with '
            f"MegaDetector's process_video --time_sample {interval_s}, or, if the detector looked every S seconds and "
            'the file holds all its detections, add --detector_every S'
        )
    if targets and partial_effort and not any(table.empty for table in plan.targets.values()):
        raise ValueError(
            f'{targets}: --partial_effort needs rows without an animal (no in the column animal), because a table of '
            'animals alone is no fair sample of the moments; add them, or add --other_moments_are_empty if a person '
            'watched all clips'
        )
    last_s = {name: last_frame_s(header) for name, header in plan.headers.items() if isinstance(header, Header)}
    rows = pd.concat([table.rows for table in plan.targets.values()])
    keys = set(zip(rows['video_id'], rows['time_s'], strict=True)) - plan.added if detections or targets else None
    snapshots = find_snapshots(plan.looked_at, last_s, keys, site[~photos_of(site.index)], interval_s)
    if not partial_effort:
        check_all_looked_at(snapshots, *_remedy(interval_s, detections, targets))
    return snapshots


def photos_of(video_ids: Iterable[str]) -> np.ndarray:
    """Returns which clips are photos, bool [n]."""
    return np.array([is_photo(video_id) for video_id in video_ids], bool)


def check_photos(site: pd.Series) -> None:
    """Raises ValueError if a station has photos and no video: the flat file would count it as empty.

    site: the station of each clip, indexed by video_id.
    """
    single = photos_of(site.index)
    alone = site[single & ~site.isin(site[~single])]
    if len(alone):
        raise ValueError(
            f'--format distance: the station {alone.iloc[0]!r} has photos alone ({alone.index[0]}); between photos '
            'nobody looked, so they are no snapshot moments; give the folders of stations with videos, or leave out '
            'this format'
        )


def _remedy(interval_s: int, detections: str | None, targets: str | None) -> tuple[str, str]:
    """Returns what told where somebody looked, and what to do about moments that nobody looked at."""
    if detections:
        return detections, (
            f'run the detector on all clips with a frame every {interval_s} s or more often (MegaDetector: '
            f'process_video --time_sample {interval_s}), choose a --snapshot that its frames fit'
        )
    if targets:
        return targets, (
            'add their rows, with yes or no in the column animal, add --other_moments_are_empty if a person watched '
            'all clips to their end'
        )
    return '--every', f'estimate a divisor of {interval_s} s'


def check_all_looked_at(snapshots: Snapshots, source: str, remedy: str) -> None:
    """Raises ValueError if a moment was not looked at. source: what told where somebody looked, for the message."""
    unlooked = snapshots.unlooked()
    if unlooked.empty:
        return
    first = unlooked.iloc[0]
    n_clips, n_stations = unlooked['video_id'].nunique(), unlooked['station'].nunique()
    raise ValueError(
        f'{source}: {len(unlooked)} of {len(snapshots.moments)} snapshot moments were not looked at ({n_clips} '
        f'{"clip" if n_clips == 1 else "clips"}, {n_stations} {"station" if n_stations == 1 else "stations"}; first '
        f'{first.video_id} at {first.moment} s), and the flat file would count them as empty; {remedy}, or add '
        '--partial_effort if the moments that were looked at are a fair sample'
    )
