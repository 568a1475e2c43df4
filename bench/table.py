"""Formats results of the benchmarks as Markdown and puts them between two marks of docs/performance.md."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import psutil

VERDICTS = {True: 'yes', False: '**no**', None: ''}
PACKAGES = ('jax', 'jaxlib', 'flax', 'tensorflow', 'tensorflow-cpu', 'keras', 'onnxruntime', 'openvino', 'av', 'numpy')


def machine() -> dict[str, Any]:
    """Returns the processor, cores, memory in GB, system, and the versions of the compared packages."""
    cpu = next(
        (line.split(':', 1)[1].strip() for line in _lines('/proc/cpuinfo') if line.startswith('model name')),
        platform.processor(),
    )
    flags = next((line for line in _lines('/proc/cpuinfo') if line.startswith('flags')), '').split()
    versions = {'python': platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        'cpu': cpu,
        'cores': os.cpu_count(),
        'instructions': [name for name in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16') if name in flags],
        'memory_gb': round(psutil.virtual_memory().total / 1e9, 1),
        'system': platform.platform(),
        'versions': versions,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def reached(row: dict[str, Any]) -> bool | None:
    """Returns whether the median reaches the goal; None without a goal or figure."""
    if row.get('goal') is None or row.get('value') is None:
        return None
    return row['value'] <= row['goal'] if row.get('less_is_better') else row['value'] >= row['goal']


def rows_text(rows: list[dict[str, Any]]) -> str:
    """Returns a Markdown table.

    Keys of a row: work, against, date, and either failed or value, range, unit, goal, less_is_better, note.
    """
    lines = ['| work | against | result (range) | goal | reached | measured | |', '|---|---|---|---|---|---|---|']
    for row in rows:
        day = row.get('date', '')
        if row.get('failed'):
            cells = [row['work'], row['against'], 'not measured', '', '', day, row['failed'].replace('|', '/')]
        else:
            low, high = row['range']
            result = f'{row["value"]:.2f}{row["unit"]} ({low:.2f} to {high:.2f})'
            sign = 'below' if row.get('less_is_better') else 'at least'
            goal = '' if row.get('goal') is None else f'{sign} {row["goal"]:g}{row["unit"]}'
            cells = [row['work'], row['against'], result, goal, VERDICTS[reached(row)], day, row.get('note', '')]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def machine_text(described: dict[str, Any]) -> str:
    """Returns the description of `machine` as text."""
    versions = ', '.join(f'{name} {version}' for name, version in described['versions'].items())
    return f'{processor_text(described)}, {described["memory_gb"]} GB; {described["system"]}. {versions}.'


def processor_text(described: dict[str, Any]) -> str:
    """Returns the cores and the processor of a machine, with the instructions that matter for speed."""
    return f'{described["cores"]} cores of {described["cpu"]} ({" ".join(described["instructions"])})'


def machines_text(machines: dict[str, dict[str, Any]]) -> str:
    """Returns a list of machines, each with the parts that were measured on it."""
    parts: dict[str, list[str]] = {}
    for part, described in machines.items():
        parts.setdefault(machine_text(described), []).append(part)
    return '\n'.join(f'- {", ".join(names)}: {text}' for text, names in parts.items())


def replace_section(page: str, name: str, text: str) -> str:
    """Returns the page with new text between its two marks of that name. Raises ValueError if a mark is missing."""
    begin, end = f'<!-- {name}: written by the command, do not edit -->', f'<!-- end of {name} -->'
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f'the page needs one line {begin!r} and after it one line {end!r}')
    return f'{page[: page.index(begin)]}{begin}\n{text}\n{page[page.index(end) :]}'
