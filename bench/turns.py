"""Runs the sides of a comparison in turn. Each side is a process of its own that waits for its turn.

A side is a module of bench/ with a function NAME(options) -> work; work() does the job once. Its process sets up, works
once as a warm-up and reports it. For each line of its standard input it then works twice and reports the seconds of the
second time.
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
    """A side cannot run here. The message gives the reason."""


class Side(NamedTuple):
    """One side: `function` of bench/`module`, called with `options`.

    needs: the required packages. environment: variables of its process.
    """

    name: str
    module: str
    function: str
    options: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    environment: dict[str, str] = {}


class Worker:
    """The process of a side, which sets up at once. Raises Absent if a package is missing."""

    def __init__(self, side: Side):
        self.side = side
        missing = [name for name in side.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise Absent(f'{side.name}: {", ".join(missing)} is not installed')
        command = [sys.executable, '-m', 'bench.turns', side.module, side.function, json.dumps(side.options)]
        pipe, environment = subprocess.PIPE, os.environ | side.environment
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def first(self) -> dict[str, Any]:
        """Waits for the warm-up and returns its seconds and the side's notes.

        Raises RuntimeError with the side's last lines if it fails.
        """
        return self._answer()

    def turn(self) -> float:
        """Lets the side work twice and returns the seconds of the second time."""
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
    """Seconds of each round by side, the notes of each side, and the reasons for missing sides."""

    seconds: dict[str, list[float]]
    notes: dict[str, dict[str, Any]]
    absent: list[str]


def race(sides: list[Side], rounds: int, most_s: float = 600.0) -> Race:
    """Runs the sides in turn. Each round starts with another side. No round starts after `most_s` seconds."""
    workers, notes, absent = {}, {}, []
    for side in sides:  # all sides set up in parallel, without timing
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
    """Returns the median and the range of the ratios theirs / ours of the rounds: how many times faster we are."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {'ratio': statistics.median(each), 'range': [min(each), max(each)]}


def serve(work: Callable[[], dict | None]) -> None:
    """Works once and prints its seconds and notes. Then works twice for each input line."""
    began = time.perf_counter()
    note = work() or {}
    print(json.dumps({'seconds': time.perf_counter() - began} | note), flush=True)
    for _ in sys.stdin:
        work()  # untimed: a virtual machine's host takes back the memory that a waiting process has freed
        began = time.perf_counter()
        work()
        print(json.dumps({'seconds': time.perf_counter() - began}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('module', help='module of bench/')
    parser.add_argument('function')
    parser.add_argument('options', type=json.loads, help='options as JSON')
    options = parser.parse_args()
    os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'
    os.environ['CUDA_VISIBLE_DEVICES'] = '-1'
    serve(getattr(importlib.import_module(f'bench.{options.module}'), options.function)(options.options))


if __name__ == '__main__':
    main()
