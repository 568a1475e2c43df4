"""Fetches many files at once, and keeps a table of what became of each."""

import contextlib
import errno
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from data_prep import lock
from data_prep.buckets.objects import ObjectFailure, PublicObjects
from data_prep.fetch.access_table import WantedFile
from data_prep.fetch.transfer import fetch_file, sha1_of, size_in_bucket
from data_prep.files import write_whole
from data_prep.inputs.tables import csv_text
from data_prep.progress import Progress

TABLE = 'fetched.csv'
_PARTS = 'parts'  # folder of the unfinished files; below full/ or down/ they would count as unknown files
# Errors that are due to the name of one file.
_OF_THE_NAME = {errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL}


@dataclass(frozen=True)
class FetchRequest:
    files: tuple[WantedFile, ...]
    out: str  # folder; the files come into its folders full and down
    endpoint: str | None = None  # address of another S3 server
    connections: int = 8  # at once


class FileOutcome(NamedTuple):
    """One row of fetched.csv."""

    video_id: str
    stream: str
    status: str  # 'fetched', 'present' (since an earlier run, checked again), 'failed', or 'left' for the next run
    n_bytes: int | None
    reason: str


class _Place(NamedTuple):
    target: Path
    part: Path


def fetch_files(request: FetchRequest) -> list[FileOutcome]:
    """Fetches the files that are missing in the folder, and writes fetched.csv, also if the run fails.

    Raises ValueError if the folder cannot be used or is too small, FolderInUse if another run works in it, OSError if
    the server cannot be reached or the disk is at fault.
    """
    with lock.hold(request.out):
        outcomes: dict[WantedFile, FileOutcome] = {}
        try:
            _fetch(request, PublicObjects(request.endpoint, request.connections), outcomes)
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk the first error is the one to tell
                _write_outcomes(request, outcomes)
            raise
        return _write_outcomes(request, outcomes)


def _write_outcomes(request: FetchRequest, outcomes: dict[WantedFile, FileOutcome]) -> list[FileOutcome]:
    left = {file: _outcome(file, 'left', None, 'the run ended before') for file in request.files}
    rows = [(left | outcomes)[file] for file in request.files]
    write_whole(Path(request.out) / TABLE, csv_text(FileOutcome._fields, rows))
    return rows


def _fetch(request: FetchRequest, objects: PublicObjects, outcomes: dict[WantedFile, FileOutcome]) -> None:
    places: dict[WantedFile, _Place] = {}
    for file in request.files:
        try:
            places[file] = _place(Path(request.out), file)
        except ObjectFailure as failure:
            outcomes[file] = _outcome(file, 'failed', None, str(failure))
    present = [file for file, place in places.items() if place.target.exists()]

    def check(file: WantedFile, stop: threading.Event) -> int:
        target = places[file].target
        if not target.is_file() or sha1_of(target, stop) != file.sha1:
            raise ObjectFailure(f'{target} is there with another content; delete or move it and run again')
        return target.stat().st_size

    for file, done in _in_parallel(check, present, request.connections, Progress('checked', len(present), 'files')):
        outcomes[file] = _settled(file, 'present', done)
    missing = [file for file in places if file not in outcomes]

    def find_size(file: WantedFile, stop: threading.Event) -> int:
        return size_in_bucket(objects, file.address, stop)

    sizes = {}
    progress = Progress('sizes', len(missing), 'files', passing=True)
    for file, done in _in_parallel(find_size, missing, request.connections, progress):
        if isinstance(done, ObjectFailure):
            outcomes[file] = _settled(file, 'failed', done)
        else:
            sizes[file] = done
    missing = [file for file in missing if file in sizes]  # in the order of the table
    _download(request, objects, [(file, sizes[file]) for file in missing], places, outcomes)


