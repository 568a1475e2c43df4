"""Files that appear whole or not at all, and their checksums."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from data_prep.buckets import s3_paths

_PART_BYTES = 1 << 16
OLD_S = 60.0  # an unfinished file of this age belongs to a run that has died, in a folder that several runs write
_UNFINISHED = re.compile(r'\.[0-9a-f]{12}\.tmp$')  # of unfinished_file

log = logging.getLogger(__name__)

RESUME = 'correct this and run the same command again to resume'  # after a failure of the machine


def write_whole(path, content: str | bytes) -> None:
    """Writes a file under a temporary name, then renames it.

    A killed run or a power cut leaves the old file or the new one. An object of a bucket has no temporary name, because
    it appears whole.
    """
    # The content may hold file names that are not UTF-8.
    data = content.encode(errors='backslashreplace') if isinstance(content, str) else content
    if '://' in str(path):
        try:
            epath.Path(path).write_bytes(data)
        except OSError as error:  # a full bucket, an expired credential
            raise OSError(
                error.errno or errno.EIO, error.strerror or ' '.join(str(error).split()), str(path)
            ) from error
        return
    with unfinished_file(path) as unfinished:
        unfinished.write_bytes(data)


def copy_folder(source, target) -> None:
    """Copies a folder, such as one in a bucket, with everything below it."""
    epath.Path(target).mkdir(parents=True, exist_ok=True)
    for path in epath.Path(source).iterdir():
        if path.is_dir():
            copy_folder(path, epath.Path(target) / path.name)
        else:
            (epath.Path(target) / path.name).write_bytes(path.read_bytes())


@contextlib.contextmanager
def unfinished_file(path) -> Iterator[epath.Path]:
    """Yields the path of a file to write, which takes the place of `path` at the end: for content that fills no memory.

    If the writing fails, the unfinished file is deleted, and an OSError names `path`.
    """
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two machines may write the same file at once, in containers with equal process numbers.
    unfinished = path.with_name(f'{path.name}.{uuid.uuid4().hex[:12]}.tmp')
    try:
        yield unfinished
        put_in_place(unfinished, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def remove_unfinished(folder, deep: bool = True, older_s: float = 0.0) -> int:
    """Removes the unfinished files of killed runs from a local folder, and returns their number.

    deep: also from the folders in it. older_s: their least age, for a folder in which other runs may write now.
    """
    if '://' in str(folder):
        return 0
    n_removed = 0
    for place, _, names in os.walk(folder):
        for path in (os.path.join(place, name) for name in names if _UNFINISHED.search(name)):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(path).st_mtime >= older_s:
                    os.unlink(path)
                    n_removed += 1
        if not deep:
            break
    return n_removed


def removed_text(n_removed: int) -> str:
    """Returns a part of a command's last line about files that were removed, '' for none."""
    return f'; files of earlier runs removed: {n_removed}' if n_removed else ''


def put_in_place(finished, path) -> None:
    """Renames a finished file. Both its content and its name survive a power cut."""
    flush(finished)
    epath.Path(finished).replace(path)
    flush(epath.Path(path).parent)


def flush(path) -> None:
    """Waits until a local file, or the list of names of a local folder, is on the disk and survives a power cut.

    A file system without this service, such as some network shares, keeps its own promise. Raises OSError if the disk
    fails.
    """
    if '://' in str(path):
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(opened)


def flush_all(folder) -> None:
    """Flushes a folder with everything below it, which another library wrote, before a marker vouches for it."""
    folder = epath.Path(folder)
    if '://' in str(folder):
        return
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # another process has just renamed it
                flush(os.path.join(place, name))
        flush(place)
    flush(folder.parent)


def write_json(path, content) -> None:
    write_whole(path, json.dumps(content, indent=2) + '\n')


def read_json(path) -> Any:
    """Returns the content of a JSON file that this project wrote to know what is done, None if it is missing.

    A damaged file counts as missing, with a warning: what it vouched for is made again.
    """
    path = epath.Path(path)
    if not path.exists():
        return None
    try:
        return json.loads(path.read_bytes())
    except ValueError:  # not JSON, or not UTF-8
        log.warning('%s is damaged (%d bytes, not JSON); it is made again', path, path.stat().length)
        return None


def fingerprint(paths: Iterable, whole: bool = False) -> str:
    """Returns a text by which `unchanged` recognises the content of files, local or in a bucket, present or missing.

    It depends on their sizes and on their first, middle and last 64 KB; if whole, on all bytes. The time of a local
    file does not count, because a copy of the same clip has another. A remote file is not read: its size and time
    count, or its size and ETag in S3.
    """
    kind = 'whole' if whole else 'parts'
    return f'{kind} {hashlib.sha256(repr([_content(epath.Path(p), whole) for p in paths]).encode()).hexdigest()[:20]}'


def unchanged(known: str, paths: Iterable) -> bool:
    """Returns whether files still have the fingerprint `known`."""
    return known == fingerprint(paths, whole=known.startswith('whole'))


def _content(path: epath.Path, whole: bool) -> tuple:
    try:
        if str(path).startswith(s3_paths.PREFIX):
            return s3_paths.object_version(str(path))
        if '://' in str(path):
            return path.stat().length, path.stat().mtime
        if whole:
            return (sha256(path),)
        with path.open('rb') as file:
            n_bytes = file.seek(0, os.SEEK_END)
            parts = []
            for start in (0, (n_bytes - _PART_BYTES) // 2, n_bytes - _PART_BYTES):
                file.seek(max(0, start))
                parts.append(hashlib.sha256(file.read(_PART_BYTES)).hexdigest())
            return n_bytes, *parts
    except OSError as error:  # if the file is missing or locked now, it changes when it can be read
        return (type(error).__name__,)


def sha256(path) -> str:
    digest = hashlib.sha256()
    with epath.Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def failure_line(error: BaseException) -> str:
    """Returns one line without internal names: the file and what is wrong with it, or the text of the error."""
    if isinstance(error, OSError) and error.strerror:
        files = ' and '.join(str(name) for name in (error.filename, error.filename2) if name)
        return f'{files}: {error.strerror}' if files else error.strerror
    return ' '.join(str(error).split()) or type(error).__name__
