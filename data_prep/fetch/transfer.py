"""One file from a bucket: continued where it was cut, checked by its SHA-1 before it gets its name."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

from data_prep.buckets.objects import Address, ConnectionCut, ObjectFailure, PublicObjects, Unreachable
from data_prep.fetch.access_table import WantedFile
from data_prep.files import RESUME, put_in_place

WAITS_S = (1, 2, 4, 8, 16)  # after each try without a new byte


class Stopped(Exception):
    """The run ends; this file is left for the next one."""


def fetch_file(
    objects: PublicObjects,
    file: WantedFile,
    n_bytes: int,
    part: Path,
    target: Path,
    report: Callable[[int], None],
    stop: threading.Event,
) -> None:
    """Fetches a file into `part` and renames it to `target` when its SHA-1 is that of the table.

    n_bytes: its size in the bucket. report: is called with the number of bytes of each block. If the SHA-1 is wrong and
    the bytes came through several connections, the file is fetched again as a whole.
    Raises ObjectFailure, Unreachable, Stopped if `stop` is set, OSError if the disk is at fault.
    """
    if part.exists() and part.stat().st_size > n_bytes:
        part.unlink()
    while True:
        at_once = _complete(objects, file.address, n_bytes, part, report, stop)
        found = sha1_of(part, stop)
        if found == file.sha1:
            put_in_place(part, target)
            return
        part.unlink()
        if at_once:
            raise ObjectFailure(
                f'{file.address}: the SHA-1 of its {n_bytes} bytes is {found} and not {file.sha1} as the table says; '
                'check the table, the network and --endpoint, and run the same command again'
            )


def sha1_of(path: Path, stop: threading.Event) -> str:
    """Returns the SHA-1 of a file as 40 hexadecimal digits. Raises Stopped if `stop` is set."""
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
            if stop.is_set():
                raise Stopped
    return digest.hexdigest()


def size_in_bucket(objects: PublicObjects, address: Address, stop: threading.Event) -> int:
    """Returns the size of an object in bytes. Raises ObjectFailure, Unreachable, or Stopped."""
    patience = Patience(address, stop)
    while True:
        try:
            return objects.size_bytes(address)
        except ConnectionCut as cut:
            patience.wait(cut)


class Patience:
    """Waits before another try, longer each time, and gives up in the end."""

    def __init__(self, address: Address, stop: threading.Event):
        self._address, self._stop = address, stop
        self.renew()

    def renew(self) -> None:
        """Begins again with the shortest wait, after a try that brought something."""
        self._waits = iter(WAITS_S)

    def wait(self, error: ConnectionCut | Unreachable) -> None:
        """Raises Stopped if the run ends; Unreachable or ObjectFailure after the last try."""
        pause_s = next(self._waits, None)
        if pause_s is None:
            if isinstance(error, Unreachable):
                raise error
            raise ObjectFailure(f'{self._address}: {error}; {RESUME}')
        if self._stop.wait(pause_s):
            raise Stopped


def _complete(objects, address: Address, n_bytes: int, part: Path, report, stop) -> bool:
    """Appends to `part` what is missing. Returns whether all bytes came through one connection."""
    part.touch()
    patience, n_connections, have = Patience(address, stop), 0, part.stat().st_size
    at_once = have == 0
    while have < n_bytes:
        before = have
        n_connections += 1
        failure: ConnectionCut | Unreachable = ConnectionCut('the object ends early')
        try:
            for n_new in _append(objects, address, n_bytes, part):
                have += n_new
                report(n_new)
                if stop.is_set():
                    raise Stopped
        except (ConnectionCut, Unreachable) as cut:
            failure = cut
        if have > before:
            patience.renew()
        if have < n_bytes:
            patience.wait(failure)
    return at_once and n_connections <= 1


def _append(objects, address: Address, n_bytes: int, part: Path):
    """Yields the number of bytes of each block that was written. Raises OSError with the file's name."""
    have = part.stat().st_size
    try:
        with part.open('ab', buffering=0) as file:
            for block in objects.read_from(address, have):
                rest = memoryview(block[: n_bytes - have])  # never more than the size that the server gave first
                have += len(rest)
                yield len(rest)
                while rest:
                    rest = rest[file.write(rest) :]
                if have == n_bytes:
                    return
    except (ConnectionCut, Unreachable):
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(part)) from None
