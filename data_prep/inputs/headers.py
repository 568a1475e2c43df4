"""Checks the tables against the clips before anything is decoded: is each clip present, is each time within it?

Reads only the headers of the clips, in worker processes, because a decoder's library can crash or hang on a header too.
"""

import contextlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from etils import epath

from data_prep.archive import Archive, is_photo, local_copy, path_fault
from data_prep.decoding import groups
from data_prep.decoding.container import ClipError, frame_rate, open_clip, reason, video_stream
from data_prep.decoding.damage import SLACK_S
from data_prep.decoding.decode import picture_times
from data_prep.decoding.photos import check_photo
from data_prep.progress import Progress
from data_prep.workers import guard

if TYPE_CHECKING:  # imports pandas, which a worker does not need
    from data_prep.inputs.labels import Targets

_HEADER_DEADLINE_S = 60.0
_PACKETS_DEADLINE_S = 600.0  # if all packets are read, or even decoded
_RATE_SLACK = 0.02  # share by which rounded frame rates may differ
_NO_RATES: Mapping[str, float | None] = {}


class Copies(NamedTuple):
    """Paths of the two copies of a clip. If one is None, both streams use the other."""

    down: str | None
    full: str | None

    def paths(self) -> list[str]:
        return [path for path in self if path]


class Header(NamedTuple):
    end_s: float  # inf if neither the header nor the packets give it
    frame_rate: float  # average, pictures per second; 0 if unknown
    frame_times_s: np.ndarray = np.zeros(0)  # [n] float64, ascending: see read_headers; empty if unknown

    @property
    def length_s(self) -> float:
        """The length of the clip. A header may give too short a time; then the last picture counts."""
        if not self.frame_rate or not len(self.frame_times_s):
            return self.end_s
        return max(self.end_s, float(self.frame_times_s[-1]) + 1 / self.frame_rate)


