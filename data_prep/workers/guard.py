"""Worker processes that may crash or hang without costing the run.

A process pool loses the task, or breaks as a whole, where a decoder crashes. Here each worker is a
process of its own that gets one task at a time and is replaced when it dies. Before each task it
sets itself an alarm, whose default action ends the process even inside a decoder's endless loop,
and even when its parent is gone.
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

_NONE_LEFT = object()
_STARTING = object()


class WorkerDied(NamedTuple):
    """The result of a task whose worker died; reason is one line."""

    reason: str


class WorkerError(Exception):
    """The function itself raised: the fault is ours or the machine's (a full disk)."""


def run_guarded(
    function: str, tasks: Iterable[Any], n_workers: int, deadline_s: Callable[[Any], float]
) -> Iterator[tuple[Any, Any]]:
    """(task, result) for each task, in the order of completion.

    The result is a Lost where the worker died. function: 'module:name' of a function of one task;
    tasks and results travel through pipes. deadline_s: seconds that a task may take. Raises
    WorkerError where the function raises or a worker cannot start.
    """
    tasks = iter(tasks)
    busy: dict[Any, _Worker] = {}
    idle: list[_Worker] = []
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
        for worker in [*busy.values(), *idle]:
            worker.end()


class GuardedCall:
    """The same for a caller whose tasks come one at a time: function(task), with one worker that is kept."""

    def __init__(self, function: str):
        self._function = function
        self._worker: _Worker | None = None

    def __call__(self, task, deadline_s: float):
        """Returns the result, or Lost. Raises WorkerError as run_guarded does."""
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
    """The parent's end.

    A plain subprocess: multiprocessing would import the parent's main module again, and with it
    TensorFlow, and forking a process that runs JAX is not safe.
    """

    def __init__(self, function: str):
        self.pipe, theirs = multiprocessing.connection.Pipe()
        self._function = function
        self._started = False
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    '-c',
                    f'from data_prep.workers import guard; guard.work({theirs.fileno()})',
                ],
                pass_fds=[theirs.fileno()],
                env=os.environ | {'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
            )

    def give(self, task, deadline_s: float) -> None:
        self.task, self._deadline_s = task, deadline_s
        # A worker that is dead already cannot be told; its pipe ends, and `result` says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send((self._function, task, deadline_s))

    def result(self):
        """Of the task; _STARTING where the worker only said that it has started."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            return self._lost()
        if kind == 'started':
            self._started = True
            return _STARTING
        if kind == 'raised':
            raise WorkerError(value)
        return value

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
        how = signal.Signals(-code).name if code < 0 else f'exit code {code}'
        return WorkerDied(f'its worker process crashed ({how})')


def work(pipe_number: int) -> None:
    """The worker's end: tasks in, results out, until the parent closes the pipe."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, args=[os.getppid()], daemon=True).start()
    pipe = multiprocessing.connection.Connection(pipe_number)
    pipe.send(('started', None))
    while True:
        try:
            function, task, deadline_s = pipe.recv()
        except EOFError:
            return
        except Exception:  # the task cannot be unpickled here
            pipe.send(('raised', traceback.format_exc()))
            return
        pipe.send(_answer(function, task, deadline_s))


def _end_with_parent(parent: int) -> None:
    """A killed run must not go on writing beside the next one."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _answer(function: str, task, deadline_s: float) -> tuple[str, Any]:
    try:
        module, name = function.split(':')
        call = getattr(importlib.import_module(module), name)
        signal.setitimer(signal.ITIMER_REAL, deadline_s)
        return 'result', call(task)
    except Exception:  # whatever it is, the parent decides
        return 'raised', traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
