"""Runs cases in drivers, and judges what became of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.hostile.sandbox import Sandbox

_LIMIT_S = 600.0  # of one driver


class Case(NamedTuple):
    """A hostile file and the command that reads it. call: see driver.py."""

    name: str  # kind/number
    call: list[str]


def run_cases(sandbox: Sandbox, cases: Sequence[Case], together: int = 100) -> list[dict]:
    """Returns {name, code, printed, faults} of each case. A case that ends its driver is a fault of its own."""
    found = []
    for start in range(0, len(cases), together):
        found += _run_some(sandbox, cases[start : start + together], start)
    return found


def _run_some(sandbox: Sandbox, cases: Sequence[Case], number: int) -> list[dict]:
    listed, results = sandbox.folder / f'cases_{number}.json', sandbox.folder / f'results_{number}.jsonl'
    listed.write_text(json.dumps([case._asdict() for case in cases]))
    results.unlink(missing_ok=True)
    faults: list[dict] = []
    while (n_done := len(_read(results))) < len(cases):
        watched = sandbox.run(['-m', 'bench.hostile.driver', str(listed), str(results)], _LIMIT_S)
        if watched.faults or watched.code:
            n_now = len(_read(results))
            name = (
                cases[n_now].name if n_now < len(cases) else f'one of {cases[n_done].name} to {cases[n_now - 1].name}'
            )
            what = watched.faults or [f'ends the process with {watched.code}: {watched.printed[-300:]}']
            faults.append({'name': name, 'faults': what})
        if len(_read(results)) < len(cases) and (watched.code or watched.code is None):
            ended = cases[len(_read(results))]
            _append(results, {'name': ended.name, 'code': 'ended', 'seconds': watched.seconds, 'printed': ''})
    rows = [row | {'faults': judge(row)} for row in _read(results)]
    return rows + [{'code': None, 'printed': ''} | fault for fault in faults]


def judge(row: dict) -> list[str]:
    """Returns what is wrong with the end of a command. A refusal is one line and an exit code other than 0."""
    printed = row['printed']
    if row['code'] == 'crash' or 'Traceback (most recent call last)' in printed:
        return [f'stack trace: {printed[-700:]}']
    if row['code'] not in (0, 1, 2, 3, 'ended'):
        return [f'exit code {row["code"]}']
    lines = [line for line in printed.splitlines() if line.strip() and 'time left' not in line]
    if row['code'] == 1 and len(lines) > 3:
        return [f'a refusal of {len(lines)} lines: {printed[-400:]}']
    if row['code'] == 1 and not lines:
        return ['a refusal without a reason']
    if row['code'] == 1 and max(map(len, lines)) > 2000:
        return [f'a line of {max(map(len, lines))} characters']
    return []


def _read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _append(results: Path, row: dict) -> None:
    with results.open('a') as file:
        file.write(json.dumps(row) + '\n')
