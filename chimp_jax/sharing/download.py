"""Downloads one file by HTTP. An interrupted download is continued by the next one.

FILE.part holds the bytes so far. FILE.part.json tells what they are part of: the address and the server's mark of the
content (ETag or Last-Modified). A request with Range and If-Range gets the rest if the content is still the same, else
the whole; a server without ranges sends the whole, too. FILE appears when all bytes are there, and not before.
"""

import contextlib
import errno
import http.client
import json
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from data_prep.files import put_in_place, write_json
from data_prep.progress import Progress

TIMEOUT_S = 60.0  # without any byte
_BLOCK_BYTES = 1 << 16
_AGAIN = 'run the same command again to resume'


class DownloadError(ValueError):
    """A file cannot be downloaded. The message is one line for the user."""


class _Part(NamedTuple):
    """The bytes that an earlier run has downloaded."""

    path: Path
    n_bytes: int
    mark: str  # ETag or Last-Modified; '' if the bytes cannot be continued


def download(url: str, path: Path, most_bytes: int, fault_of_start: Callable[[bytes], str]) -> None:
    """Downloads url to path. Shows progress.

    most_bytes: a larger file is refused. fault_of_start: returns what is wrong with a file that begins with these
    bytes, '' for nothing; a file with a fault is refused at its first bytes. Raises DownloadError.
    """
    if not re.match(r'https?://[^/]', url, re.IGNORECASE):
        raise DownloadError(f'{url or repr(url)} is no address of a file; give one that begins with https://')
    path.parent.mkdir(parents=True, exist_ok=True)
    part = _known_part(path, url)
    try:
        with _opener().open(_request(url, part), timeout=TIMEOUT_S) as answer:
            _receive(answer, url, part, most_bytes, fault_of_start)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.mark:
            if error.headers.get('Content-Range', '') != f'bytes */{part.n_bytes}':
                _discard(part.path)  # the part does not belong to this content
                return download(url, path, most_bytes, fault_of_start)
            return _finish(part.path, path)  # the earlier run was killed behind the last byte
        raise DownloadError(
            f'{url}: the server answers {error.code} {error.reason}; check the address in a browser and give it with '
            '--url'
        ) from None
    except OSError as error:  # also urllib's URLError and a cut connection
        _tell_disk(error, part.path)
        reason = getattr(error, 'reason', None) or error.strerror or error
        raise DownloadError(f'{url} cannot be reached: {_one_line(reason)}; check the network, and {_AGAIN}') from None
    except (http.client.HTTPException, ValueError) as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f'{url} gives no readable answer: {_one_line(error)}; give another address') from None
    _finish(part.path, path)


def _finish(part: Path, path: Path) -> None:
    put_in_place(part, path)
    _note_of(part).unlink(missing_ok=True)


def _request(url: str, part: _Part) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={'User-Agent': 'chimp_jax', 'Accept-Encoding': 'identity'})
    if part.mark:
        request.add_header('Range', f'bytes={part.n_bytes}-')
        request.add_header('If-Range', part.mark)
    return request


