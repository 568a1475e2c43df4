"""Objects of public S3 buckets: their sizes and bytes, read without credentials."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

BLOCK_BYTES = 1 << 16  # so that little is lost when a connection stalls
_CONNECT_S, _READ_S = 10, 30
_TRIES_OF_A_REQUEST = 3


class Address(NamedTuple):
    """The place of an object."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f's3://{self.bucket}/{self.key}'


class ObjectFailure(Exception):
    """An object cannot be read, whatever happens to the others; the message is one line."""


class ConnectionCut(Exception):
    """A connection ended early, or the server is busy: another try may succeed."""


class Unreachable(OSError):
    """The server does not answer at all; the message is one line."""


class PublicObjects:
    """Reads objects anonymously. Threads may share it."""

    def __init__(self, endpoint: str | None, connections: int):
        """endpoint: address of another S3 server, such as http://localhost:9000; None: as AWS's settings say.

        Raises ValueError if the endpoint is not an address, or if AWS's settings cannot be used.
        """
        import botocore.exceptions
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config

        config = Config(
            signature_version=UNSIGNED,
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            max_pool_connections=connections,
            retries={'mode': 'standard', 'max_attempts': _TRIES_OF_A_REQUEST},
            s3={'addressing_style': 'path'} if endpoint else None,  # other servers have no host per bucket
        )
        try:
            self._client = botocore.session.Session().create_client(
                's3', region_name='us-east-1', endpoint_url=endpoint, config=config
            )
        except ValueError:
            raise ValueError(f'--endpoint {endpoint!r} is not an address; write http://HOST:PORT') from None
        except botocore.exceptions.BotoCoreError as error:
            raise ValueError(f'the settings of AWS cannot be used: {error}; correct AWS_PROFILE or ~/.aws') from None

    def size_bytes(self, address: Address) -> int:
        """Raises ObjectFailure, ConnectionCut or Unreachable."""
        with _translated(address):
            return self._client.head_object(Bucket=address.bucket, Key=address.key)['ContentLength']

    def read_from(self, address: Address, start: int) -> Iterator[bytes]:
        """Yields the bytes of an object from byte `start` on, in blocks.

        Raises ObjectFailure, ConnectionCut or Unreachable.
        """
        with _translated(address):
            answer = self._client.get_object(Bucket=address.bucket, Key=address.key, Range=f'bytes={start}-')
            body = answer['Body']
            with contextlib.closing(body):
                if answer['ResponseMetadata']['HTTPStatusCode'] != 206:  # the server sends the whole object
                    _skip(body, start)
                while block := body.read(BLOCK_BYTES):
                    yield block


def _skip(body, n_bytes: int) -> None:
    while n_bytes and (block := body.read(min(n_bytes, BLOCK_BYTES))):
        n_bytes -= len(block)


@contextlib.contextmanager
def _translated(address: Address) -> Iterator[None]:
    """Raises botocore's exceptions as those of this module."""
    from botocore import exceptions
    from botocore.parsers import ResponseParserError

    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(address, error) from None
    except (
        exceptions.EndpointConnectionError,
        exceptions.ConnectTimeoutError,
        exceptions.ProxyConnectionError,
        exceptions.SSLError,
    ) as error:
        raise Unreachable(f'{address.bucket}: {" ".join(str(error).split())}') from None
    except (exceptions.HTTPClientError, exceptions.ResponseStreamingError, exceptions.IncompleteReadError) as error:
        raise ConnectionCut(' '.join(str(error).split())) from None
    except (exceptions.BotoCoreError, ResponseParserError) as error:
        raise ObjectFailure(f'{address}: {" ".join(str(error).split())}; correct the table or --endpoint') from None


def _refusal(address: Address, error) -> Exception:
    """Returns the exception for an error that the server reports."""
    status, code = error.response['ResponseMetadata'].get('HTTPStatusCode', 0), error.response['Error'].get('Code', '')
    if status in (429, 500, 502, 503, 504):
        return ConnectionCut(f'the server is busy ({status} {code})')
    if status == 404:
        return ObjectFailure(f'{address} does not exist; correct its address in the table')
    if status == 403:
        return ObjectFailure(f'{address} is missing or not public (403); correct its address in the table')
    return ObjectFailure(f'{address}: the server answers {status} {code}; correct its address in the table')
