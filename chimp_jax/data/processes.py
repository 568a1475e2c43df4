"""What the processes of one run tell each other. A run on one machine is one process."""

import json
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from data_prep import files


def write_shared(path: epath.Path, content: str | bytes) -> None:
    """Writes a whole file into a folder that all processes share: the first process does."""
    if jax.process_index() == 0:
        files.write_whole(path, content)


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