def _download(request, objects, sized: list[tuple[WantedFile, int]], places, outcomes) -> None:
    parts = Path(request.out) / _PARTS
    parts.mkdir(exist_ok=True)
    to_do = sum(max(0, n_bytes - _size_of(places[file].part)) for file, n_bytes in sized)
    free = shutil.disk_usage(parts).free
    if free < to_do:
        raise ValueError(
            f'{request.out} has {free / 1e6:.0f} MB of free space, and {to_do / 1e6:.0f} MB are required; free some, '
            'choose another --out, or fetch less with --videos or --stream'
        )
    failed = sum(outcome.status == 'failed' for outcome in outcomes.values())
    progress = _ByteProgress(len(sized), to_do, failed)
    n_bytes_of = dict(sized)

    def get(file: WantedFile, stop: threading.Event) -> int:
        place = places[file]
        fetch_file(objects, file, n_bytes_of[file], place.part, place.target, progress.add, stop)
        return n_bytes_of[file]

    for file, done in _in_parallel(get, n_bytes_of, request.connections, progress):
        outcomes[file] = _settled(file, 'fetched', done)
    if not any(parts.iterdir()):
        parts.rmdir()


def _place(out: Path, file: WantedFile) -> _Place:
    """Returns the paths of a file and of its unfinished form. Raises ObjectFailure if its name cannot be used."""
    if file.fault:
        raise ObjectFailure(file.fault)
    root = out / file.stream
    target = root / file.video_id
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.exists()  # raises if the name is too long
    except OSError as error:
        if error.errno not in _OF_THE_NAME:
            raise
        raise ObjectFailure(f'{target}: {error.strerror}; correct its name in the table') from None
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise ObjectFailure(f'{target}: a link leads out of {root}; remove the link')
    # The name depends on the source and its checksum, so that a corrected table never continues the old object.
    key = sha256(repr((file.stream, file.video_id, file.address, file.sha1)).encode()).hexdigest()[:32]
    return _Place(target, out / _PARTS / key)


def _in_parallel(
    function: Callable[[WantedFile, threading.Event], int],
    files: Iterable[WantedFile],
    n_threads: int,
    progress: 'Progress | _ByteProgress',
) -> Iterator[tuple[WantedFile, int | ObjectFailure]]:
    """Yields (file, result of the function or its ObjectFailure) in the order of completion.

    Another exception stops the other threads and is raised.
    """
    stop = threading.Event()
    with progress, ThreadPoolExecutor(n_threads) as pool:
        futures = {pool.submit(function, file, stop): file for file in files}
        try:
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, ObjectFailure):
                    progress.advance(problems=1)
                    yield futures[future], error
                elif error:
                    raise error
                else:
                    progress.advance()
                    yield futures[future], future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _ByteProgress:
    """The progress line of the downloads; its share and its time left follow the bytes. Threads may share it."""

    def __init__(self, n_files: int, n_bytes: int, problems: int):
        self._n_bytes, self._done, self._lock = n_bytes, 0, threading.Lock()
        self._line = Progress('fetched', n_files, 'files', problems=problems, work=n_bytes)

    def add(self, n_bytes: int) -> None:
        with self._lock:
            self._done += n_bytes
            self._line.advance(0, work=n_bytes, note=self._note())

    def advance(self, problems: int = 0) -> None:
        with self._lock:
            self._line.advance(problems=problems, note=self._note())

    def _note(self) -> str:
        return f'{self._done / 1e9:.2f} of {self._n_bytes / 1e9:.2f} GB'

    def __enter__(self) -> '_ByteProgress':
        return self

    def __exit__(self, *_) -> None:
        self._line.close()


def _settled(file: WantedFile, status: str, done: int | ObjectFailure) -> FileOutcome:
    if isinstance(done, ObjectFailure):
        return _outcome(file, 'failed', None, str(done))
    return _outcome(file, status, done, '')


def _outcome(file: WantedFile, status: str, n_bytes: int | None, reason: str) -> FileOutcome:
    return FileOutcome(file.video_id, file.stream, status, n_bytes, reason)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
