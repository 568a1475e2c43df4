"""The files that the page writes again and again: what another program wrote into one of them is not lost."""

import hashlib
import logging

from etils import epath

from data_prep.files import read_json, write_json, write_whole

log = logging.getLogger(__name__)


class WrittenFiles:
    """Writes files, and remembers their checksums in a file of its own, also for the next start."""

    def __init__(self, record):
        """record: path of the JSON with the checksum of each file by name."""
        self._record = epath.Path(record)
        self._sums: dict[str, str] = read_json(self._record) or {}

    def write(self, path, text: str) -> None:
        """Writes a file. If its content is not the last one of the page, it is kept beside it, and told.

        Raises OSError.
        """
        path, content = epath.Path(path), text.encode(errors='backslashreplace')
        before = path.read_bytes() if path.exists() else None
        if before not in (None, content) and _checksum(before) != self._sums.get(path.name):
            kept = _free_name(path)
            write_whole(kept, before)
            log.warning('%s was written by another program; its content is kept in %s', path, kept)
        if before != content:
            write_whole(path, content)
        if self._sums.get(path.name) != _checksum(content):
            self._sums[path.name] = _checksum(content)
            write_json(self._record, self._sums)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _free_name(path: epath.Path) -> epath.Path:
    number = 1
    while (kept := path.with_name(f'{path.stem}.changed-{number}{path.suffix}')).exists():
        number += 1
    return kept
