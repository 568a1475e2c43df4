"""The journal of a person's work: one JSON object a line, on the disk before the page learns that it is saved."""

import json
import logging
import os
import threading

from etils import epath

from chimp_jax.field.label.answers import is_entry
from data_prep.files import flush

NAME = 'answers.jsonl'

log = logging.getLogger(__name__)


class Journal:
    """An append-only file. The lines of all persons and all starts are in it, also those that were undone later.

    A kill or a power cut loses no line that `append` returned for. It may leave a last line without its end, which the
    next start removes.
    """

    def __init__(self, path):
        """Reads the file if it exists. Raises ValueError with file and line if a finished line is damaged."""
        self.path = epath.Path(path)
        self.entries: list[dict] = []
        self._lock = threading.Lock()
        is_new = not self.path.exists()
        if not is_new:
            self._read()
        self._file = open(self.path, 'ab')
        if is_new:
            flush(self.path.parent)

    def append(self, entry: dict) -> dict:
        """Saves an entry, and returns it with its number as `id`. Raises OSError if the disk fails or is full."""
        with self._lock:
            numbered = {'id': len(self.entries) + 1} | entry
            start = os.fstat(self._file.fileno()).st_size
            try:
                self._file.write(json.dumps(numbered).encode() + b'\n')
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                self._reopen(start)
                raise
            self.entries.append(numbered)
            return numbered

    def close(self) -> None:
        self._file.close()

    def _reopen(self, n_bytes: int) -> None:
        """Removes the part of a line that a full disk left."""
        try:
            self._file.close()
        except OSError:
            pass
        os.truncate(self.path, n_bytes)
        self._file = open(self.path, 'ab')

    def _read(self) -> None:
        content = self.path.read_bytes()
        whole, _, torn = content.rpartition(b'\n')
        if torn:
            log.info('note: the last line of %s was not finished when a run ended; it is removed', self.path)
            os.truncate(self.path, len(content) - len(torn))
        for number, line in enumerate(whole.split(b'\n') if whole else (), start=1):
            try:
                entry = json.loads(line)
                if not is_entry(entry) or entry.get('id') != number:
                    raise ValueError('an unexpected content')
            except ValueError:
                raise ValueError(
                    f'{self.path}:{number} is damaged; restore the file from a copy, or delete this line and number '
                    'the lines after it anew (id)'
                ) from None
            self.entries.append(entry)
