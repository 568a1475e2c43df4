"""Worker processes that may crash or hang without ending the run.

If a decoder crashes, a process pool loses the task or breaks as a whole. Here each worker is a separate process that
gets one task at a time and is replaced when it dies. Before each task the worker sets an alarm. The alarm's default
action ends the process even inside a decoder's endless loop, and even if its parent has ended. A worker that outgrows
its share of the memory is ended.
"""

import contextlib
import importlib
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from data_prep.files import failure_line
from data_prep.workers import memory

_NONE_LEFT = object()
_STARTING = object()
_LOOK_S = 0.05  # between two looks at the memory of the workers


class WorkerDied(NamedTuple):
    """The result of a task whose worker died twice, or which was not finished in time."""

    reason: str  # one line
    crashed: bool = False  # False: not finished in time


class WorkerError(Exception):
    """The function itself raised: the cause is a bug or the machine (a full disk), not the task.

    The message is one line. trace: the worker's stack trace, or ''.
    """

    def __init__(self, message: str, trace: str = ''):
        super().__init__(message)
        self.trace = trace


def run_guarded(
    function: str, tasks: Iterable[Any], n_workers: int, deadline_s: Callable[[Any], float]
) -> Iterator[tuple[Any, Any]]:
    """Yields (task, result) for each task, in the order of completion.

    If a worker crashes, its task runs once more at the end, alone: the system may have killed the worker because all
    workers together had taken the memory. If its worker crashes again, or the task is late, the result is a WorkerDied.
    function: 'module:name' of a function of one task; tasks and results travel through pipes. n_workers: fewer start if
    the memory is too small. deadline_s: returns the seconds that a task may take. Raises WorkerError if the function
    raises or a worker cannot start.
    """
    lost = []
    with contextlib.closing(_run_once(function, tasks, memory.worker_shares(n_workers), deadline_s)) as first:
        for task, result in first:
            if _crashed(result):
                lost.append(task)
            else:
                yield task, result
    with contextlib.closing(_run_once(function, lost, memory.worker_shares(1), deadline_s)) as second:
        for task, result in second:
            yield task, _twice(result)


def _run_once(
    function: str, tasks: Iterable[Any], shares: tuple[int, int], deadline_s: Callable[[Any], float]
) -> Iterator[tuple[Any, Any]]:
    """Yields (task, result) as run_guarded does, but after the first crash of a task. shares: of worker_shares."""
    n_workers, most_bytes = shares
    tasks, ended = iter(tasks), threading.Event()
    busy: dict[Any, _Worker] = {}
    idle: list[_Worker] = []
    threading.Thread(target=_watch_memory, args=(busy, most_bytes, ended), daemon=True).start()
    try:
        while True:
            while len(busy) < n_workers and (task := next(tasks, _NONE_LEFT)) is not _NONE_LEFT:
                worker = idle.pop() if idle else _Worker(function)
                worker.give(task, deadline_s(task))
                busy[worker.pipe] = worker
            if not busy:
                return
            for pipe in multiprocessing.connection.wait(list(busy)):
                worker = busy[pipe]
                result = worker.result()
                if result is _STARTING:
                    continue
                del busy[pipe]
                if isinstance(result, WorkerDied):
                    worker.end()
                else:
                    idle.append(worker)
                yield worker.task, result
    finally:
        ended.set()
        for worker in [*busy.values(), *idle]:
            worker.end()


def _watch_memory(busy: 'dict[Any, _Worker]', most_bytes: int, ended: threading.Event) -> None:
    """Ends the workers that outgrow their share: without this, the system would choose what to end."""
    while not ended.wait(_LOOK_S):
        for worker in [*busy.values()]:
            if worker.resident_bytes() > most_bytes:
                worker.end_outgrown(most_bytes)


class GuardedCall:
    """Calls function(task) for a caller whose tasks come one at a time, in one worker that is kept."""

    def __init__(self, function: str):
        self._function = function
        self._worker: _Worker | None = None

    def __call__(self, task, deadline_s: float):
        """Returns the result, or a WorkerDied after two crashes. Raises WorkerError as run_guarded does."""
        result = self._call_once(task, deadline_s)
        return _twice(self._call_once(task, deadline_s)) if _crashed(result) else result

    def _call_once(self, task, deadline_s: float):
        self._worker = self._worker or _Worker(self._function)
        self._worker.give(task, deadline_s)
        while (result := self._worker.result()) is _STARTING:
            pass
        if isinstance(result, WorkerDied):
            self.close()
        return result

    def close(self) -> None:
        if self._worker:
            self._worker.end()
        self._worker = None


