"""Sides of a comparison in turn: each is a process of its own that waits for its turn, so that none runs in another's.

A side is a module of bench/ with a function NAME(options) -> work, where work() does the job once. Its process sets up,
works once to warm up, says so, and then answers each line of its standard input by working twice, with the seconds that
the second time took.
"""

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Absent(Exception):
    """A side cannot run here, for the reason that the message says."""


class Side(NamedTuple):
    """What is compared: `function` of the module bench.`module`, called with `options`; `needs` are packages."""

    name: str
    module: str
    function: str
    options: dict[str, Any] = {}
    needs: tuple[str, ...] = ()


class Worker:
    """A side's process, which sets up as soon as it is made. Raises Absent where a package is missing."""

    def __init__(self, side: Side):
        self.side = side
        missing = [name for name in side.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise Absent(f'{side.name}: {", ".join(missing)} is not installed')
        command = [sys.executable, '-m', 'bench.turns', side.module, side.function, json.dumps(side.options)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def first(self) -> dict[str, Any]:
        """Waits for the first time: its seconds, and whatever the side notes of itself.

        Raises RuntimeError with the side's last lines where it fails.
        """
        return self._answer()

    def turn(self) -> float:
        """Seconds of the work, done twice more, the second time."""
        self.process.stdin.write('go\n')
        self.process.stdin.flush()
        return self._answer()['seconds']

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)

    def _answer(self) -> dict[str, Any]:
        for line in self.process.stdout:
            if line.startswith('{"seconds"'):
                return json.loads(line)
        last = ' '.join(self.process.stderr.read().strip().splitlines()[-2:])[-300:]
        raise RuntimeError(f'{self.side.name} ended: {last}')


class Race(NamedTuple):
    """Seconds a side and round; what each noted of itself; why the sides that are missing are."""

    seconds: dict[str, list[float]]
    notes: dict[str, dict[str, Any]]
    absent: list[str]


def race(sides: list[Side], rounds: int, most_s: float = 600.0) -> Race:
    """The sides in turn; each round begins with another one. Ends after `most_s` seconds, then with fewer rounds."""
    workers, notes, absent = {}, {}, []
    for side in sides:  # they set up side by side: that is not timed
        try:
            workers[side.name] = Worker(side)
        except Absent as error:
            absent.append(str(error))
    for name in list(workers):
        try:
            notes[name] = workers[name].first()
        except RuntimeError as error:
            del workers[name]
            absent.append(str(error))
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    began, names = time.perf_counter(), list(workers)
    for number in range(rounds):
        if number and time.perf_counter() - began > most_s:
            break
        for name in names[number % len(names) :] + names[: number % len(names)] if names else ():
            seconds[name].append(workers[name].turn())
    for worker in workers.values():
        worker.stop()
    return Race(seconds, notes, absent)


def ratio(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """How many times quicker we are: the median of the rounds' ratios theirs / ours, and the least and the most."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {'ratio': statistics.median(each), 'range': [min(each), max(each)]}


def serve(work: Callable[[], dict | None]) -> None:
    """Works once, says what that took and what it notes, then twice for each line that comes."""
    began = time.perf_counter()
    note = work() or {}
    print(json.dumps({'seconds': time.perf_counter() - began} | note), flush=True)
    for _ in sys.stdin:
        work()  # untimed: while a process waits, a virtual machine's host takes back the memory that it had freed
        began = time.perf_counter()
        work()
        print(json.dumps({'seconds': time.perf_counter() - began}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('module', help='of bench/')
    parser.add_argument('function')
    parser.add_argument('options', type=json.loads, help='as JSON')
    options = parser.parse_args()
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    serve(getattr(importlib.import_module(f'bench.{options.module}'), options.function)(options.options))


if __name__ == '__main__':
    main()
