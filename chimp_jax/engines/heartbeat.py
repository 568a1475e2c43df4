"""A file that a process rewrites as long as it lives, and how other machines see in it that it has died."""

import contextlib
import time
import uuid
from collections.abc import Iterator

from etils import epath

from data_prep.files import write_whole
from data_prep.workers.background import repeating

BEAT_S = 10.0
LOST_S = 120.0  # without a new content; a busy network may delay some


@contextlib.contextmanager
def beating(path: epath.Path) -> Iterator[None]:
    """Rewrites the file every BEAT_S seconds until the context ends."""

    def beat() -> None:
        with contextlib.suppress(Exception):  # a passing network error: the next beat follows
            write_whole(path, uuid.uuid4().hex)

    with repeating(beat, BEAT_S):
        yield


class Heart:
    """Watches the file of another process. It compares no clocks: the content must change within LOST_S."""

    def __init__(self, path: epath.Path):
        self._path, self._content = path, None
        self._changed_s = self._looked_s = time.monotonic()

    def beats(self) -> bool:
        """Returns whether the process may still live. Reads the file at most once in BEAT_S / 2 seconds."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= BEAT_S / 2:
            self._looked_s = now_s
            with contextlib.suppress(OSError):
                content = self._path.read_text()
                if content != self._content:
                    self._content, self._changed_s = content, now_s
        return now_s - self._changed_s < LOST_S
