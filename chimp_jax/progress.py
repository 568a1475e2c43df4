"""One line of progress with an estimate of what is left, now and then: for logs as well as for people."""

import logging
import time

SECONDS_BETWEEN_LINES = 10.0

log = logging.getLogger(__name__)


class Progress:
    """Counts work and says how much is left, from the pace since the first piece that this process has finished.

    The first piece itself does not count: the compiler's time is in it.
    """

    def __init__(self, name: str, total: int, done: int = 0):
        self.name, self.total, self.done = name, total, done
        self._first: tuple[float, int] | None = None  # when the first piece was finished, and what was done by then
        self._said = float('-inf')

    def advance(self, count: int, what: str = '') -> None:
        """Adds finished work; prints a line if the last one is some seconds ago or all is done."""
        self.done += count
        now = time.monotonic()
        self._first = self._first or (now, self.done)
        if now - self._said < SECONDS_BETWEEN_LINES and self.done < self.total:
            return
        self._said = now
        start, start_done = self._first
        pace = (self.done - start_done) / max(now - start, 1e-9)
        left_s = (self.total - self.done) / pace if pace else float('inf')
        left_s = 0.0 if self.done >= self.total else left_s
        percent = 100 * self.done / max(self.total, 1)
        log.info('%s: %s, %.0f %% of all, ETA %s', self.name, what, percent, format_seconds(left_s))


def format_seconds(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if seconds == float('inf'):
        return 'unknown'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s' if minutes else f'{rest} s'