def find_clips(targets: 'Targets', down: Archive | None, full: Archive | None) -> 'tuple[Targets, dict[str, Copies]]':
    """Returns the targets without those of missing clips, and {video_id: Copies} of the others.

    If `full` is given, a clip must be in it. A copy that is missing in `down` is made by scaling later.
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
        raise LookupError(fault + _hint(video_id, full or down))
    copies = Copies(*(archive.find(video_id) if archive else None for archive in (down, full)))
    needed = full or down
    if (copies.full if full else copies.down) is None:
        near = needed.near(video_id)
        hint = f'; did you mean {near!r}?' if near else _hint(video_id, needed)
        raise LookupError(f'no such file in {needed}{hint}')
    return copies


def _hint(video_id: str, archive: Archive) -> str:
    """Returns which clip a path of another disk or a bare name may mean, or ''."""
    likely = [name for name in archive.likely(video_id) if name != video_id]
    if len(likely) > 1:
        return f'; {len(likely)} clips end like this, for example {likely[0]!r}: write the path below {archive}'
    return f'; did you mean {likely[0]!r}?' if likely else ''


def check_headers(targets: 'Targets', headers: dict[str, Header | str]) -> 'Targets':
    """Returns the targets without the clips that cannot be opened."""
    faults = {name: headers[name] for name in targets.rows['video_id'].unique() if isinstance(headers[name], str)}
    return targets.without_clips(faults, 'open')


def check_times(targets: 'Targets', headers: dict[str, Header]) -> 'Targets':
    """Returns the targets without the rows more than 1 s past the end of their clip, or after second 0 of a photo."""
    if targets.rows.empty:
        return targets
    ends_s = targets.rows['video_id'].map({name: headers[name].end_s for name in targets.rows['video_id'].unique()})
    slack_s = SLACK_S * ~targets.rows['video_id'].map(is_photo).astype(bool)
    late = targets.rows.assign(end_s=ends_s)[targets.rows['time_s'] > ends_s + slack_s]
    reasons = {
        index: f'second {time_s} is not in a photo; write the time 0'
        if is_photo(video_id)
        else f'second {time_s} is {time_s - end_s:.1f} s past the end of the clip ({end_s:.1f} s)'
        for index, video_id, time_s, end_s in late[['video_id', 'time_s', 'end_s']].itertuples()
    }
    return targets.without_rows(reasons, 'labels')


def read_headers(
    wanted: dict[str, tuple[Copies, int]],
    workers: int,
    frame_times: bool = False,
    frame_rates: Mapping[str, float | None] = _NO_RATES,
) -> dict[str, Header | str]:
    """Returns {video_id: Header, or the reason why the clip cannot be opened}.

    wanted: {video_id: (copies, the last second of its targets)}. frame_times: reads all packets of a copy and returns
    the presentation time of each picture in seconds on the clock of data_prep.decoding, by which the picture of second
    t is the last one with a time <= t. frame_rates: {video_id: that of the detector's run}; the copy with this rate
    gives the frame times, else the full copy.
    """
    progress = Progress('checked', len(wanted), passing=True)
    headers = {}
    deadline_s = _PACKETS_DEADLINE_S if frame_times else _HEADER_DEADLINE_S
    tasks = (
        (video_id, copies.paths(), last_s, frame_times, frame_rates.get(video_id))
        for video_id, (copies, last_s) in wanted.items()
    )
    for task, header in guard.run_guarded('data_prep.inputs.headers:read_header', tasks, workers, lambda _: deadline_s):
        headers[task[0]] = header.reason if isinstance(header, guard.WorkerDied) else header
        progress.advance(1, problems=isinstance(headers[task[0]], str))
    return headers


def read_header(task: tuple[str, list[str], int, bool, float | None]) -> Header | str:
    """Returns the header of a clip, or one line why a copy cannot be opened. Runs in a worker process.

    end_s is that of the shorter copy. The frame rate and the frame times are those of the copy that has the rate of the
    detector's run; of the last copy, the full one, if both or none have it.
    """
    _, paths, last_s, frame_times, detector_rate = task
    try:
        copies = [_read_header(path, last_s) for path in paths]
        fits = [same_rate(detector_rate, header.frame_rate) for header in copies]
        used = len(fits) - 1 - fits[::-1].index(max(fits))
        times_s = _frame_times(paths[used]) if frame_times else np.zeros(0)
        # A camera that did not close the file properly leaves too short a length in the header.
        end_s = max([min(header.end_s for header in copies), *times_s[-1:]])
        return Header(end_s, copies[used].frame_rate, times_s)
    except ClipError as error:
        return str(error)
    except ConnectionError:  # of a bucket, not of the clip
        raise
    except Exception as error:  # PyAV raises at least nine types on damaged clips
        return reason(error)


def same_rate(rate: float | None, other: float | None) -> bool:
    """Returns whether two frame rates are known and equal to 2 %."""
    return bool(rate and other) and abs(rate / other - 1) <= _RATE_SLACK


def _read_header(path: str, last_s: int) -> Header:
    if is_photo(path):
        with _readable(path) as file:
            check_photo(file)
        return Header(0.0, 0.0)
    with _readable(path) as file, open_clip(file) as container:
        rate = frame_rate(video_stream(container))
        end_s = container.duration / 1e6 if container.duration else 0.0
    if end_s + SLACK_S < last_s:
        # If the camera did not close the file properly, the header gives too short a time. The packets are right.
        with _readable(path) as file:
            end_s = groups.length(file) or math.inf
    return Header(float(end_s), rate)


def _frame_times(path: str) -> np.ndarray:
    """Returns the time of each picture, none if the clip opens but has no picture that can be decoded."""
    with local_copy(path) as local:
        try:
            return np.array([float(time_s) for time_s in picture_times(local)])
        except ClipError:
            return np.zeros(0)


@contextlib.contextmanager
def _readable(path: str):
    """Yields an argument for open_clip. Of a remote clip, open_clip reads only the parts that it requires."""
    if '://' in path:
        with epath.Path(path).open('rb') as file:
            yield file
    else:
        yield path