class _Worker:
    """The parent's end of a worker.

    A plain subprocess: multiprocessing would import the parent's main module again, and with it TensorFlow. Forking a
    process that runs JAX is not safe.
    """

    def __init__(self, function: str):
        self.pipe, theirs = multiprocessing.connection.Pipe()
        self._function = function
        self._started = False
        self._outgrown = ''  # the reason if the worker took too much memory
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    '-c',
                    f'from data_prep.workers import guard; guard.work({theirs.fileno()})',
                ],
                pass_fds=[theirs.fileno()],
                process_group=0,  # a terminal sends Ctrl-C to all processes of its group
                env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
            )

    def give(self, task, deadline_s: float) -> None:
        self.task, self._deadline_s = task, deadline_s
        # If the worker is dead already, its pipe has ended, and `result` finds that out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((self._function, task, deadline_s))

    def result(self):
        """Returns the result of the task, or _STARTING if the worker has only reported its start."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._lost()
        if kind == 'started':
            self._started = True
            return _STARTING
        if kind == 'raised':
            raise WorkerError(*value)
        return value

    def resident_bytes(self) -> int:
        return memory.resident_bytes(self._process.pid)

    def end_outgrown(self, most_bytes: int) -> None:
        """Ends the worker because of its memory: `result` tells it."""
        share = f'{most_bytes / 1e9:.1f} GB, its share of --memory (give more)'
        self._outgrown = f'its worker process took more than {share}'
        self._process.kill()

    def end(self) -> None:
        self.pipe.close()
        self._process.kill()
        self._process.wait()

    def _lost(self) -> WorkerDied:
        code = self._process.wait()
        if not self._started:
            raise WorkerError(f'a worker process did not start (exit code {code})')
        if code == -signal.SIGALRM:
            return WorkerDied(f'not finished after {self._deadline_s:.0f} s')
        if code == -signal.SIGKILL and self._outgrown:
            return WorkerDied(self._outgrown, crashed=True)
        if code == -signal.SIGKILL:
            return WorkerDied('its worker process was killed (SIGKILL), perhaps because memory ran out', crashed=True)
        how = signal.Signals(-code).name if code < 0 else f'exit code {code}'
        return WorkerDied(f'its worker process crashed ({how})', crashed=True)


def _crashed(result) -> bool:
    return isinstance(result, WorkerDied) and result.crashed


def _twice(result):
    return result._replace(reason=f'{result.reason}, twice') if _crashed(result) else result


def work(pipe_number: int) -> None:
    """Runs the worker's end: receives tasks and sends results until the parent closes the pipe."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM):  # a job scheduler sends SIGTERM to all processes; the parent acts
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the parent closes the pipe before a send
        _serve(multiprocessing.connection.Connection(pipe_number))


def _serve(pipe: multiprocessing.connection.Connection) -> None:
    pipe.send(('started', None))
    while True:
        try:
            function, task, deadline_s = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        except Exception as error:  # the task cannot be unpickled here
            pipe.send(('raised', _described(error)))
            return
        pipe.send(_answer(function, task, deadline_s))


def _end_with_parent(parent: int) -> None:
    """Ends the worker when its parent has ended: a killed run must not write beside the next run."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _answer(function: str, task, deadline_s: float) -> tuple[str, Any]:
    try:
        module, name = function.split(':')
        call = getattr(importlib.import_module(module), name)
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        return 'result', call(task)
    except Exception as error:  # the parent decides what to do
        return 'raised', _described(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _described(error: Exception) -> tuple[str, str]:
    """Returns one line, and the stack trace. A bug's line begins with the type, because its text alone says little."""
    kind = '' if isinstance(error, OSError | ValueError) else f'{type(error).__name__}: '
    return kind + failure_line(error), traceback.format_exc()
