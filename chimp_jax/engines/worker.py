"""A worker's end: runs pieces of a job on a machine that has the code and the members of the launching machine.

This file imports no JAX, because the settings of a worker must precede its import.
"""

import hashlib
import importlib
import pickle
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from etils import epath

from chimp_jax import runtime
from chimp_jax.engines import same_code
from data_prep.buckets import s3_paths
from data_prep.files import failure_line, write_json


class Work(NamedTuple):
    """What all pieces of a job share. It travels to the workers."""

    function: str  # 'module:name' of function(content, pieces), which saves its results where all machines find them
    content: bytes  # pickled, as the pieces are: reading them imports JAX, and with other code it may fail
    code: Mapping[str, str]  # of same_code.describe_code on the launching machine
    reports: str  # folder that all machines reach


def do_pieces(work: Work, pieces: Sequence[bytes]) -> None:
    """Runs pickled pieces. If this machine cannot, such as without the members, it reports the reason and does none.

    Raises OSError or guard.WorkerError if the machine is at fault: then the engine may try the pieces elsewhere.
    """
    s3_paths.connect([work.reports])
    if difference := same_code.difference(same_code.describe_code(), work.code):
        _refuse(work, f'{difference}; install the same versions on all machines')
        return
    runtime.configure_worker()
    module, name = work.function.split(':')
    try:
        call = getattr(importlib.import_module(module), name)
        call(pickle.loads(work.content), [pickle.loads(piece) for piece in pieces])
    except ValueError as error:
        _refuse(work, failure_line(error))


def _refuse(work: Work, reason: str) -> None:
    """Saves a reason why pieces were not done. Equal reasons of one machine are one file."""
    host = socket.gethostname()
    name = hashlib.sha256(f'{host}\n{reason}'.encode()).hexdigest()[:20]
    write_json(epath.Path(work.reports) / f'{name}.json', {'host': host, 'reason': reason})
