"""The memory that a command and its workers may take, and what follows from it.

One half is for the worker processes, the other one for the process of the command: imports, a chunk of frames, weights.
The limit belongs to the process, like a limit of the shell: a command sets it once, at its start.
"""

import re
import resource
from pathlib import Path

import psutil

MEMORY = 'memory for the command and its workers, such as 4GB or 50%% (default: 80%% of what is available)'
DEFAULT_SHARE = 0.8
LEAST_BYTES = 1_500_000_000
_LEAST_OF_WORKER = 500_000_000  # a worker takes 70 MB at its start and about 250 MB for a clip of 1920 x 1080
_IMPORTS = 1_000_000_000  # JAX, TensorFlow and compiled programs in the process of the command
_UNITS = {f'{letter}{end}': 1000**power for power, letter in enumerate('KMGT', 1) for end in ('', 'B')}
_UNITS |= {f'{letter}IB': 1024**power for power, letter in enumerate('KMGT', 1)}

_FILES = {'memory': ('memory.limit_in_bytes', 'memory.usage_in_bytes'), '': ('memory.max', 'memory.current')}

_limit: list[int] = []  # of this process, at most one


def limit_to(text: str | None, least_bytes: int = LEAST_BYTES) -> None:
    """Sets the limit of this process. None: DEFAULT_SHARE of what is available.

    least_bytes: what the command requires. Raises ValueError if the text is not a size, or the size is too small to
    work with or more than the machine has.
    """
    _limit[:] = [] if text is None else [_bytes_of(text, least_bytes)]


def limit_bytes() -> int:
    if not _limit:
        _limit.append(max(LEAST_BYTES, int(DEFAULT_SHARE * available_bytes())))
    return _limit[0]


def worker_shares(n_workers: int) -> tuple[int, int]:
    """Returns how many of the wanted workers fit, at least one, and the bytes for each of them."""
    total = limit_bytes() // 2
    n_workers = max(1, min(n_workers, total // _LEAST_OF_WORKER))
    return n_workers, total // n_workers


def bytes_for(share: float) -> int:
    """Returns a share of what the process of the command has beside its imports."""
    return int(share * max(LEAST_BYTES // 4, limit_bytes() // 2 - _IMPORTS))


def resident_bytes(process: int) -> int:
    """Returns the memory that a process takes now, 0 if it has ended."""
    try:
        return psutil.Process(process).memory_info().rss
    except psutil.Error:
        return 0


def available_bytes() -> int:
    """Returns the memory that this process may still take: of the machine, its control groups and its shell."""
    free = [psutil.virtual_memory().available, *_group_headroom(Path('/proc/self/cgroup'), Path('/sys/fs/cgroup'))]
    of_shell, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(free) if of_shell == resource.RLIM_INFINITY else min(*free, of_shell)


def _group_headroom(groups: Path, root: Path) -> list[int]:
    """Returns what each control group above this process leaves, by Linux's files of version 1 or 2.

    Cached files count as free, because the system gives their memory back.
    """
    try:
        lines = [line.split(':', 2) for line in groups.read_text().splitlines()]
    except OSError:  # not Linux
        return []
    found = []
    for _, controllers, name in lines:
        if controllers not in ('', 'memory'):
            continue
        top = root / controllers
        limit, usage = _FILES[controllers]
        place = top / name.lstrip('/')
        for folder in (place, *place.parents):
            found += _headroom(folder, limit, usage)
            if folder == top:
                break
    return found


def _headroom(folder: Path, limit: str, usage: str) -> list[int]:
    try:
        most = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        cached = re.search(r'^(?:total_)?inactive_file (\d+)$', (folder / 'memory.stat').read_text(), re.MULTILINE)
    except (OSError, ValueError):  # missing, or without a limit: "max"
        return []
    return [max(0, most - used + (int(cached[1]) if cached else 0))]


def _bytes_of(text: str, least_bytes: int) -> int:
    number = re.fullmatch(r'([0-9]+(?:\.[0-9]+)?)\s*(%|[A-Za-z]+)', text.strip())
    unit = number[2].upper() if number else ''
    if unit == '%' and 0 < float(number[1]) <= 100:
        size = float(number[1]) / 100 * available_bytes()
    elif unit in _UNITS:
        size = float(number[1]) * _UNITS[unit]
    else:
        raise ValueError(f'--memory={text} is not a size; write for example 4GB or 50%')
    if size < least_bytes:
        raise ValueError(f'--memory={text} is too little; give at least {least_bytes / 1e9:g}GB')
    if size > (most := psutil.virtual_memory().total):
        raise ValueError(f'--memory={text} is more than the {most / 1e9:.1f} GB of this computer; give less')
    return int(size)
