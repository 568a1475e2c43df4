"""What a program compiled for a TPU says of itself: memory, work, and two estimates of its seconds. No measurement.

The TPU compiler writes into the program's text how many cycles it expects of each operation. Their sum, with the body
of a loop counted as often as it runs, is an estimate that sees the matrix and the vector unit; it charges nothing for
communication and nothing for an operation without a figure. `optimal_seconds` of the cost analysis is bytes over
bandwidth: a floor.
"""

import collections
import re
from collections.abc import Sequence
from typing import Any

CLOCK_HZ = 940e6  # a TPU v3 core
HBM_LIMIT_GIB = 15.5  # of the 16 GiB of a core, what a program may use

_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) \(.*\{$')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_CONSTANT = re.compile(r'%?([\w.\-]+) = s32\[\]\S* constant\((\d+)\)')
_COMPARE = re.compile(r'^ROOT .*compare\((?:\S+ )?%?[\w.\-]+, (?:\S+ )?%?([\w.\-]+)\), direction=LT')


def split_computations(text: str) -> tuple[dict[str, list[str]], str]:
    """A module's text -> ({computation: its instructions, one a line}, name of the entry computation)."""
    computations, current, entry = {}, [], ''
    for line in text.splitlines():
        if start := _COMPUTATION.match(line):
            current = computations.setdefault(start[2], [])
            entry = start[2] if start[1] else entry
        elif line.startswith('  '):
            current.append(line.strip())
    return computations, entry


def cycles_by_operation(text: str) -> collections.Counter[str]:
    """A compiled module's text -> {op_name: estimated cycles of one run of the program on one core}.

    An operation's figure counts as often as the loops around it run. Raises ValueError for a loop whose number of
    runs cannot be read.
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
    """What an operation belongs to: 'depthwise forward', 'convolution backward', 'other' …, by its op_name."""
    way = 'backward' if 'transpose(' in op_name else 'forward'
    if '/depthwise/' in op_name:
        return f'depthwise {way}'
    if re.search(r'/(stem|expand|project|top)/', op_name) and '/se/' not in op_name:
        return f'convolution {way}'
    return f'other {way}'


def estimates(compiled: Any) -> dict[str, Any]:
    """Figures of one core: GiB of HBM, FLOPs, GB moved, seconds by either estimate, cycles by part of the step.

    compiled: jax.stages.Compiled for a TPU.
    """
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    # What is donated is in the arguments and in the output, but once in memory.
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
    """Seconds a step of each recipe -> hours of all updates of all members: no validation, no reading, no compiling.

    126 steps: an epoch of the challenge's labelled rows, four folds of five, 96 an update.
    """
    return sum(step_s) * folds * epochs * steps / 3600


def _attribute(line: str, name: str) -> str:
    return re.search(rf'\b{name}=%?([\w.\-]+)', line)[1]


def _trip_count(line: str, computations: dict[str, list[str]]) -> int:
    """Runs of a loop: as the compiler notes them, or the bound of a condition `counter < constant`, counted from 0."""
    if noted := _TRIPS.search(line):
        return int(noted[1])
    condition = computations[_attribute(line, 'condition')]
    constants = dict(found.groups() for text in condition if (found := _CONSTANT.match(text)))
    for text in condition:
        compare = _COMPARE.match(text)
        if compare and compare[1] in constants:
            return int(constants[compare[1]])
    raise ValueError(f'how often does this loop run? {line[:200]}')
