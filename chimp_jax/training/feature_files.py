"""Kept features on disk: a file for each clip, in a folder for each backbone, beside the records.

DATA/features/STREAM-KEY/about.json    the settings and the SHA-256 of the backbone; KEY is the start of their digest
DATA/features/STREAM-KEY/CLIP.f32      SHA-256 of the rest (32 bytes), then float32 numbers; CLIP is the digest of the
                                       clip's frames and boxes

A file's name tells everything that its content depends on. So folds, recipes and later runs share the files, two runs
at once write the same content, and a file of other frames is never read by mistake. If the data folder cannot be
written, the features are kept in WORKDIR/features.
"""

import hashlib
import json
import logging

import numpy as np
from etils import epath

from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.scoring import encoding_settings
from data_prep.files import RESUME, failure_line, write_json, write_whole

FORMAT = 1  # of the files; another one if their content changes
FOLDER = 'features'
_DIGEST_BYTES = 32

log = logging.getLogger(__name__)


def describe_kept(model: DistanceModel, size_px: int, mirrored: bool, backbone_sha256: str) -> dict:
    """Returns everything that features depend on besides the records, for about.json."""
    settings = {'size_px': size_px, 'mirrored': mirrored, 'backbone_sha256': backbone_sha256}
    return {'format': FORMAT} | encoding_settings(model) | settings


def open_folder(records, workdir, stream: str, about: dict) -> epath.Path:
    """Returns the folder of the features, beside the records or, if that cannot be written, in the workdir.

    Raises OSError if neither can be written.
    """
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    name = f'{stream}-{key}'
    beside, other = epath.Path(records) / FOLDER / name, epath.Path(workdir) / FOLDER / name
    try:
        _claim(beside, about)
        return beside
    except OSError as error:
        log.info('%s; the features are kept in %s', failure_line(error), other)
    try:
        _claim(other, about)
        return other
    except OSError as error:
        raise OSError(f'no folder for the features can be written: {failure_line(error)}; {RESUME}') from None


def _claim(folder: epath.Path, about: dict) -> None:
    if not (folder / 'about.json').exists():
        write_json(folder / 'about.json', about)


def read_features(path: epath.Path, n_numbers: int) -> np.ndarray | None:
    """Returns the numbers of a file, float32 [n_numbers], None if the file is missing, damaged or half written."""
    try:
        if path.stat().length != _DIGEST_BYTES + 4 * n_numbers:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    body = memoryview(content)[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
        return None
    return np.frombuffer(body, '<f4').astype(np.float32, copy=False)


def write_features(path: epath.Path, numbers: np.ndarray) -> None:
    """Writes a whole file. Raises OSError with one line for the user."""
    body = np.ascontiguousarray(numbers, '<f4').tobytes()
    try:
        write_whole(path, hashlib.sha256(body).digest() + body)
    except OSError as error:
        raise OSError(f'the features cannot be saved: {failure_line(error)}; {RESUME}') from None
