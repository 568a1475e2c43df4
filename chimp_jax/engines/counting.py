"""The progress of a job whose pieces other machines do: the launching machine counts the answers that appear."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from data_prep.progress import Progress
from data_prep.workers.background import repeating

POLL_S, BUCKET_POLL_S = 2.0, 30.0  # between two looks; in a bucket each costs a request for 1,000 answers


class Counts(NamedTuple):
    """How the pieces of a job are counted."""

    unit: str  # of the progress line, such as clips
    total: int | None  # units; None: those of the pieces without results
    size: Callable[[Any], tuple[int, float]]  # of a piece: its units, and its work for the time left
    finished: Callable[[Sequence[Any]], Collection[int]]  # the numbers of those pieces whose results are saved


def start_progress(counts: Counts, pending: Sequence[Any]) -> Progress:
    """Returns the progress line of a job."""
    sizes = [counts.size(piece) for piece in pending]
    n_left = sum(units for units, _ in sizes)
    total = n_left if counts.total is None else counts.total
    return Progress('', total, counts.unit, done=total - n_left, work=sum(work for _, work in sizes))


@contextlib.contextmanager
def counted(counts: Counts, pieces: Sequence[Any], progress: Progress, folder) -> Iterator[None]:
    """Advances the progress as the results of pieces appear in the folder, until the context ends."""
    known: set[int] = set()

    def look() -> None:
        with contextlib.suppress(Exception):  # a passing network error: the next look follows, and the job tells others
            new = {*counts.finished(pieces)} - known
            known.update(new)
            for number in sorted(new):
                units, work = counts.size(pieces[number])
                progress.advance(units, work=work)

    try:
        with repeating(look, BUCKET_POLL_S if '://' in str(folder) else POLL_S):
            yield
    finally:
        look()
