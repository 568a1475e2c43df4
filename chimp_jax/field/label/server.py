"""Serves the page to this machine alone, at a random port and below a random token.

Other machines cannot connect, because the server listens on 127.0.0.1. Other programs and web pages on this machine do
not know the token. A web page that points its own host name at 127.0.0.1 (DNS rebinding) is refused by its Host header.
"""

import http.server
import json
import logging
import re
import secrets
import shutil
import threading
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from chimp_jax.field.label import exchange
from chimp_jax.field.label.frames import FrameStore
from chimp_jax.field.label.session import LabelSession
from data_prep.files import failure_line

MOST_BODY_BYTES = 10_000
TIMEOUT_S = 30  # of a client that stops in the middle of a request
_OWN_FILES = ('page.html', 'label.css', 'label.js', 'overlay.js', 'references.js', 'server.js', 'viewer.js', 'icon.svg')
_SHARED_FILES = ('page.css',)  # of the report
_TYPES = {'html': 'text/html', 'css': 'text/css', 'js': 'text/javascript', 'svg': 'image/svg+xml'}
_VIDEO_TYPES = {'.mp4': 'video/mp4', '.m4v': 'video/mp4', '.mov': 'video/mp4', '.webm': 'video/webm'}
_POLICY = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RANGE = re.compile(r'bytes=(\d*)-(\d*)')

log = logging.getLogger(__name__)


class LabelServer(http.server.ThreadingHTTPServer):
    """The server of one session. `address` is what the person opens."""

    daemon_threads = True

    def __init__(self, session: LabelSession, frames: FrameStore):
        super().__init__(('127.0.0.1', 0), _Handler)
        self.session, self.frames = session, frames
        self.token = secrets.token_urlsafe(24)
        port = self.server_address[1]
        self.hosts = {f'127.0.0.1:{port}', f'localhost:{port}'}
        self.address = f'http://127.0.0.1:{port}/{self.token}/'

    def finish(self) -> None:
        """Ends serve_forever, from a request's thread."""
        threading.Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request, client_address) -> None:
        """A browser that closes a connection early is no error."""
        log.debug('a request of %s failed', client_address, exc_info=True)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: LabelServer
    protocol_version = 'HTTP/1.1'
    server_version, sys_version = 'chimp-distance', ''
    timeout = TIMEOUT_S

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *values) -> None:
        log.debug(format, *values)

    def _answer(self, act: Callable[[str], None]) -> None:
        """Refuses strangers, else acts on the path below the token."""
        if self.headers.get('Host') not in self.server.hosts:
            return self._refuse(HTTPStatus.FORBIDDEN, 'this page answers only to its own address')
        if (origin := self.headers.get('Origin')) and origin.removeprefix('http://') not in self.server.hosts:
            return self._refuse(HTTPStatus.FORBIDDEN, 'another page may not use this one')
        _, token, rest = [*self.path.partition('?')[0].split('/', 2), '', ''][:3]
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            return self._refuse(HTTPStatus.NOT_FOUND, 'open the address that the command printed')
        try:
            act(rest)
        except exchange.Missing as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, failure_line(error))
        except ConnectionError:
            self.close_connection = True
        except OSError as error:  # of the disk
            log.error('error: %s', failure_line(error))
            self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, f'not saved: {failure_line(error)}')

    def _get(self, rest: str) -> None:
        session, parts = self.server.session, rest.split('/')
        if (name := rest or 'page.html') in _OWN_FILES + _SHARED_FILES:
            folder = files(__package__) / 'page' if name in _OWN_FILES else files('chimp_jax.field.page')
            kind = _TYPES[name.rpartition('.')[2]]
            return self._send((folder / name).read_bytes(), f'{kind}; charset=utf-8')
        if parts[0] == 'frame' and len(parts) == 3:
            return self._send_frame(*parts[1:])
        if parts[0] == 'video' and len(parts) == 2:
            return self._send_video(parts[1])
        self._send_json(exchange.read(session, self.server.frames, rest, self.path.partition('?')[2]))

    def _post(self, rest: str) -> None:
        length = self.headers.get('Content-Length', '')
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f'send at most {MOST_BODY_BYTES} bytes')
        body = self.rfile.read(int(length))
        if self.headers.get('Content-Type', '').partition(';')[0].strip() != 'application/json':
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, 'send JSON')
        self._send_json(exchange.act(self.server.session, self.server.frames, rest, body))
        if rest == 'finish':
            self.server.finish()

    def _send_frame(self, number: str, second: str) -> None:
        clip = exchange.clip_by_number(self.server.session, number)
        found = self.server.frames.get(clip, exchange.second_of(clip, second))
        if isinstance(found, str):
            return self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, found)
        self._send(found, 'image/jpeg', 'private, max-age=3600')

    def _send_video(self, number: str) -> None:
        """Sends a clip, or the part of it that the browser asks for."""
        clip = exchange.clip_by_number(self.server.session, number)
        kind = _VIDEO_TYPES.get('.' + clip.path.rpartition('.')[2].lower())
        if kind is None or '://' in clip.path:
            return self._refuse(HTTPStatus.NOT_FOUND, 'a browser cannot play this clip')
        with open(clip.path, 'rb') as file:
            size = file.seek(0, 2)
            first, last = _asked_range(self.headers.get('Range', ''), size)
            partial = 'Range' in self.headers
            self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
            if partial:
                self.send_header('Content-Range', f'bytes {first}-{last}/{size}')
            self.send_header('Accept-Ranges', 'bytes')
            self._end_headers(kind, last - first + 1, 'no-store')
            file.seek(first)
            shutil.copyfileobj(_Limited(file, last - first + 1), self.wfile)

    def _refuse(self, code: HTTPStatus, reason: str) -> None:
        if self.command == 'POST' and code != HTTPStatus.BAD_REQUEST:
            self.close_connection = True  # its body may be unread
        self._send(json.dumps({'error': reason}).encode(), 'application/json', code=code)

    def _send_json(self, content: Any) -> None:
        self._send(json.dumps(content).encode(), 'application/json')

    def _send(self, content: bytes, kind: str, cache: str = 'no-store', code: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(code)
        self._end_headers(kind, len(content), cache)
        self.wfile.write(content)

    def _end_headers(self, kind: str, length: int, cache: str) -> None:
        headers = {
            'Content-Type': kind,
            'Content-Length': str(length),
            'Cache-Control': cache,
            'Content-Security-Policy': _POLICY,
            'X-Content-Type-Options': 'nosniff',
            'Referrer-Policy': 'no-referrer',
            'Cross-Origin-Resource-Policy': 'same-origin',
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header('Connection', 'close')
        self.end_headers()


class _Limited:
    """The next n bytes of a file, to be copied."""

    def __init__(self, file, n_bytes: int):
        self._file, self._left = file, n_bytes

    def read(self, n_bytes: int) -> bytes:
        part = self._file.read(min(n_bytes, self._left))
        self._left -= len(part)
        return part


def _asked_range(header: str, size: int) -> tuple[int, int]:
    """Returns the first and the last byte that a Range header asks for, both of the file."""
    found = _RANGE.fullmatch(header.strip())
    first, last = found.groups() if found else ('', '')
    if not first and last:  # the last bytes
        return max(0, size - int(last)), size - 1
    start = min(int(first or 0), max(0, size - 1))
    return start, max(start, min(int(last) if last else size - 1, size - 1))
