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
REFRESH_S = 60.0  # between two updates of a lock in a bucket
STALE_S = 600.0  # a lock in a bucket that is older belongs to a run that has died


class FolderInUse(ValueError):
    """Another run works in the folder; the message names its process and host."""


@contextlib.contextmanager
def hold(folder) -> Iterator[None]:
    """Holds the folder for this run. Raises FolderInUse if another run holds it, ValueError if it cannot be written.

    Creates the folder if it is missing, and removes it at the end if the run wrote nothing into it. On a local disk
    the system drops the lock of a process that dies. A bucket has no such locks: there the lock is a file that its run
    refreshes. A lock of a dead process of this host is ignored, and so is one that was not refreshed for STALE_S.
    """
    path = epath.Path(folder) / NAME
    if '://' in str(path):
        with _hold_by_age(path):
            yield
        return
    created = not path.parent.exists()
    _check_folder(path.parent)
    try:
        with _hold_local(path):
            yield
    finally:
        if created:
            with contextlib.suppress(OSError):  # the folder has files
                os.rmdir(path.parent)


def _check_folder(folder: epath.Path) -> None:
    above = next((place for place in (folder, *folder.parents) if os.path.lexists(place)), folder)
    if not above.is_dir():
        raise ValueError(f'{above} is a file; choose a folder for the results')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f'the folder {folder} cannot be made ({error.strerror}); choose another one') from None
    if not os.access(folder, os.W_OK):
        raise ValueError(f'the folder {folder} cannot be written; choose another one, or change its permissions')


@contextlib.contextmanager
def _hold_local(path: epath.Path) -> Iterator[None]:
    file = _open_locked(path)
    if file is None:  # a file system without locks
        with _hold_by_age(path):
            yield
        return
    try:
        file.truncate(0)
        file.write(_as_text(_about_this_run()))
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


def _open_locked(path: epath.Path):
    """Returns the open file with its lock, None if the file system has no locks. Raises FolderInUse."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = open(path, 'a+')
        except FileNotFoundError:  # the run before has just removed its empty folder
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                _refuse(path, file.read())
        except OSError as error:
            file.close()
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return None
            raise
        # The run before may have removed the file between the opening and the locking.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()


@contextlib.contextmanager
def _hold_by_age(path: epath.Path) -> Iterator[None]:
    if path.exists() and _is_alive(text := path.read_text()):
        _refuse(path, text)
    path.parent.mkdir(parents=True, exist_ok=True)
    about, done = _about_this_run(), threading.Event()
    path.write_text(_as_text(about))
    thread = threading.Thread(target=_refresh, args=(path, about, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with contextlib.suppress(OSError):  # an expired credential must not hide what ended the run
            path.unlink(missing_ok=True)


def _refresh(path: epath.Path, about: dict, done: threading.Event) -> None:
    while not done.wait(REFRESH_S):
        with contextlib.suppress(Exception):  # a passing network error: the next refresh follows
            path.write_text(_as_text(about))


def _about_this_run() -> dict:
    return {
        'process': os.getpid(),
        'host': socket.gethostname(),
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'command': shlex.join(sys.orig_argv),
    }


def _as_text(about: dict) -> str:
    return json.dumps(about | {'refreshed_s': time.time()}) + '\n'


def _is_alive(text: str) -> bool:
    """Returns whether the run that wrote the text may still be working."""
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
        except PermissionError:  # a process of another user
            pass
    return time.time() - refreshed_s < STALE_S


def _refuse(path: epath.Path, text: str) -> None:
    try:
        about = json.loads(text)
        who = f'process {about["process"]} on {about["host"]}, since {about["time"]}'
    except (ValueError, TypeError, KeyError):
        who = 'it has just started'
    raise FolderInUse(f'another run works in {path.parent} ({who}); wait until it has ended, or choose another folder')
