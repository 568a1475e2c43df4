"""Reads the compiler estimates of a program for a TPU: memory, work, and two estimates of seconds. No measurement.

The TPU compiler writes the expected cycles of each operation into the program's text. The first estimate is their
sum, with the body of a loop counted as often as it runs. It covers the matrix unit and the vector unit, but not
communication or operations without a figure. The second estimate, `optimal_seconds` of the cost analysis, is bytes over
bandwidth: a floor.
"""

import collections
import re
from collections.abc import Sequence
from typing import Any

CLOCK_HZ = 940e6  # a TPU v3 core
HBM_LIMIT_GIB = 15.5  # memory for a program, of the 16 GiB of a core

_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_CONSTANT = re.compile(r'%?([\w.\-]+) = s32\[\]\S* constant\((\d+)\)')
_COMPARE = re.compile(r'^ROOT .*compare\((?:\S+ )?%?[\w.\-]+, (?:\S+ )?%?([\w.\-]+)\), direction=LT')


def split_computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Splits a module's text into {computation: its instructions, one per line} and the entry computation's name."""
    computations, current, entry = {}, [], ''
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            current = computations.setdefault(start[2], [])
            entry = start[2] if start[1] else entry
        elif line.startswith('  '):
            current.append(line.strip())
    return computations, entry


def cycles_by_operation(text: str) -> collections.Counter[str]:
    """Returns the estimated cycles of one run on one core by op_name, from a compiled module's text.

    An operation counts as often as the loops around it run. Raises ValueError if the number of runs of a loop is
    unknown.
    """
    computations, entry = split_computations(text)
    total: collections.Counter[str] = collections.Counter()

    def add(name: str, runs: int) -> None:
        for line in computations[name]:
            if found := _CYCLES.search(line):
                op_name = _OP_NAME.search(line)
                total[op_name[1] if op_name else '(no name)'] += runs * int(found[1])
            if ' while(' in line:
                add(_attribute(line, 'body'), runs * _trip_count(line, computations))
            elif ' call(' in line:
                add(_attribute(line, 'to_apply'), runs)
            elif ' conditional(' in line:
                raise ValueError(f'which branch would run? {line[:200]}')

    add(entry, 1)
    return total


def part_of_step(op_name: str) -> str:
    """Returns the part of the step by the op_name: 'depthwise forward', 'convolution backward', 'other forward' …"""
    way = 'backward' if 'transpose(' in op_name else 'forward'
    if '/depthwise/' in op_name:
        return f'depthwise {way}'
    if re.search(r'/(stem|expand|project|top)/', op_name) and '/se/' not in op_name:
        return f'convolution {way}'
    return f'other {way}'


def estimates(compiled: Any) -> dict[str, Any]:
    """Returns the figures of one core: GiB of HBM, FLOPs, GB moved, both estimates of seconds, cycles by part.

    compiled: jax.stages.Compiled for a TPU.
    """
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    # Donated arrays are in the arguments and in the output, but only once in memory.
    used = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
    operations = cycles_by_operation(compiled.as_text())
    parts: collections.Counter[str] = collections.Counter()
    for op_name, cycles in operations.items():
        parts[part_of_step(op_name)] += cycles
    return {
        'hbm_gib': round(used / 2**30, 2),
        'fits': used / 2**30 <= HBM_LIMIT_GIB,
        'tflops': round(cost['flops'] / 1e12, 3),
        'moved_gb': round(cost['bytes accessed'] / 1e9, 1),
        'floor_s': round(cost['optimal_seconds'], 4),
        'cycles_s': round(operations.total() / CLOCK_HZ, 4),
        'cycles_s_by_part': {part: round(n / CLOCK_HZ, 4) for part, n in sorted(parts.items())},
    }


def members_hours(step_s: Sequence[float], folds: int = 5, epochs: int = 40, steps: int = 126) -> float:
    """Returns the hours of all updates of all members, without validation, reading or compiling.

    step_s: seconds per step of each recipe. An epoch of the challenge's labelled rows, four of five folds in batches of
    96, has 126 steps.
    """
    return sum(step_s) * folds * epochs * steps / 3600


def _attribute(line: str, name: str) -> str:
    return re.search(rf'\b{name}=%?([\w.\-]+)', line)[1]


def _trip_count(line: str, computations: dict[str, list[str]]) -> int:
    """Returns the number of runs of a loop, from the compiler's note or a condition `counter < constant`."""
    if noted := _TRIPS.search(line):
        return int(noted[1])
    condition = computations[_attribute(line, 'condition')]
    constants = dict(found.groups() for text in condition if (found := _CONSTANT.match(text)))
    for text in condition:
        compare = _COMPARE.match(text)
        if compare and compare[1] in constants:
            return int(constants[compare[1]])
    raise ValueError(f'how often does this loop run? {line[:200]}')
