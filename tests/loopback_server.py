"""An HTTP server on the loopback that answers as a test says."""

import contextlib
import http.server
import threading
from collections.abc import Iterator

CONTENT = bytes(range(256)) * 1000  # 256 kB, what the server has at first


class Server(http.server.ThreadingHTTPServer):
    """Answers as its fields say. Counts the bytes it has sent and keeps the requests' Range."""

    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.content, self.tag, self.modified = CONTENT, '"v1"', ''
        self.cut_after = None  # bytes of an answer, after which the connection ends
        self.has_ranges, self.has_length, self.chunked = True, True, False
        self.status, self.location, self.range_start, self.content_range = 200, '', None, ''
        self.ranges, self.sent = [], 0

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self.server_port}/file.h5'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked, if_range = self.headers.get('Range'), self.headers.get('If-Range')
        server.ranges.append(asked)
        start = 0
        if asked and server.has_ranges and if_range in (server.tag, server.modified):
            start = int(asked.removeprefix('bytes=').removesuffix('-'))
        status = 206 if start and server.status == 200 else server.status
        self.protocol_version = 'HTTP/1.1' if server.chunked else 'HTTP/1.0'
        self.send_response(status)
        body = server.content[start:]
        for name, value in {
            'ETag': server.tag,
            'Last-Modified': server.modified,
            'Content-Range': server.content_range,
            'Location': server.location,
            'Content-Length': str(len(body)) if server.has_length and not server.chunked else '',
            'Transfer-Encoding': 'chunked' if server.chunked else '',
        }.items():
            if value:
                self.send_header(name, value)
        if status == 206:
            first = start if server.range_start is None else server.range_start
            self.send_header('Content-Range', f'bytes {first}-{len(server.content) - 1}/{len(server.content)}')
        self.end_headers()
        part = body if server.cut_after is None else body[: server.cut_after]
        server.sent += len(part)
        with contextlib.suppress(ConnectionError):
            if server.chunked:
                self.wfile.write(
                    b'%x\r\n%s\r\n' % (len(body), part) if part is body else b'%x\r\n%s' % (len(body), part)
                )
                self.wfile.write(b'0\r\n\r\n' if part is body else b'')
            else:
                self.wfile.write(part)
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    """Yields a running server."""
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield one
        one.shutdown()
        thread.join()
