"""Runs the pieces of a job on an engine until all of them are done."""

import dataclasses
import functools
import json
import logging
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from etils import epath

from chimp_jax.engines import processes, same_code
from chimp_jax.engines.counting import Counts, counted, start_progress
from chimp_jax.engines.worker import Work
from data_prep.workers import beam
from data_prep.workers.guard import WorkerError

LOCAL = 'local'
_MOST_NAMED = 3  # reasons in one message

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the pieces run."""

    name: str
    run: Callable[[Work, Sequence[bytes]], None]  # raises if pieces are left


def choose_engine(runner: str, runner_options: Sequence[str], multihost: bool) -> Engine | None:
    """Returns the engine that the flags ask for; None for this machine alone.

    Raises ValueError if the flags do not fit each other, if Beam is missing, or if Beam does not know a flag.
    """
    if multihost:
        if runner != LOCAL:
            raise ValueError(
                f'--multihost and --runner={runner} are two ways to use several machines; give one of them'
            )
        return Engine('processes', processes.run_shares)
    if runner == LOCAL:
        return None
    options = beam.pipeline_options(runner, runner_options)
    return Engine(runner, functools.partial(_run_by_beam, options=options))


class EngineJob(NamedTuple):
    """Pieces of work without results, for an engine."""

    what: str  # names the pieces in messages
    function: str  # 'module:name' of function(content, pieces), which saves the results
    content: Any  # what all pieces share
    folder: epath.Path  # of the results; all machines must reach it
    find_pending: Callable[[], Sequence[Any]]  # returns the pieces without results
    counts: Counts


def run_pieces(engine: Engine, job: EngineJob) -> None:
    """Runs all pieces that are pending on the engine's machines, with a progress line.

    An engine that loses a worker is started again for what is left, as long as each start finishes pieces.
    Raises ValueError if a machine refuses pieces, WorkerError if the engine fails without finishing any. Results that
    were saved stay, and the next run uses them.
    """
    reports = job.folder / 'refused'
    work = Work(job.function, pickle.dumps(job.content), same_code.describe_code(), str(reports))
    pending = job.find_pending()
    with start_progress(job.counts, pending) as progress:
        while pending:
            if reports.exists():
                reports.rmtree()
            log.info('%d %s by %s', len(pending), job.what, engine.name)
            failure = None
            with counted(job.counts, pending, progress, job.folder):
                try:
                    engine.run(work, [pickle.dumps(piece) for piece in pending])
                except Exception as error:  # an engine raises errors of many types
                    failure = error
            left = job.find_pending()
            _check_refusals(reports, len(left), len(pending), job.what)
            if left and len(left) >= len(pending):
                raise WorkerError(f'{engine.name} did none of {len(left)} {job.what}: {_last_line(failure)}')
            if left:
                log.info('%s stopped (%s); starting it again', engine.name, _last_line(failure))
            pending = left


def _run_by_beam(work: Work, pieces: Sequence[bytes], options) -> None:
    from chimp_jax.engines.beam_work import DoPiece

    beam.for_each([(work, piece) for piece in pieces], DoPiece(), options)


def _check_refusals(reports: epath.Path, n_left: int, n_pieces: int, what: str) -> None:
    """Raises ValueError with the reasons for which machines refused pieces."""
    if not reports.exists():
        return
    refusals = [json.loads(path.read_text()) for path in sorted(reports.glob('*.json'))]
    reports.rmtree()
    if refusals and n_left:
        told = '; '.join(f'{refusal["host"]}: {refusal["reason"]}' for refusal in refusals[:_MOST_NAMED])
        more = f' (and {len(refusals) - _MOST_NAMED} more reasons)' if len(refusals) > _MOST_NAMED else ''
        raise ValueError(
            f'{n_left} of {n_pieces} {what} were refused by a worker: {told}{more}; the others are saved; correct this '
            'and run the same command again'
        )


def _last_line(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] if error else []
    return lines[-1] if lines else 'it told no reason'
