"""The pictures of the page: frames of clips as JPEGs, decoded in worker processes and kept in memory for a while."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from chimp_jax.field.label.survey import LabelClip
from chimp_jax.field.pictures.thumbnails import ThumbnailTask
from data_prep.archive import local_copy, size_bytes
from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_seconds
from data_prep.workers.guard import GuardedCall, WorkerDied
from data_prep.workers.local import deadline_s

WIDTH_PX = 1280
MOST_BYTES = 256 << 20  # of kept pictures
AROUND_S = 6  # seconds before and after a wanted one that are decoded ahead
_FUNCTION = 'chimp_jax.field.pictures.thumbnails:thumbnails'

Frame = tuple[int, int]  # number of the clip, second


class FrameStore:
    """Returns frames. A crash of the decoder loses one frame and not the page."""

    def __init__(self):
        self._kept: OrderedDict[Frame, bytes | str] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._now, self._ahead = _Worker(), _Worker()
        self._thread = ThreadPoolExecutor(1)
        self._wanted = 0  # the last request to decode ahead; older ones are dropped

    def get(self, clip: LabelClip, second: int) -> bytes | str:
        """Returns the JPEG of a second, or one line with the reason why it is missing."""
        found = self._find((clip.number, second))
        if found is None:
            with self._now.lock:  # another request may have decoded it meanwhile
                found = self._find((clip.number, second))
                if found is None:
                    found = self._now.decode(clip, [second])[second]
                    self._keep((clip.number, second), found)
        return found

    def ahead(self, wanted: Sequence[tuple[LabelClip, int]]) -> None:
        """Decodes seconds and those around them in the background, in this order. Earlier requests are dropped."""
        with self._lock:
            self._wanted += 1
            number = self._wanted
        self._thread.submit(self._decode_ahead, number, list(wanted))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._wanted += 1
        self._now.close()
        self._ahead.close()

    def _decode_ahead(self, number: int, wanted: list[tuple[LabelClip, int]]) -> None:
        near = [(clip, [second]) for clip, second in wanted]
        around = [
            (clip, range(max(0, second - AROUND_S), min(clip.last_s, second + AROUND_S) + 1)) for clip, second in wanted
        ]
        for clip, seconds in [*near, *around]:
            missing = [second for second in seconds if self._find((clip.number, second)) is None]
            if self._wanted != number:
                return
            if missing:
                with self._ahead.lock:
                    for second, content in self._ahead.decode(clip, missing).items():
                        self._keep((clip.number, second), content)

    def _find(self, frame: Frame) -> bytes | str | None:
        with self._lock:
            if frame in self._kept:
                self._kept.move_to_end(frame)
            return self._kept.get(frame)

    def _keep(self, frame: Frame, content: bytes | str) -> None:
        with self._lock:
            self._n_bytes += len(content) - len(self._kept.get(frame, ''))
            self._kept[frame] = content
            while self._n_bytes > MOST_BYTES and len(self._kept) > 1:
                self._n_bytes -= len(self._kept.popitem(last=False)[1])


def clip_size_px(path: str) -> tuple[int, int] | None:
    """Returns height and width of a clip after display rotation, None if it cannot be decoded. Runs in a worker."""
    try:
        with local_copy(path) as local:
            info, _ = decode_seconds(local, [0], convert=lambda *_: None)
    except (ClipError, OSError):
        return None
    return info.height_px, info.width_px


class _Worker:
    """A worker process that decodes, for one thread at a time."""

    def __init__(self):
        self.lock = threading.Lock()
        self._call = GuardedCall(_FUNCTION)
        self._closed = False

    def decode(self, clip: LabelClip, seconds: Sequence[int]) -> dict[int, bytes | str]:
        if self._closed:
            return dict.fromkeys(seconds, 'the page is closed')
        task = ThumbnailTask(clip.video_id, clip.path, dict.fromkeys(seconds, WIDTH_PX), gamma=False)
        result = self._call(task, deadline_s(1e-6 * size_bytes(clip.path)))
        if isinstance(result, WorkerDied):
            result = result.reason
        if isinstance(result, str):
            return dict.fromkeys(seconds, result)
        return {second: content for (_, second), content in result.items()}

    def close(self) -> None:
        self._closed = True
        self._call.close()
