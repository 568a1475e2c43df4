"""One run at a time in a folder: a second run stops before it harms the first."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Iterator

from etils import epath

NAME = 'running.lock'
REFRESH_S = 60.0  # of a lock in a bucket
STALE_S = 600.0  # a lock in a bucket that was not refreshed for so long belongs to a run that has died


class FolderInUse(ValueError):
    """Another run works in the folder; the message names its process and host."""


@contextlib.contextmanager
def hold(folder) -> Iterator[None]:
    """Holds the folder for this run. Raises FolderInUse if another run holds it.

    On a local disk the system drops the lock of a process that dies. A bucket has no such locks: there the lock is a
    file that its run refreshes, and a lock of a dead process of this machine or one older than STALE_S counts for
    nothing.
    """
    path = epath.Path(folder) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hold_remote(path) if '://' in str(path) else _hold_local(path):
        yield


@contextlib.contextmanager
def _hold_local(path: epath.Path) -> Iterator[None]:
    file = _open_locked(path)
    if file is None:  # a file system without locks
        with _hold_remote(path):
            yield
        return
    try:
        file.truncate(0)
        file.write(_about_this_run())
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _open_locked(path: epath.Path):
    """The open file with its lock, None if the file system has no locks. Raises FolderInUse."""
    while True:
        file = open(path, 'a+')
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            _refuse(path, file.read())
        except OSError as error:
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                file.close()
                return None
            raise
        # The run before may have removed the file between our opening and our locking it.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()


@contextlib.contextmanager
def _hold_remote(path: epath.Path) -> Iterator[None]:
    if path.exists() and _is_alive(text := path.read_text()):
        _refuse(path, text)
    done = threading.Event()

    def refresh() -> None:
        while not done.wait(REFRESH_S):
            path.write_text(_about_this_run())

    path.write_text(_about_this_run())
    thread = threading.Thread(target=refresh, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        path.unlink(missing_ok=True)


def _about_this_run() -> str:
    about = {
        'process': os.getpid(),
        'host': socket.gethostname(),
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'refreshed_s': time.time(),
        'command': shlex.join(sys.orig_argv),
    }
    return json.dumps(about) + '\n'


def _is_alive(text: str) -> bool:
    """Whether the run that wrote the text may still be working."""
    try:
        about = json.loads(text)
        process, host, refreshed_s = int(about['process']), about['host'], float(about['refreshed_s'])
    except (ValueError, TypeError, KeyError):
        return False
    if host == socket.gethostname():
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
    return time.time() - refreshed_s < STALE_S


def _refuse(path: epath.Path, text: str) -> None:
    try:
        about = json.loads(text)
        who = f'process {about["process"]} on {about["host"]}, since {about["time"]}'
    except (ValueError, TypeError, KeyError):
        who = 'it has just started'
    raise FolderInUse(f'another run works in {path.parent} ({who}); wait until it has ended, or choose another folder')
