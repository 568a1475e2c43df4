"""Communication among the processes of one run. A run on one machine is usually one process."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from data_prep import files, lock


def write_shared(path: epath.Path, content: str | bytes) -> None:
    """Writes a whole file into a folder that all processes share. The first process writes."""
    if jax.process_index() == 0:
        files.write_whole(path, content)


def clean_shared(folder: epath.Path, **which: Any) -> None:
    """Removes unfinished files of killed runs from a folder that all processes share; which: see remove_unfinished.

    The first process does it, because its own files are the only ones of this run, and it may be writing one now.
    """
    if jax.process_index() == 0:
        files.remove_unfinished(folder, **which)


@contextlib.contextmanager
def hold_shared(folder: epath.Path) -> Iterator[None]:
    """Holds a folder that all processes share. The first process holds it.

    Raises FolderInUse in every process if another run holds the folder, OSError if the lock cannot be written.
    """
    with contextlib.ExitStack() as held:
        refused, failed = '', ''
        if jax.process_index() == 0:
            try:
                held.enter_context(lock.hold(folder))
            except lock.FolderInUse as error:
                refused = str(error)
            except (OSError, ValueError) as error:
                failed = files.failure_line(error)
        refused, failed = gather([refused, failed])[0]
        if refused:
            raise lock.FolderInUse(refused)
        if failed:
            raise OSError(failed)
        yield


def gather(value: Any) -> list[Any]:
    """Returns the values of all processes, in the order of the processes. Every process must call it.

    value: numbers, texts, lists and dicts. They travel as JSON, which keeps every float32 and float64 exactly.
    """
    content = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(len(content))).reshape(-1)
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(content)] = content
    rows = multihost_utils.process_allgather(padded).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]
