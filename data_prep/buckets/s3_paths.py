"""s3:// and gs:// paths: what etils.epath requires to use them, and what it cannot do with them.

epath uses s3:// through s3fs if EPATH_USE_TF is `false`; TensorFlow has no access to S3. It uses gs:// through gcsfs if
it is installed, else through TensorFlow. The environment carries the settings to worker processes. Credentials and the
address of another server come from where the tools of AWS and Google find them: AWS_ACCESS_KEY_ID, ~/.aws,
AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS, STORAGE_EMULATOR_HOST.
"""

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator

PREFIX, _GS = 's3://', 'gs://'
_PACKAGES = ('botocore', 's3fs')
_BLOCK_BYTES = 5 << 20  # the least that S3 takes for a part; s3fs reads 50 MiB for each header of a clip by default
_LIVE = {'use_listings_cache': False}  # a listing that is kept would hide what other machines write


def require_s3(what: str) -> None:
    """Raises ValueError if the packages for S3 are missing. what: begins the message."""
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise ValueError(f"{what} requires {' and '.join(missing)}; install the extra s3: pip install '.[s3]'")


def connect(paths: Iterable[str | None], records: str | None = None) -> None:
    """Makes the paths in buckets usable in this process and in those that it starts; does nothing without such a path.

    Call it before the first use of an epath.Path, because epath decides once how it reads buckets. Without credentials
    S3 is read anonymously. records: --out of a command that writes records.
    Raises ValueError if `records` is in S3, if the packages are missing, or if gs:// and s3:// cannot be read together.
    """
    if records and records.startswith(PREFIX):
        raise ValueError(f'--out {records}: TensorFlow cannot write records to S3; give a local folder or gs://')
    paths = [path for path in (*paths, records) if path]
    in_s3 = next((path for path in paths if path.startswith(PREFIX)), None)
    in_gs, has_gcsfs = any(path.startswith(_GS) for path in paths), importlib.util.find_spec('gcsfs') is not None
    if in_s3:
        require_s3(in_s3)
        if in_gs and not has_gcsfs:
            raise ValueError("gs:// and s3:// in one command require gcsfs; install the extra gs: pip install '.[gs]'")
    if in_s3 or (in_gs and has_gcsfs):
        os.environ['EPATH_USE_TF'] = 'false'
    if in_gs and has_gcsfs:
        _set('gcs', _LIVE)
    if in_s3:
        import fsspec.config

        settings = {'default_block_size': _BLOCK_BYTES} | _LIVE
        if 'anon' not in fsspec.config.conf.get('s3', {}) and not _has_credentials():
            settings['anon'] = True
        _set('s3', settings)


def _set(protocol: str, settings: dict) -> None:
    """Sets options of a file system, below those of the user, here and in processes that start later."""
    import fsspec.config

    whole = settings | fsspec.config.conf.get(protocol, {})
    fsspec.config.conf[protocol] = whole
    os.environ[f'FSSPEC_{protocol.upper()}'] = json.dumps(whole)


def _has_credentials() -> bool:
    import botocore.exceptions
    import botocore.session

    try:
        return botocore.session.Session().get_credentials() is not None
    except botocore.exceptions.BotoCoreError as error:
        raise ValueError(f'the settings of AWS cannot be used: {error}; correct AWS_PROFILE or ~/.aws') from None


def names_below(root: str) -> Iterator[str]:
    """Yields the paths of all objects below an s3:// folder, relative to it, sorted."""
    import fsspec

    base = root.removeprefix(PREFIX).rstrip('/') + '/'
    for path in fsspec.filesystem('s3').find(root):
        if not path.endswith('/'):  # the empty object by which some tools mark a folder
            yield path.removeprefix(base)


def object_version(path: str) -> tuple[int, str]:
    """Returns the size of an object and its ETag, which changes with its content. Raises OSError if it is missing."""
    import fsspec

    info = fsspec.filesystem('s3').info(path, refresh=True)
    return info['size'], info.get('ETag', '')


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Raises a failure of S3, of the network or of the AWS settings as an OSError in one line. Needs no packages.

    Raises ValueError for a path such as http://host/clips, for which epath has no class.
    """
    try:
        yield
    except KeyError as error:
        if not re.fullmatch('[a-z0-9+.-]+://', str(error.args[0])):
            raise
        raise ValueError(f'paths at {error.args[0]} cannot be read; give a local path, gs:// or s3://') from None
    except OSError as error:
        refusal: BaseException | None = error  # the error of s3fs lacks the server's code
        while refusal is not None and not type(refusal).__module__.startswith('botocore.'):
            refusal = refusal.__cause__
        if refusal is None:
            raise
        raise OSError(f'{error.filename or "S3"}: {" ".join(str(refusal).split())}') from None
    except Exception as error:
        if not type(error).__module__.startswith(('botocore.', 'aiobotocore.', 'aiohttp.')):
            raise
        raise ConnectionError(f'S3: {" ".join(str(error).split())}; check the network and AWS_ENDPOINT_URL') from None
