"""Scoring by the processes of one JAX run, such as the hosts of a TPU pod. Each uses its own devices.

The first process runs the command. The others wait for pieces, answer their share, and end with the first one. They
communicate by files beside the results, because a collective operation of JAX would time out while one process works.
"""

import atexit
import contextlib
import hmac
import itertools
import json
import logging
import os
import pickle
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from etils import epath

from chimp_jax import runtime
from chimp_jax.engines import heartbeat, same_code
from chimp_jax.engines.worker import Work, do_pieces
from data_prep.files import failure_line, write_json, write_whole
from data_prep.workers.guard import WorkerError

_POLL_S, _GRACE_S = 0.5, 5.0
_END = 'end'
_ALIVE, _LEFT = 'alive-', 'left-'

log = logging.getLogger(__name__)


def run_as_one(command: Callable[[], int], out: str) -> int:
    """Runs the command in the first process, with the help of the others. Returns the exit code of all.

    out: --out of the command; the folder OUT.processes exists during the run. If a helping process dies, the others
    answer its share. If the first one dies, JAX ends all of them. Raises ValueError if there are no processes to join,
    or if their code or packages differ; WorkerError in a helping process if the first one does not answer.
    """
    runtime.start_processes(outlive=True)
    import jax

    from chimp_jax.data import processes

    mine = {'code': dict(same_code.describe_code()), 'out': str(out), 'run': f'{time.time_ns():x}'}
    mine['key'] = secrets.token_hex()
    all_of = processes.gather(mine)
    index = jax.process_index()
    for number, theirs in enumerate(all_of):
        if difference := same_code.difference(theirs['code'], all_of[0]['code']):
            raise ValueError(f'process {number}: {difference}; install the same versions on all machines')
        if theirs['out'] != all_of[0]['out']:
            raise ValueError(
                f'process {number} has --out {theirs["out"]} and process 0 --out {all_of[0]["out"]}; give all the same'
            )
    global _run
    folder = epath.Path(f'{out}.processes') / all_of[0]['run']
    _run = _Run(folder, index, len(all_of), itertools.count(), bytes.fromhex(all_of[0]['key']), set())
    code = 1
    try:
        with heartbeat.beating(folder / f'{_ALIVE}{index}'):
            code = _lead(command) if index == 0 else _help()
    finally:
        _leave()
        if _run.lost:
            _end_alone(code)
    return code


class _Run(NamedTuple):
    """This process in a run of several."""

    folder: epath.Path  # of the files by which they communicate
    index: int
    count: int  # of processes
    rounds: Iterator[int]  # each has pieces for all processes
    key: bytes  # of the signatures; the processes alone know it
    lost: set[int]  # processes that died

    def sign(self, content: bytes) -> bytes:
        """Returns the content after its HMAC-SHA256 (32 bytes)."""
        return hmac.digest(self.key, content, 'sha256') + content

    def checked(self, signed: bytes) -> bytes:
        """Returns the content of `sign`. Raises WorkerError if no process of this run has signed it."""
        if not hmac.compare_digest(self.sign(signed[32:])[:32], signed[:32]):
            raise WorkerError(f'a file in {self.folder} was not written by this run; delete the folder')
        return signed[32:]


_run: _Run | None = None


def run_shares(work: Work, pieces: Sequence[bytes]) -> None:
    """Runs pieces on all processes that live; call it in the first one. Raises WorkerError if a process fails."""
    name = next(_run.rounds)
    living = [number for number in range(_run.count) if number not in _run.lost]
    shares = {number: list(pieces[place :: len(living)]) for place, number in enumerate(living)}
    write_whole(_run.folder / f'{name}.work', _run.sign(pickle.dumps((work, shares))))
    failures = {0: _do_share(work, shares[0])}
    for number in living[1:]:
        done = _run.folder / f'{name}.done-{number}'
        if _wait_for(number, done) is None:
            _run.lost.add(number)
            failures[number] = f'it does not answer for {heartbeat.LOST_S:.0f} s; the others do its share'
        else:
            failures[number] = done.read_text()
    told = [f'process {number}: {failure}' for number, failure in failures.items() if failure]
    if told:
        raise WorkerError('; '.join(told))


def _lead(command: Callable[[], int]) -> int:
    code = 1
    try:
        code = command()
    finally:
        write_json(_run.folder / _END, {'code': code, 'lost': sorted(_run.lost)})
    return code


def _help() -> int:
    """Answers shares until the first process ends. Returns its exit code."""
    while True:
        name = next(_run.rounds)
        asked, end = _run.folder / f'{name}.work', _run.folder / _END
        found = _wait_for(0, asked, end)
        if found is None:
            raise WorkerError(f'process 0 does not answer for {heartbeat.LOST_S:.0f} s')
        if found == end:
            return json.loads(end.read_text())['code']
        work, shares = pickle.loads(_run.checked(asked.read_bytes()))
        failure = _do_share(work, shares.get(_run.index, []))
        write_whole(_run.folder / f'{name}.done-{_run.index}', failure)


def _leave() -> None:
    """Ends the run. The first process waits for all that live, because they must write nothing after it tidies up."""
    import jax

    if _run.index == 0:
        for number in {*range(1, _run.count)} - _run.lost:
            if _wait_for(number, _run.folder / f'{_LEFT}{number}') is None:
                _run.lost.add(number)
        _run.folder.rmtree(missing_ok=True)
        with contextlib.suppress(OSError):  # another run uses the folder above
            _run.folder.parent.rmdir()
    else:
        with contextlib.suppress(OSError, ValueError):
            _run.lost.update(json.loads((_run.folder / _END).read_text())['lost'])
        with contextlib.suppress(OSError):
            write_whole(_run.folder / f'{_LEFT}{_run.index}', '')
    if not _run.lost:
        jax.distributed.shutdown()  # waits for all processes


def _end_alone(code: int) -> None:
    """Lets the end of Python end this process at once: JAX would wait for the processes that died, and fail."""

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        if _run.index == 0:
            time.sleep(_GRACE_S)  # the others fail if the first one ends before them
        os._exit(code)

    atexit.register(end)


def _do_share(work: Work, pieces: Sequence[bytes]) -> str:
    """Returns why the share was not done, '' if it was. The other processes must hear of any failure."""
    try:
        if pieces:
            do_pieces(work, pieces)
    except Exception as error:
        log.debug('%s', error, exc_info=True)
        return failure_line(error)
    return ''


def _wait_for(number: int, *paths: epath.Path) -> epath.Path | None:
    """Returns the first of the paths that exists, None if the process that shall write one of them has died."""
    heart = heartbeat.Heart(_run.folder / f'{_ALIVE}{number}')
    while True:
        for path in paths:
            if path.exists():
                return path
        if not heart.beats():
            return None
        time.sleep(_POLL_S)
