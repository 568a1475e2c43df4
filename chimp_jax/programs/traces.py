"""Traces of programs, kept beside the compiled programs.

A compiled program in JAX's cache is found by what tracing gives, so each start traces the network again: a second of a
core for B0, more than reading the compiled program takes. A kept trace is found by what determines it: this project's
code, the versions of JAX and Flax, the devices, the settings, and the shapes of the arguments.

On a CPU only. On an accelerator a second does not matter, and this has not been tried there.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import flax
import jax
from etils import epath
from jax import export

from chimp_jax.programs.code import code_digest
from data_prep.files import failure_line, write_whole

FOLDER = 'traces'  # in the folder of compiled programs
_DIGEST_BYTES = 32  # the SHA-256 of the rest of a file stands before it

log = logging.getLogger(__name__)


def kept_trace(function: Callable, settings: str, devices: Sequence[jax.Device]) -> Callable:
    """Returns `function`, a result of jax.jit or parallel.py, which is traced once for all processes.

    settings: a text that is different for functions with different results, such as that of the model. devices: of the
    function. Arguments: trees of arrays, of which one at least is on the devices.
    """
    if devices[0].platform != 'cpu':
        return function
    programs: dict[str, Callable] = {}

    @functools.wraps(function)
    def call(*arguments):
        folder = jax.config.jax_compilation_cache_dir
        if not folder or not jax.config.jax_enable_compilation_cache:
            return function(*arguments)
        shapes = _shapes(arguments)
        if shapes not in programs:
            precision = jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision
            known = [code_digest(), jax.__version__, flax.__version__, precision, len(devices), settings, shapes]
            name = hashlib.sha256(json.dumps(known).encode()).hexdigest()
            path = epath.Path(folder) / FOLDER / name
            exported = _read(path) or _trace(function, arguments, path)
            programs[shapes] = jax.jit(functools.wraps(function)(lambda *arguments: exported.call(*arguments)))
        return programs[shapes](*arguments)

    return call


def _shapes(arguments: Any) -> str:
    leaves, structure = jax.tree.flatten(arguments)
    return f'{structure} {[(leaf.shape, str(leaf.dtype)) for leaf in leaves]}'


def _read(path: epath.Path) -> export.Exported | None:
    """Returns the trace in a file, None if the file is missing or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return export.deserialize(bytearray(content)) if digest == hashlib.sha256(content).digest() else None


def _trace(function: Callable, arguments: Sequence[Any], path: epath.Path) -> export.Exported:
    """Traces the function and writes the file. A disk that is full costs the next start a second, and nothing else."""
    exported = export.export(jax.jit(function))(*arguments)
    content = bytes(exported.serialize())
    try:
        write_whole(path, hashlib.sha256(content).digest() + content)
    except OSError as error:
        log.debug('a trace is not kept: %s', failure_line(error))
    return exported
