"""The one published member of the method: its address, its download and its import.

The demo notebook of the original (deep-chimpact-winners, 3rd Place/notebook/demo.ipynb, MIT licence) names the address.
With dl=0, as there, Dropbox shows a page to a browser; with dl=1 it gives the file.
"""

import hashlib
import json
from pathlib import Path

from etils import epath

from chimp_jax.models.pretrained import cache_folder
from chimp_jax.sharing.download import DownloadError, download
from chimp_jax.sharing.importing import ImportRequest, import_member
from chimp_jax.sharing.keras_file import fault_of_start
from data_prep.files import sha256, write_json

FILE = 'model-best-f0-e026-1.3361-2.3612.h5'
URL = f'https://www.dropbox.com/s/r4zbpbjwu2x9mwj/{FILE}?dl=1'
RECIPE, FOLD = 'full-a4p50-f7s1', 0
VAL_MAE_M = 1.3361  # in the file's name: epoch 26, validation MAE and RMSE in metres
MOST_BYTES = 200_000_000  # 13.8 million float32 parameters are 55 MB; an optimizer's state would be twice as much


def fetch_published(url: str, expected_sha256: str | None) -> tuple[Path, str, bool]:
    """Returns the file in the cache folder, its SHA-256, and whether it was there already.

    expected_sha256: None accepts any. Raises DownloadError if there is no such file at the address.
    """
    path = cache_folder() / f'published-{hashlib.sha256(url.encode()).hexdigest()[:12]}' / FILE
    kept = _kept_sha256(path)
    if kept is None:
        download(url, path, MOST_BYTES, fault_of_start)
    digest = kept or sha256(path)
    if expected_sha256 is not None and digest != expected_sha256.lower():
        discard(path)
        raise DownloadError(
            f'{url}: the file has SHA-256 {digest}, not {expected_sha256.lower()}, and is deleted; give the address of '
            'the right file with --url, or the right hash with --sha256'
        )
    write_json(_note_of(path), {'url': url, 'sha256': digest})
    return path, digest, kept is not None


def import_published(path: Path, out: str, source: str) -> tuple[epath.Path, bool]:
    """Returns the folder of the published member in OUT, and whether it was there already. Raises ValueError."""
    request = ImportRequest(recipe=RECIPE, fold=FOLD, out=out, val_mae_m=VAL_MAE_M, folds='published', source=source)
    return import_member(path, request)


def discard(path: Path) -> None:
    """Deletes a fetched file, so that the next run downloads the address again."""
    _note_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _note_of(path: Path) -> Path:
    return path.with_name(f'{path.name}.json')


def _kept_sha256(path: Path) -> str | None:
    """Returns the SHA-256 of a fetched file, None if it is missing or has changed since."""
    try:
        digest = sha256(path)
        return digest if json.loads(_note_of(path).read_text())['sha256'] == digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
