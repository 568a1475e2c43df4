"""Groups photos into bursts by the time in their EXIF data.

A burst is a sequence of photos of one folder, each at most a given gap after the one before it. It takes the place of a
clip: the frames around a photo are the photos of its burst, and one place in the burst stands for one second. So the
window of a photo has the seconds -1, 0 and 1 if it is in the middle of a burst of three, however many seconds apart the
photos are. Photos with equal times are in the order of their names, IMG_2 before IMG_10.
"""

import datetime
import math
import re
import warnings
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

from etils import epath
from PIL import ExifTags

from data_prep.archive import Archive
from data_prep.decoding.photos import read_exif
from data_prep.inputs.headers import Copies, find_clips
from data_prep.inputs.labels import every_second
from data_prep.progress import Progress
from data_prep.windows import stored_seconds
from data_prep.workers.clip_record import Mate

LONGEST_GAP_S = 86_400.0
_HEAD_BYTES = 70_000  # EXIF data has at most 65,533 bytes and is near the beginning
_READERS = 16  # threads; most of their time is waiting, above all over a network
_TIME = re.compile(r'\s*(\d{4})\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)\D(\d\d)(?!\d)')
_START_OF_TIME = datetime.datetime(1, 1, 1)
_MICROSECOND = datetime.timedelta(microseconds=1)
_JPEG, _PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'
_EXIF = b'Exif\0\0'


class Bursts(NamedTuple):
    """The bursts of the photos of a folder."""

    mates: dict[str, tuple[Mate, ...]]  # {video_id: the other photos of its window}; photos that stand alone are absent
    first: dict[str, str]  # {video_id: the first photo of its burst}
    notes: list[str]


def bursts_of(down: Archive | None, full: Archive | None, gap_s: float) -> Bursts:
    """Returns the bursts of all photos in folders. If `full` is given, a photo must be in it."""
    photos = (full or down).photos()
    return read_bursts(find_clips(every_second(photos), down, full)[1] if photos else {}, gap_s)


def read_bursts(copies: Mapping[str, Copies], gap_s: float) -> Bursts:
    """Reads the time of each photo and returns the bursts. copies: of all photos, {video_id: Copies}.

    gap_s: the longest gap in a burst in seconds. A photo without a time is a burst of its own; a note counts them.
    """
    progress = Progress('read the times of', len(copies), 'photos', passing=True)
    taken_us: dict[str, int | None] = {}
    with progress, ThreadPoolExecutor(_READERS) as threads:
        heads = threads.map(lambda both: _head(both.full or both.down), copies.values())
        for name, head in zip(copies, heads, strict=True):
            if head.startswith((_JPEG, _PNG)):  # the others are refused when they are decoded
                taken_us[name] = time_us(head)
            progress.advance()
    group = {name: (str(PurePosixPath(name).parent), *map(bool, both)) for name, both in copies.items()}
    bursts = find_bursts(taken_us, group, gap_s)
    timeless = [name for name, us in taken_us.items() if us is None]
    alone = 'photos have no time in their EXIF data, so each of them stands alone'
    return Bursts(
        {name: _mates(burst, place, copies) for burst in bursts for place, name in enumerate(burst) if len(burst) > 1},
        {name: burst[0] for burst in bursts for name in burst},
        [f'{len(timeless)} {alone}, first {timeless[0]}'] if timeless else [],
    )


def find_bursts(taken_us: Mapping[str, int | None], group: Mapping[str, Hashable], gap_s: float) -> list[list[str]]:
    """Returns the bursts: names in order of time and then of name. Each name is in one burst.

    taken_us: time in microseconds, None if unknown. group: only photos of one group can be a burst.
    """
    bursts: list[list[str]] = []
    known = [name for name, us in taken_us.items() if us is not None]
    before = None
    for name in sorted(known, key=lambda name: (repr(group[name]), taken_us[name], _natural(name))):
        is_next = (
            before is not None
            and group[name] == group[before]
            and taken_us[name] - taken_us[before] <= round(gap_s * 1e6)
        )
        if is_next:
            bursts[-1].append(name)
        else:
            bursts.append([name])
        before = name
    return bursts + [[name] for name, us in taken_us.items() if us is None]


def time_us(head: bytes) -> int | None:
    """Returns the time at which a photo was taken in microseconds, None if its EXIF data does not give a valid one.

    head: the first bytes of a JPEG or PNG file. Only differences count: cameras give no time zone. DateTimeOriginal
    with SubSecTimeOriginal is preferred to DateTime.
    """
    data = _exif_data(head)
    if data is None:
        return None
    try:
        exif = read_exif(data)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about damaged entries
            details = exif.get_ifd(ExifTags.IFD.Exif)
            original = details.get(ExifTags.Base.DateTimeOriginal), details.get(ExifTags.Base.SubsecTimeOriginal)
            other = exif.get(ExifTags.Base.DateTime), details.get(ExifTags.Base.SubsecTime)
    except Exception:  # Pillow raises many types on damaged data
        return None
    times = [_microseconds(*pair) for pair in (original, other)]
    return next((us for us in times if us is not None), None)


def check_gap(gap_s: float) -> None:
    """Raises ValueError if a gap is impossible."""
    if not (math.isfinite(gap_s) and 0 <= gap_s <= LONGEST_GAP_S):
        raise ValueError(f'--burst_gap must be from 0 to {LONGEST_GAP_S:.0f} seconds; got {gap_s:g}')


def _microseconds(time, fraction) -> int | None:
    found = _TIME.match(str(time))
    try:
        moment = datetime.datetime(*map(int, found.groups())) if found else None
    except ValueError:  # a camera without a clock writes 0000:00:00
        moment = None
    if moment is None:
        return None
    digits = re.match(r'\d*', str(fraction).strip()).group()
    return (moment - _START_OF_TIME) // _MICROSECOND + int(digits.ljust(6, '0')[:6])


def _exif_data(head: bytes) -> bytes | None:
    """Returns the EXIF data in the first bytes of a JPEG or PNG file, None without such data."""
    at = 2 if head.startswith(_JPEG) else len(_PNG)
    while at + 8 <= len(head):
        if head.startswith(_JPEG):
            kind, start, n_bytes = head[at + 1], at + 4, int.from_bytes(head[at + 2 : at + 4]) - 2
            if head[at] != 0xFF or kind == 0xDA:  # damage; the picture begins
                return None
            is_exif, end = kind == 0xE1 and head.startswith(_EXIF, start), start + n_bytes
        else:
            kind, start, n_bytes = head[at + 4 : at + 8], at + 8, int.from_bytes(head[at : at + 4])
            is_exif, end = kind == b'eXIf', start + n_bytes + 4  # its checksum
        if is_exif:
            return head[start : start + n_bytes]
        at = end
    return None


def _head(path: str) -> bytes:
    """Returns the first bytes of a file, none if it cannot be read."""
    try:
        with epath.Path(path).open('rb') as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b''


def _mates(burst: list[str], place: int, copies: Mapping[str, Copies]) -> tuple[Mate, ...]:
    places = [other for other in stored_seconds([place], len(burst) - 1) if other != place]
    return tuple(Mate(other - place, burst[other], *copies[burst[other]]) for other in places)


def _natural(name: str) -> list:
    """Returns a sort key by which IMG_2 comes before IMG_10."""
    return [(0, int(part), '') if part.isdecimal() else (1, 0, part) for part in re.split(r'(\d+)', name)]
