"""One progress line per command: redrawn in place on a terminal, a line every 30 s in a log."""

import io
import math
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0  # in a log
SECONDS_BETWEEN_DRAWS = 0.5  # on a terminal


class Progress:
    """Counts finished pieces of work. Shows count, rate, time left and problems.

    The pieces may differ in size: with `work`, the time left follows the work and not the count. As a context manager
    it closes the line if the work fails.
    """

    def __init__(
        self,
        what: str,
        total: int,
        unit: str = 'clips',
        *,
        done: int = 0,
        problems: int = 0,
        work: float | None = None,
        passing: bool = False,
    ):
        """what: name of the work; '' shows only 'clip 4 of 54', problems, share and time left.

        total, done: pieces. problems: known so far. work: of the pieces still to do.

        passing: for a step before the main work. The line appears only if the step takes long, and is erased at its
        end, so that the command has one line.
        """
        self._what, self._total, self._unit = what, total, unit
        self._done, self._problems, self._note = done, problems, ''
        self._by_work, self._work, self._worked = work is not None, work, 0.0
        self._started_s, self._done_before = time.monotonic(), done
        terminal = sys.stdout.isatty()
        interval_s = SECONDS_BETWEEN_DRAWS if terminal else SECONDS_BETWEEN_LINES
        self._bar = _Bar(
            desc=self._text(),
            total=work if self._by_work else total,
            initial=0 if self._by_work else done,
            file=sys.stdout if terminal else _Lines(),
            bar_format='{desc}, {share}, {about} |{bar:20}|' if terminal else '{desc}, {share}, {about}',
            mininterval=interval_s,
            delay=interval_s if passing else 0,
            leave=not passing,
            position=0,  # a bar that an interrupted run left open takes no line
            miniters=0,  # pieces may be smaller than 1
            dynamic_ncols=terminal,
            disable=total == 0,
        )

    def advance(self, count: int = 1, *, work: float = 0.0, problems: int = 0, note: str = '') -> None:
        """Adds finished pieces, their work and their problems. note: what is being worked on."""
        self._done += count
        self._problems += problems
        self._note = note
        self._worked += work
        self._bar.set_description_str(self._text(), refresh=False)
        if self._done >= self._total:
            self._bar.n = self._bar.total
            self.close()
        elif self._by_work and self._worked >= self._work:  # the last pieces are about to be counted
            self._bar.n = self._bar.total
        else:
            self._bar.update(work if self._by_work else count)

    def skip(self, count: int, *, work: float = 0.0) -> None:
        """Counts pieces that need no work in this run, such as those of an earlier one. The rate leaves them out."""
        amount = work if self._by_work else count
        if not self._bar.disable:
            self._bar.initial += amount
            self._bar.n += amount
            self._bar.last_print_n += amount
        self._worked += work
        self._done += count
        self._done_before += count
        if self._done >= self._total:
            self.close()

    def start_clock(self) -> None:
        """Forgets the time so far, in which another step prepared the work, unless pieces are finished already."""
        if self._done == self._done_before and not self._worked and not self._bar.disable:
            self._started_s = time.monotonic()
            self._bar.unpause()

    def close(self) -> None:
        """Draws the line for the last time."""
        self._bar.close()

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _text(self) -> str:
        elapsed_s = time.monotonic() - self._started_s
        here = self._done - self._done_before
        problems = [f'{self._problems} problem{"s" * (self._problems > 1)}'] if self._problems else []
        if not self._what:
            # Several pieces may be worked on at once; then none is finished for a long time.
            at = max(self._done, int(self._total * self._worked / self._work)) if self._work else self._done
            return ', '.join([f'{self._unit.removesuffix("s")} {at} of {self._total}', *problems])
        rate = [_rate_text(here / elapsed_s, self._unit)] if here and elapsed_s else []
        note = [self._note] if self._note else []
        return ', '.join([f'{self._what}: {self._done} of {self._total} {self._unit}', *note, *rate, *problems])


def format_seconds(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    if not math.isfinite(seconds):
        return 'unknown'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min {rest} s' if minutes else f'{rest} s'


def _rough(seconds: float) -> str:
    """75 -> '1 min': an estimate has no seconds above a minute."""
    return format_seconds(seconds if seconds < 60 else 60 * round(seconds / 60)).removesuffix(' 0 s')


def _rate_text(per_s: float, unit: str) -> str:
    return f'{per_s:.1f} {unit}/s' if per_s >= 0.1 else f'{3600 * per_s:.3g} {unit}/h'


class _Bar(tqdm):
    """tqdm with two more fields: `share`, in percent, and `about`, the time left in words."""

    monitor_interval = 0  # no thread: lines appear when work is done

    @property
    def format_dict(self) -> dict:
        fields = super().format_dict
        done, total, elapsed_s = fields['n'], fields['total'] or 0, fields['elapsed']
        rate = fields['rate'] or ((done - fields['initial']) / elapsed_s if elapsed_s else 0)
        if total and done >= total:
            about = f'done in {format_seconds(elapsed_s)}'
        else:
            about = f'about {_rough((total - done) / rate)} left' if rate else 'time left unknown'
        return {**fields, 'share': f'{100 * done / total if total else 100:.0f} %', 'about': about}


class _Lines(io.TextIOBase):
    """A file for tqdm that prints each state as a line of its own."""

    def write(self, text: str) -> int:
        line = text.strip()
        if line:
            print(line, flush=True)
        return len(text)
