"""Weight files of others -> NumPy arrays by the names that the file uses. No code from a file is ever run.

Keras' HDF5 (both layouts), safetensors, and the PyTorch files of before 2020. `conversions` gives the arrays our
names and layouts.
"""

import collections
import io
import pickle

import h5py
import numpy as np


class PretrainedError(ValueError):
    """Starting weights that cannot be used; the message is one line for the user."""


def read_keras_h5(content: bytes, source: str) -> dict[str, dict[str, np.ndarray]]:
    """A Keras file -> {layer: {variable: array}}, for instance {'stem_conv': {'kernel': [3, 3, 3, 32]}}.

    Reads `.weights.h5` of Keras 3 (layers/.../vars/0, the layer's name in an attribute) and the legacy `.h5` of
    TensorFlow 2 (.../layer/kernel:0), weights alone or a whole saved model. Models within models are flattened. What
    an optimizer or a random generator saved is left out. Raises PretrainedError with `source` in its message.
    """
    layers: dict[str, dict[str, np.ndarray]] = collections.defaultdict(dict)
    unnamed: dict[str, list[np.ndarray]] = collections.defaultdict(list)

    def visit(path: str, item) -> None:
        parts = path.split('/')
        if not isinstance(item, h5py.Dataset) or any(part.startswith(('optimizer', 'seed_gen')) for part in parts):
            return
        if parts[-2] != 'vars':
            layers[parts[-2]][parts[-1].split(':')[0]] = item[()]
        elif 'name' not in item.parent.attrs:
            raise PretrainedError(
                f'{source} does not name its layers: it is of an early Keras 3; save it as legacy .h5'
            )
        else:
            unnamed[item.parent.attrs['name']].append(item[()])  # in the order '0', '1', ...

    try:
        with h5py.File(io.BytesIO(content)) as file:
            file.visititems(visit)
    except OSError as error:
        raise PretrainedError(f'{source} is no HDF5 file that can be read: {error}') from None
    for layer, arrays in unnamed.items():
        layers[layer] = dict(zip(_variable_names(arrays), arrays, strict=False))
    return dict(layers)


def _variable_names(arrays: list[np.ndarray]) -> tuple[str, ...]:
    """Keras 3 numbers a layer's variables; how many there are tells the kinds of layer apart that we read."""
    if len(arrays) == 4:
        return ('gamma', 'beta', 'moving_mean', 'moving_variance')
    if len(arrays) == 3:
        return ('kernel', 'recurrent_kernel', 'bias') if arrays[0].ndim == 2 else ('mean', 'variance', 'count')
    return ('kernel', 'bias')


def read_safetensors(content: bytes, source: str) -> dict[str, np.ndarray]:
    """A .safetensors file -> its tensors. Raises PretrainedError."""
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise PretrainedError(f'{source} needs: pip install safetensors (the extra `pretrained`)') from None
    try:
        return safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:
        raise PretrainedError(f'{source} is no safetensors file that can be read: {error}') from None


class _StoredTensor(collections.namedtuple('_StoredTensor', 'key dtype offset shape stride')):
    """What the pickle stream says of a tensor; its numbers follow the stream."""


class _TensorUnpickler(pickle.Unpickler):
    """Knows four names of old PyTorch files, all harmless, and refuses every other."""

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
    """Tensors of a PyTorch file of before version 1.6, with no PyTorch and no code from the file.

    The format (torch.serialization, legacy): five pickle streams (magic number, protocol, system, the state, the
    keys of the storages), then for each key an int64 count and the raw little-endian numbers.
    """
    stream = io.BytesIO(content)
    _, _, _, state, keys = (_TensorUnpickler(stream).load() for _ in range(5))
    dtypes = {tensor.key: tensor.dtype for tensor in state.values()}
    storages = {}
    for key in keys:
        (count,) = np.frombuffer(stream.read(8), '<i8')
        storages[key] = np.frombuffer(stream.read(int(count) * dtypes[key].itemsize), dtypes[key])
    return {name: _view(storages[tensor.key], tensor) for name, tensor in state.items()}


def _view(storage: np.ndarray, tensor: _StoredTensor) -> np.ndarray:
    """A copy of the tensor in C order. Strides matter: the file keeps TensorFlow's layout behind PyTorch's shapes."""
    last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride, strict=True))
    if min((*tensor.stride, tensor.offset), default=0) < 0 or last >= len(storage):
        raise PretrainedError('the weights file names numbers beyond its end; not loaded')
    strides = [step * storage.itemsize for step in tensor.stride]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()
