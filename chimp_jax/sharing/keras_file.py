"""Reads a Keras file of a whole model: its weights by layer, and the window that it was built for. Runs no code of it.

Three forms exist: HDF5 with weights or with a whole saved model (.h5, .weights.h5), and a zip file of Keras 3 (.keras)
with config.json and model.weights.h5. The content tells the form, not the name.
"""

import json
import zipfile
from typing import BinaryIO, NamedTuple

import h5py
import numpy as np
from etils import epath

from chimp_jax.models.weight_files import MOST_BYTES, PretrainedError, read_keras_h5
from chimp_jax.sharing.zip_entry import read_entry

HDF5, ZIP = b'\x89HDF\r\n\x1a\n', b'PK\x03\x04'
_MOST_CONFIG_BYTES = 1 << 24
_WEIGHTS, _CONFIG = 'model.weights.h5', 'config.json'


class Window(NamedTuple):
    """The input of a model: frames of height x width pixels."""

    n_frames: int
    height_px: int
    width_px: int


class KerasModel(NamedTuple):
    """What a Keras file holds."""

    layers: dict[str, dict[str, np.ndarray]]  # {layer: {variable: array}}
    window: Window | None  # None: the file has weights only, or leaves the size open


def read_keras_model(path, shapes_only: bool = False) -> KerasModel:
    """Reads a file of Keras. Raises PretrainedError, one line with the path, if it cannot be used.

    shapes_only: as of read_keras_h5.
    """
    path = epath.Path(path).expanduser()
    try:
        n_bytes = path.stat().length
        if n_bytes > MOST_BYTES:
            raise PretrainedError(
                f'{path} has {n_bytes / 1e6:.0f} MB, more than the {MOST_BYTES / 1e6:.0f} MB of the largest weights '
                'file; give another file'
            )
        with path.open('rb') as file:
            return _read_open(file, str(path), shapes_only)
    except OSError as error:
        raise PretrainedError(f'{path} cannot be read: {error.strerror or error}; give a Keras file') from None


def _read_open(file: BinaryIO, source: str, shapes_only: bool) -> KerasModel:
    start = file.read(512)
    file.seek(0)
    if fault := fault_of_start(start):
        raise PretrainedError(f'{source} is {fault}; give a Keras file: .h5, .weights.h5 or .keras')
    if start.startswith(ZIP):
        return _read_zip(file, source, shapes_only)
    return KerasModel(read_keras_h5(file, source, shapes_only), _window_of(_config_in_h5(file)))


def fault_of_start(start: bytes) -> str:
    """Returns what a file is whose content begins so, '' if it may be a Keras file."""
    if start.startswith((HDF5, ZIP)):
        return ''
    if not start:
        return 'empty'
    if start.lstrip(b'\xef\xbb\xbf \t\r\n')[:1] == b'<':
        return 'a web page'
    return 'neither an HDF5 nor a zip file'


def _read_zip(opened: BinaryIO, source: str, shapes_only: bool) -> KerasModel:
    try:
        with zipfile.ZipFile(opened) as file:
            config = _entry(file, _CONFIG, _MOST_CONFIG_BYTES, source)
            weights = _entry(file, _WEIGHTS, MOST_BYTES, source)
    except PretrainedError:
        raise
    except Exception as error:  # a damaged zip file raises almost anything
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise PretrainedError(f'{source} is not a readable .keras file: {reason}; save it again with Keras') from None
    layers = read_keras_h5(weights, f'{_WEIGHTS} in {source}', shapes_only)
    return KerasModel(layers, _window_of(config.decode(errors='replace')))


def _entry(file: zipfile.ZipFile, name: str, most_bytes: int, source: str) -> bytes:
    """Returns an entry's content. Other entries are not read, so it does not matter what they are."""
    found = [entry for entry in file.infolist() if entry.filename == name]
    if len(found) != 1:
        raise PretrainedError(f'{source} holds {name} {len(found)} times, not once; save the model again with Keras')
    if found[0].file_size > most_bytes:
        raise PretrainedError(f'{source}: {name} has {found[0].file_size / 1e6:.0f} MB, which is too much; not loaded')
    return read_entry(file, found[0])


def _config_in_h5(content: BinaryIO) -> str:
    """Returns the description of the model in a saved whole model, '' without one."""
    try:
        with h5py.File(content) as file:
            config = file.attrs.get('model_config', '')
    except Exception:  # the weights are read already; an unreadable description is as good as none
        return ''
    return config.decode(errors='replace') if isinstance(config, bytes) else str(config)


def _window_of(config: str) -> Window | None:
    """Returns the window of the first input [batch, frames, height, width, channels] that a description names."""
    try:
        parts = [json.loads(config)] if config else []
    except (ValueError, RecursionError):
        return None
    while parts:
        part = parts.pop(0)
        if isinstance(part, dict):
            for key in ('batch_shape', 'batch_input_shape'):  # Keras 3, TensorFlow 2
                shape = part.get(key)
                if isinstance(shape, list) and len(shape) == 5 and all(type(n) is int for n in shape[1:4]):
                    return Window(*shape[1:4])
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return None
