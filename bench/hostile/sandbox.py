"""Runs programs over hostile files and notes what they must not do: write outside, start programs, open connections.

Python's audit hooks see the Python code of all processes (watched/sitecustomize.py). If strace is installed, it sees
the libraries too. A server on this machine counts the connections that a file talks a program into.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 6_000_000_000  # of all processes of a run
_WATCHED = Path(__file__).with_name('watched')
# Programs that this project and its libraries start: Python itself, and what matplotlib and platform ask.
_HARMLESS = (f'"{sys.executable}"', '/fc-list"', '/uname"')
_STRACE = ('strace', '-f', '--seccomp-bpf', '-qq', '-e', 'trace=connect,execve,execveat', '-o')


class Server:
    """Counts connections to `port` of this machine. Hostile files name it."""

    def __init__(self):
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        self.n_connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            self.n_connections += 1
            connection.close()


class Watched(NamedTuple):
    """What became of a run."""

    code: int | None  # None: it was ended because of its time or its memory
    printed: str
    faults: list[str]
    seconds: float
    peak_bytes: int


class Sandbox:
    """Runs commands that may write below `folder` only."""

    def __init__(self, folder: Path):
        self.folder, self.server = folder, Server()
        self._n_runs = 0
        for name in ('tmp', 'cache', 'home'):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def run(self, command: list[str], limit_s: float) -> Watched:
        """Runs a command of this project and returns what it did."""
        self._n_runs += 1
        log, trace = self.folder / f'log_{self._n_runs}', self.folder / f'trace_{self._n_runs}'
        log.touch()
        prefix = [*_STRACE, str(trace)] if shutil.which('strace') else []
        began, before = time.monotonic(), self.server.n_connections
        output = self.folder / f'out_{self._n_runs}'
        with output.open('wb') as file:
            process = subprocess.Popen(
                [*prefix, sys.executable, *command],
                cwd=self.folder,
                env=self._environment(log),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code, peak, fault = _wait(process, limit_s)
        faults = [fault] if fault else []
        faults += sorted({json.loads(line) for line in log.read_text().splitlines()})
        if trace.exists():
            faults += sorted(set(_traced(trace.read_text(errors='replace'))))
        if self.server.n_connections > before:
            faults.append(f'{self.server.n_connections - before} connections to the server')
        printed = output.read_text(errors='replace')
        return Watched(None if fault else code, printed, faults, time.monotonic() - began, peak)

    def _environment(self, log: Path) -> dict[str, str]:
        places = {'TMPDIR': 'tmp', 'XDG_CACHE_HOME': 'cache', 'HOME': 'home', 'MPLCONFIGDIR': 'cache'}
        return (
            os.environ
            | {name: str(self.folder / place) for name, place in places.items()}
            | {
                'PYTHONPATH': os.pathsep.join([str(_WATCHED), str(ROOT)]),
                'PYTHONDONTWRITEBYTECODE': '1',
                'HOSTILE_LOG': str(log),
                'HOSTILE_ROOTS': os.pathsep.join([str(self.folder.resolve())]),
                'TF_CPP_MIN_LOG_LEVEL': '3',
            }
        )


def _wait(process: subprocess.Popen, limit_s: float) -> tuple[int | None, int, str]:
    """Returns the exit code, the largest memory, and why the processes were ended, '' if they ended by themselves."""
    began, peak = time.monotonic(), 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(process.pid))
        late, large = time.monotonic() - began > limit_s, peak > MOST_BYTES
        if late or large:
            end_tree(process)
            return None, peak, f'hangs: not finished after {limit_s:.0f} s' if late else f'takes {peak / 1e9:.1f} GB'
        time.sleep(0.1)
    return process.returncode, peak, ''


def end_tree(process: subprocess.Popen) -> None:
    """Ends a process and its descendants, which lead process groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
    process.wait()


def tree_bytes(pid: int) -> int:
    """Returns the memory of a process and its descendants, 0 if it has ended."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def _traced(text: str) -> Iterator[str]:
    """Yields the connections and the programs that strace saw, without local sockets and this project's workers."""
    for line in text.splitlines():
        call = re.search(r'(connect|execve|execveat)\((.*)', line)
        if call is None:
            continue
        if call[1] == 'connect' and 'AF_INET' in call[2]:
            yield f'connects: {call[2][:160]}'
        elif call[1] != 'connect' and '= 0' in call[2] and not any(name in call[2] for name in _HARMLESS):
            yield f'starts: {call[2][:160]}'
