"""Seconds that become targets beside those of a job: the seconds of known distances. They need not show an animal."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from data_prep.archive import Archive
from data_prep.inputs.columns.boxes import NO_BOX
from data_prep.inputs.headers import Copies, Header, check_headers, check_times, find_clips, read_headers
from data_prep.inputs.labels import Problem, Targets


class KnownSeconds(NamedTuple):
    """Seconds of clips that exist and can be opened, and what is wrong with the others."""

    rows: pd.DataFrame  # columns of Targets.rows
    copies: dict[str, Copies]
    headers: dict[str, Header]
    problems: list[Problem]

    def ends_s(self) -> dict[str, float]:
        return {video_id: header.end_s for video_id, header in self.headers.items()}


def find_known_seconds(rows: pd.DataFrame, archive: Archive, workers: int) -> KnownSeconds:
    """rows: video_id, time_s, distance_m, site, row; each second once -> the seconds that can be used.

    Reads the headers of these clips and the times of their frames. A second is a problem if its clip is missing or
    cannot be opened, or if it is past the end of its clip.
    """
    targets = Targets(rows.assign(animal='', box=[NO_BOX] * len(rows), park=''), [], [])
    targets, copies = find_clips(targets, None, archive)
    last_s = targets.rows.groupby('video_id')['time_s'].max()
    wanted = {name: (copies[name], int(last_s[name])) for name in copies}
    headers = read_headers(wanted, workers, frame_times=True)
    targets = check_times(check_headers(targets, headers), headers)
    readable = {name: header for name, header in headers.items() if isinstance(header, Header)}
    return KnownSeconds(targets.rows, copies, readable, targets.problems)


def add_seconds(
    targets: Mapping[str, Targets], rows: pd.DataFrame, ends_s: Mapping[str, float], every_s: int
) -> tuple[dict[str, Targets], frozenset[tuple[str, int]]]:
    """Returns the targets with the seconds of rows, and the seconds that were no targets before.

    targets: by split, not empty. rows: video_id, time_s, row. ends_s: of the clips in rows. every_s: between the
    targets of a clip without times; such a clip gets times if a second of rows is not among its targets.
    """
    result, added = dict(targets), set()
    places = {video_id: split for split, table in targets.items() for video_id in table.rows['video_id']}
    first = next(iter(targets))
    for video_id, part in rows.groupby('video_id'):
        split = places.get(video_id, first)
        table = result[split]
        mine = table.rows['video_id'] == video_id
        before = table.rows[mine]
        if before['time_s'].isna().any():
            new = part[part['time_s'] % every_s != 0]
            if len(new):
                before = _with_times(before, ends_s[video_id], every_s)
        else:
            new = part[~part['time_s'].isin(before['time_s'])]
        if len(new):
            whole = pd.concat([table.rows[~mine], before, _as_rows(new, table.rows.columns)], ignore_index=True)
            result[split] = table._replace(rows=whole)
            added |= {(video_id, int(time_s)) for time_s in new['time_s']}
    return result, frozenset(added)


def _with_times(row: pd.DataFrame, end_s: float, every_s: int) -> pd.DataFrame:
    """Returns a row for each target of a clip, from its one row without a time."""
    if not math.isfinite(end_s):
        raise ValueError(
            f'{row["video_id"].iloc[0]}: the length of the clip is unknown, so a known distance must be at a multiple '
            f'of {every_s} s; give such a second, or use --every 1'
        )
    times_s = np.arange(0, max(1, math.ceil(end_s)), every_s)
    return row.loc[row.index.repeat(len(times_s))].assign(time_s=times_s, box=[NO_BOX] * len(times_s))


def _as_rows(new: pd.DataFrame, columns) -> pd.DataFrame:
    """Returns the seconds as rows of Targets without a distance: training or scoring never sees a known distance."""
    texts = {name: '' for name in columns if name not in ('video_id', 'time_s', 'row')}
    return (
        new[['video_id', 'time_s', 'row']]
        .assign(**texts)
        .assign(distance_m=np.nan, box=[NO_BOX] * len(new))[list(columns)]
    )
