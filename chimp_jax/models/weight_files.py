"""Reads weight files of other projects as NumPy arrays by the names in the file. Never runs code from a file.

Supported are Keras' HDF5 (both layouts), safetensors, and PyTorch files, both those from before version 1.6 and the zip
files since. conversions.py and detector_weights.py change the arrays to our names and layouts.
"""

import collections
import io
import math
import pickle
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

import h5py
import numpy as np
import safetensors.numpy

_MOST_LEVELS = 40  # of groups in groups; Keras has fewer than ten
MOST_BYTES = 1 << 30  # of a weights file, and of the arrays in it; the published model has 55 MB


class PretrainedError(ValueError):
    """Starting weights cannot be used. The message is one line for the user."""


def read_keras_h5(
    content: bytes | BinaryIO, source: str, shapes_only: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    """Reads a Keras file -> {layer: {variable: array}}, for example {'stem_conv': {'kernel': [3, 3, 3, 32]}}.

    The file is a `.weights.h5` of Keras 3 (layers/.../vars/0, with the layer's name in an attribute) or a legacy `.h5`
    of TensorFlow 2 (.../layer/kernel:0), with weights only or a whole saved model. Nested models are flattened. The
    states of optimizers and random generators are skipped. An array that lies in another file, is no array of numbers,
    or makes the sum larger than MOST_BYTES is refused before it is read. content: the file or its bytes. shapes_only:
    reads no number; the arrays are zeros that take no memory. Raises PretrainedError with `source` in its message.
    """
    layers: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    unnamed: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    place: dict[str, str] = {}  # of each layer, to find two layers of one name
    n_bytes = 0

    def take(item: h5py.Dataset) -> np.ndarray:
        nonlocal n_bytes
        if item.external or item.is_virtual:
            raise PretrainedError(f'{source}: the array {item.name} lies in another file; not loaded')
        if item.dtype.kind not in 'fiub':
            raise PretrainedError(f'{source}: {item.name} is no array of numbers; not loaded')
        n_bytes += item.nbytes
        if n_bytes > MOST_BYTES:
            raise PretrainedError(f'{source}: its arrays are larger than {MOST_BYTES / 1e6:.0f} MB; not loaded')
        return np.broadcast_to(np.zeros((), item.dtype), item.shape) if shapes_only else item[()]

    def visit(path: str, item: h5py.Dataset) -> None:
        parts = path.split('/')
        if any(part.startswith(('optimizer', 'seed_gen')) for part in parts):
            return
        layer = parts[-2] if len(parts) > 1 else path
        numbered = layer == 'vars'
        name = str(item.parent.attrs.get('name', '')) if numbered else layer
        if name and place.setdefault(name, item.parent.name) != item.parent.name:
            raise PretrainedError(f'{source} holds two layers named {name!r}; save a model with one of them')
        if not numbered:
            layers[layer][parts[-1].split(':')[0]] = take(item)
        elif not name:
            raise PretrainedError(
                f'{source} does not name its layers, because an early Keras 3 wrote it; save it as legacy .h5'
            )
        else:
            unnamed[name].append(take(item))  # in the order '0', '1', ...

    try:
        with h5py.File(io.BytesIO(content) if isinstance(content, bytes) else content) as file:
            for path, item in _arrays_below(file, source):
                visit(path, item)
    except PretrainedError:
        raise
    except Exception as error:  # a damaged file raises almost anything
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise PretrainedError(f'{source} is not a readable HDF5 file: {reason}; save or download it again') from None
    for layer, arrays in unnamed.items():
        names = [*_variable_names(arrays), *(f'array {number}' for number in range(len(arrays)))]
        layers[layer] = dict(zip(names, arrays, strict=False))  # a surplus array gets a name that fits nothing
    return dict(layers)


def _arrays_below(
    group: h5py.Group, source: str, path: str = '', seen: set[int] | None = None
) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields (path, array) of each array, once. Follows no link. Raises PretrainedError if a group lies too deep.

    h5py's own walk opens each object from the top, which takes hours for groups in groups in groups.
    """
    seen = {h5py.h5o.get_info(group.id).addr} if seen is None else seen
    if path.count('/') >= _MOST_LEVELS:
        raise PretrainedError(f'{source}: its groups lie more than {_MOST_LEVELS} levels deep; not loaded')
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        if isinstance(item, h5py.Group):
            yield from _arrays_below(item, source, f'{path}{name}/', seen)
        elif isinstance(item, h5py.Dataset):
            yield f'{path}{name}', item


def _variable_names(arrays: list[np.ndarray]) -> tuple[str, ...]:
    """Returns the names of a layer's variables, which Keras 3 only numbers. Their count gives the kind of layer."""
    if len(arrays) == 4:
        return ('gamma', 'beta', 'moving_mean', 'moving_variance')
    if len(arrays) == 3:
        return ('kernel', 'recurrent_kernel', 'bias') if arrays[0].ndim == 2 else ('mean', 'variance', 'count')
    return ('kernel', 'bias')


def read_safetensors(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Reads the tensors of a .safetensors file. Raises PretrainedError."""
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise PretrainedError(f'{source} is not a readable safetensors file: {error}') from None


class _StoredTensor(collections.namedtuple('_StoredTensor', 'key dtype offset shape stride')):
    """The description of a tensor in the pickle stream. The numbers follow after the stream."""


class _TensorUnpickler(pickle.Unpickler):
    """Accepts the four harmless names that old PyTorch files use, and refuses all others."""

    _KNOWN = {
        ('collections', 'OrderedDict'): collections.OrderedDict,
        ('torch', 'FloatStorage'): np.dtype('<f4'),
        ('torch', 'LongStorage'): np.dtype('<i8'),
        ('torch._utils', '_rebuild_tensor_v2'): lambda storage, offset, shape, stride, *_: _StoredTensor(
            *storage, offset, shape, stride
        ),
    }

    def find_class(self, module, name):
        if (module, name) not in self._KNOWN:
            raise PretrainedError(f'the weights file asks for {module}.{name}, which is not a tensor; not loaded')
        return self._KNOWN[module, name]

    def persistent_load(self, saved_id):
        _, dtype, key, *_ = saved_id
        return key, dtype


def read_legacy_torch(content: bytes) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch file from before version 1.6, without PyTorch and without code from the file.

    The format (torch.serialization, legacy) has five pickle streams (magic number, protocol, system, the state, the
    keys of the storages), then an int64 count and the raw little-endian numbers for each key.
    """
    stream = io.BytesIO(content)
    _, _, _, state, keys = (_TensorUnpickler(stream).load() for _ in range(5))
    dtypes = {tensor.key: tensor.dtype for tensor in state.values()}
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(stream.read(8), '<i8')
        storages[key] = np.frombuffer(stream.read(int(count) * dtypes[key].itemsize), dtypes[key])
    return {name: _view(storages[tensor.key], tensor) for name, tensor in state.items()}


def read_zip_torch(content: bytes, part: str, source: str) -> dict[str, np.ndarray]:
    """Reads the tensors under the key `part` of a PyTorch file, without PyTorch and without code from the file.

    The format (torch.serialization since version 1.6) is an uncompressed zip file: NAME/data.pkl, a pickle that
    describes the tensors, and NAME/data/KEY, the little-endian numbers of each storage. Storages of other parts, such
    as an optimizer's, are not read. Raises PretrainedError with `source` in its message.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if sum(entry.file_size for entry in file.infolist()) > len(content):
                raise PretrainedError('its parts are larger than the file; not loaded')
            (description,) = (name for name in file.namelist() if name.count('/') == 1 and name.endswith('/data.pkl'))
            tensors = dict(_TensorUnpickler(file.open(description)).load()[part])
            if sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors.values()) > len(content):
                raise PretrainedError('its tensors are larger than the file; not loaded')
            folder = description.removesuffix('.pkl')
            return {
                name: _view(np.frombuffer(file.read(f'{folder}/{tensor.key}'), tensor.dtype), tensor)
                for name, tensor in tensors.items()
            }
    except PretrainedError as error:
        raise PretrainedError(f'{source}: {error}') from None
    except Exception as error:  # a damaged zip file or pickle raises almost anything
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise PretrainedError(f'{source} is not a readable PyTorch file with the part {part!r}: {reason}') from None


def _view(storage: np.ndarray, tensor: _StoredTensor) -> np.ndarray:
    """Copies a tensor in C order. Strides matter: the file has TensorFlow's layout behind PyTorch's shapes."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    # A stride of 0 would repeat numbers, and a small file could fill the memory.
    if min((*tensor.shape, *tensor.stride, tensor.offset), default=0) < 0 or max(
        last + 1, math.prod(tensor.shape)
    ) > len(storage):
        raise PretrainedError('the weights file refers to numbers beyond its end; not loaded')
    strides = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
