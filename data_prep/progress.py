"""One line of progress with an estimate of what is left, now and then."""

import time

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts clips; their work may be weighted, so that the estimate knows long ones."""

    def __init__(self, what: str, n_clips: int, work: float | None = None, n_problems: int = 0):
        self._what, self._n_clips, self._n_problems = what, n_clips, n_problems
        self._work = n_clips if work is None else work
        self._done, self._work_done = 0, 0.0
        self._started = self._shown = time.monotonic()

    def advance(self, work: float, problems: int = 0) -> None:
        """One clip is done."""
        self._done += 1
        self._work_done += work
        self._n_problems += problems
        now = time.monotonic()
        finished = self._done == self._n_clips
        if now - self._shown < _SECONDS_BETWEEN_LINES and not finished:
            return
        self._shown, elapsed_s = now, max(now - self._started, 1e-3)
        left_s = elapsed_s * max(self._work - self._work_done, 0) / self._work_done
        print(
            f'{self._what} {self._done}/{self._n_clips} clips, {self._done / elapsed_s:.1f} clips/s, '
            f'ETA {left_s:.0f} s, problems {self._n_problems}',
            flush=True,
        )
