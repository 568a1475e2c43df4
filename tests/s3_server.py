"""A real S3 server on the loopback (moto's), and before it a relay that cuts or a gate that refuses."""

import hashlib
import http.client
import http.server
import socket
import threading
from contextlib import contextmanager

import pytest

pytest.importorskip('botocore', reason='requires the extra s3')
pytest.importorskip('moto', reason='requires the extra s3_test')
pytest.importorskip('flask', reason='requires the extra s3_test')

import botocore.session  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402


class Server:
    """Holds buckets. `client` has credentials; without them only public objects are readable, as on AWS."""

    def __init__(self, server: ThreadedMotoServer):
        self.address = server.get_host_and_port()
        self.url = 'http://{}:{}'.format(*self.address)
        keys = {'aws_access_key_id': 'key', 'aws_secret_access_key': 'secret'}
        self.client = botocore.session.Session().create_client(
            's3', region_name='us-east-1', endpoint_url=self.url, **keys
        )

    def put(self, bucket: str, key: str, content: bytes, public: bool = True) -> None:
        if bucket not in [each['Name'] for each in self.client.list_buckets()['Buckets']]:
            self.client.create_bucket(Bucket=bucket, ACL='public-read')
        acl = 'public-read' if public else 'private'
        self.client.put_object(Bucket=bucket, Key=key, Body=content, ACL=acl)


@contextmanager
def running():
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    try:
        yield Server(server)
    finally:
        server.stop()


def access_row(video_id: str, bucket: str, full: bytes, down: bytes, set_name: str = 'train') -> str:
    """A row of video_access_metadata.csv, in its columns' order."""
    uris = [f's3://{bucket}/{set_name}_videos{end}/{video_id}' for end in ('', '_downsampled')]
    return ','.join([video_id, *uris, *(hashlib.sha1(content).hexdigest() for content in (full, down))])


ACCESS_HEADER = 'video_id,s3_uri,downsampled_s3_uri,sha1_checksum,downsampled_sha1_checksum'


class Relay:
    """Passes connections on to a server. Cuts an answer after `cut_after` bytes, for the first `n_cuts` answers to GET.

    heads: the first lines and header lines of all requests.
    """

    def __init__(self, address: tuple[str, int], cut_after: int, n_cuts: float, gate: threading.Event | None = None):
        self._address, self._cut_after, self._n_cuts, self._gate = address, cut_after, n_cuts, gate
        self.heads: list[str] = []
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self._socket.getsockname()[1]}'
        threading.Thread(target=self._accept, daemon=True).start()

    def ranges(self) -> list[str]:
        """The Range of each GET, in the order of their arrival."""
        lines = [head.split('\r\n') for head in self.heads if head.startswith('GET')]
        return [line.split(': ')[1] for head in lines for line in head if line.lower().startswith('range:')]

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._address) as server:
            while head := self._head(client):
                self.heads.append(head)
                # One request a connection to the server, so that the end of the answer is its end.
                server.sendall(head.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n').encode())
                cut = head.startswith('GET') and self._n_cuts > 0
                self._n_cuts -= cut
                self._answer(server, client, self._cut_after if cut else None)
                return

    def _answer(self, server, client, n_bytes: int | None) -> None:
        """Passes the head of the answer and `n_bytes` of its body, None for all."""
        data = b''
        while b'\r\n\r\n' not in data and (more := server.recv(1)):
            data += more
        client.sendall(data)
        sent = 0
        while data := server.recv(1 << 16):
            if n_bytes is not None and sent + len(data) > n_bytes:
                client.sendall(data[: n_bytes - sent])
                if self._gate:
                    self._gate.wait()
                return
            client.sendall(data)
            sent += len(data)

    def _head(self, client) -> str:
        data = b''
        while b'\r\n\r\n' not in data:
            more = client.recv(1)
            if not more:
                return ''
            data += more
        return data.decode()


class Gate:
    """Passes requests on to a server. If `refuse(method, path)` returns (status, code), it answers with these."""

    def __init__(self, address: tuple[str, int]):
        self.refuse = lambda method, path: None
        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), self._handler(address))
        self.url = f'http://127.0.0.1:{self._server.server_address[1]}'
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, address: tuple[str, int]):
        gate = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                if refusal := gate.refuse(self.command, self.path):
                    content = f'<Error><Code>{refusal[1]}</Code><Message>no</Message></Error>'.encode()
                    self.answer(refusal[0], [('Content-Type', 'application/xml')], content)
                    return
                server = http.client.HTTPConnection(*address)
                server.request(self.command, self.path, body, dict(self.headers))
                answer = server.getresponse()
                self.answer(answer.status, answer.getheaders(), answer.read())
                server.close()

            def answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response_only(status)
                length = dict(headers).get('Content-Length') if self.command == 'HEAD' else None
                for name, value in headers:
                    if name.lower() not in ('content-length', 'connection', 'transfer-encoding'):
                        self.send_header(name, value)
                self.send_header('Content-Length', length or str(len(content)))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = pass_on

            def log_message(self, *_) -> None:
                pass

        return Handler
