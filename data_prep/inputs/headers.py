"""The tables against the clips, before anything is decoded: is each clip there, is each time within it?

Only the headers of the clips are read, in worker processes: a decoder's library can crash or hang on those too.
"""

import contextlib
import math
from typing import NamedTuple

from etils import epath

from data_prep.archive import Archive, path_fault
from data_prep.decoding import groups
from data_prep.decoding.container import ClipError, frame_rate, open_clip, reason, video_stream
from data_prep.decoding.damage import SLACK_S
from data_prep.inputs.labels import Targets
from data_prep.progress import Progress
from data_prep.workers import guard

_HEADER_DEADLINE_S = 60.0


class Copies(NamedTuple):
    """Where the two copies of a clip are; where one is None the other serves both streams."""

    down: str | None
    full: str | None

    def paths(self) -> list[str]:
        return [path for path in self if path]


class Header(NamedTuple):
    end_s: float  # inf where the header does not say and the packets do not either
    frame_rate: float  # average, pictures a second; 0 where unknown


def find_clips(targets: Targets, down: Archive | None, full: Archive | None) -> tuple[Targets, dict[str, Copies]]:
    """Targets without those of the clips that are not there, and where the others are: {video_id: Copies}.

    A clip must be in `full` where there is one; a copy that is missing in `down` will be made by scaling.
    """
    found, reasons = {}, {}
    for video_id in targets.rows['video_id'].unique():
        try:
            found[video_id] = _find(video_id, down, full)
        except LookupError as fault:
            reasons[video_id] = str(fault)
    return targets.without_clips(reasons, 'find'), found


def _find(video_id: str, down: Archive | None, full: Archive | None) -> Copies:
    if fault := path_fault(video_id):
        raise LookupError(fault)
    copies = Copies(*(archive.find(video_id) if archive else None for archive in (down, full)))
    needed = full or down
    if (copies.full if full else copies.down) is None:
        near = needed.near(video_id)
        raise LookupError(f'no such file in {needed}' + (f'; there is {near!r}' if near else ''))
    return copies


def check_headers(targets: Targets, headers: dict[str, Header | str]) -> Targets:
    """Targets without the clips that cannot be opened."""
    faults = {name: headers[name] for name in targets.rows['video_id'].unique() if isinstance(headers[name], str)}
    return targets.without_clips(faults, 'open')


def check_times(targets: Targets, headers: dict[str, Header]) -> Targets:
    """Targets without the rows more than 1 s past the end of their clip."""
    if targets.rows.empty:
        return targets
    ends_s = targets.rows['video_id'].map({name: headers[name].end_s for name in targets.rows['video_id'].unique()})
    late = targets.rows.assign(end_s=ends_s)[targets.rows['time_s'] > ends_s + SLACK_S]
    reasons = {
        index: f'second {time_s} lies {time_s - end_s:.1f} s past the end of the clip ({end_s:.1f} s)'
        for index, time_s, end_s in late[['time_s', 'end_s']].itertuples()
    }
    return targets.without_rows(reasons, 'labels')


def read_headers(wanted: dict[str, tuple[Copies, int]], workers: int) -> dict[str, Header | str]:
    """{video_id: (copies, the last second that is asked for)} -> {video_id: Header, or why it cannot be opened}."""
    progress = Progress('checked', len(wanted), passing=True)
    headers = {}
    tasks = ((video_id, copies.paths(), last_s) for video_id, (copies, last_s) in wanted.items())
    for task, header in guard.run_guarded(
        'data_prep.inputs.headers:read_header', tasks, workers, lambda _: _HEADER_DEADLINE_S
    ):
        headers[task[0]] = header.reason if isinstance(header, guard.WorkerDied) else header
        progress.advance(1, problems=isinstance(headers[task[0]], str))
    return headers


def read_header(task: tuple[str, list[str], int]) -> Header | str:
    """Runs in a worker: of the shorter copy. Returns why it cannot be opened, in one line, where it cannot."""
    _, paths, last_s = task
    try:
        copies = [_read_header(path, last_s) for path in paths]
    except ClipError as error:
        return str(error)
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        return reason(error)
    return min(copies)


def _read_header(path: str, last_s: int) -> Header:
    with _readable(path) as file, open_clip(file) as container:
        rate = frame_rate(video_stream(container))
        end_s = container.duration / 1e6 if container.duration else 0.0
    if end_s + SLACK_S < last_s:
        # The header of a clip that was not closed properly says too little: its packets know better.
        with _readable(path) as file:
            end_s = groups.length(file) or math.inf
    return Header(float(end_s), rate)


@contextlib.contextmanager
def _readable(path: str):
    """What open_clip takes: of a remote clip only the parts that it needs are read."""
    if '://' in path:
        with epath.Path(path).open('rb') as file:
            yield file
    else:
        yield path