def _opener() -> urllib.request.OpenerDirector:
    """Returns an opener for http and https alone: a redirection must not lead to a local file."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _known_part(path: Path, url: str) -> _Part:
    part = path.with_name(f'{path.name}.part')
    try:
        note = json.loads(_note_of(part).read_text())
        n_bytes = part.stat().st_size
        mark = note['mark'] if note['url'] == url and n_bytes else ''
        return _Part(part, n_bytes if mark else 0, str(mark))
    except (OSError, ValueError, KeyError, TypeError):
        return _Part(part, 0, '')


def _note_of(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _receive(answer, url: str, part: _Part, most_bytes: int, fault_of_start: Callable[[bytes], str]) -> None:
    """Writes the answer behind the part, or in its place. Raises DownloadError if it is not the whole rest."""
    start, total = _extent(answer, url, part)
    if total is not None:
        if total > most_bytes:
            raise DownloadError(
                f'{url} has {total / 1e6:.0f} MB, and at most {most_bytes / 1e6:.0f} MB are expected; give another '
                'address with --url'
            )
        _require_room(part.path.parent, total - start)
    first, is_cut = _read_block(answer)
    if start == 0:
        if first and (fault := fault_of_start(first)):
            raise DownloadError(
                f'{url} gives {fault}, not the weights; give the address of the file itself with --url (a link of '
                'Dropbox ends with dl=1)'
            )
        _discard(part.path)
        write_json(_note_of(part.path), {'url': url, 'mark': _mark_of(answer)})
    n_bytes, block = start, first
    with _open_progress(start, total) as count, part.path.open('ab' if start else 'wb') as file:
        while block and n_bytes + len(block) <= most_bytes:
            file.write(block)
            n_bytes += len(block)
            count(len(block))
            block, is_cut = (b'', True) if is_cut else _read_block(answer)
    if block:
        _discard(part.path)
        raise DownloadError(
            f'{url} gives more than the {most_bytes / 1e6:.0f} MB that are expected at most; give another address with '
            '--url'
        )
    if is_cut if total is None else n_bytes != total:
        of = '' if total is None else f' of {total / 1e6:.1f}'
        raise DownloadError(f'{url}: the connection ended after {n_bytes / 1e6:.1f}{of} MB; {_AGAIN}')


def _read_block(answer) -> tuple[bytes, bool]:
    """Returns the next bytes, b'' at the end, and whether the connection was cut behind them."""
    try:
        return answer.read(_BLOCK_BYTES), False
    except http.client.IncompleteRead as error:
        return error.partial, True
    except (ConnectionError, TimeoutError):
        return b'', True


@contextlib.contextmanager
def _open_progress(start: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that counts received bytes. Without a known total nothing is shown."""
    n_mb = max(1, round(total / 1e6)) if total else 0
    done = start

    def count(n_bytes: int) -> None:
        nonlocal done
        if total:
            progress.advance((done + n_bytes) * n_mb // total - done * n_mb // total, work=n_bytes / 1e6)
        done += n_bytes

    with Progress('fetch', n_mb, 'MB', work=(total or 0) / 1e6) as progress:
        if start and total:
            progress.skip(start * n_mb // total, work=start / 1e6)
        yield count


def _extent(answer, url: str, part: _Part) -> tuple[int, int | None]:
    """Returns at which byte the answer starts, and the bytes of the whole file, None if unknown."""
    length = answer.headers.get('Content-Length', '')
    if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0, int(length) if re.fullmatch(r'\d{1,18}', length) else None
    found = re.fullmatch(r'bytes (\d{1,18})-(\d{1,18})/(\d{1,18})', answer.headers.get('Content-Range', ''))
    if not found or int(found[1]) != part.n_bytes:
        _discard(part.path)
        raise DownloadError(f'{url}: the server sends another part than asked for; run the same command to start anew')
    return part.n_bytes, int(found[3])


def _mark_of(answer) -> str:
    """Returns what identifies the content in If-Range: a strong ETag or the date, '' without one."""
    tag = answer.headers.get('ETag', '')
    return tag if tag.startswith('"') else answer.headers.get('Last-Modified', '')


def _require_room(folder: Path, n_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise OSError(
            errno.ENOSPC, f'{free / 1e6:.0f} MB are free and {n_bytes / 1e6:.0f} MB are required', str(folder)
        )


def _tell_disk(error: OSError, path: Path) -> None:
    """Raises DownloadError if the error is of the disk, not of the network."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO):
        raise DownloadError(
            f'{path} cannot be written: {error.strerror}; free some space or set XDG_CACHE_HOME to a folder on another '
            f'disk, and {_AGAIN}'
        ) from None


def _one_line(reason) -> str:
    return ' '.join(str(reason).split()) or type(reason).__name__
