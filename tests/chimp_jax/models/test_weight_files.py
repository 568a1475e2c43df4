"""Weight files are read, or refused in one line if they are damaged or contain code."""

import io
import pickle
import sys
import types
import unittest.mock

import h5py
import numpy as np
import pytest

from chimp_jax.models import weight_files
from chimp_jax.models.weight_files import PretrainedError


def legacy_torch_file(values, shape, stride, offset):
    """Returns one tensor in the format of old PyTorch, whose modules are replaced by stand-ins."""
    torch_utils = types.ModuleType('torch._utils')
    torch_utils._rebuild_tensor_v2 = lambda *_: None
    torch_utils._rebuild_tensor_v2.__module__ = 'torch._utils'
    torch_utils._rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    torch = types.ModuleType('torch')
    torch.FloatStorage = type('FloatStorage', (), {'__module__': 'torch'})

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch_utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, {})

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return (
                ('storage', torch.FloatStorage, 'k', 'cpu', len(values), None) if isinstance(value, Storage) else None
            )

    stream = io.BytesIO()
    with unittest.mock.patch.dict(sys.modules, {'torch': torch, 'torch._utils': torch_utils}):
        for value in (0x1950A86A20F9469CFC6C, 1001, {}, {'w': Tensor()}, ['k']):
            Pickler(stream, protocol=2).dump(value)
    stream.write(np.int64(len(values)).tobytes() + np.asarray(values, '<f4').tobytes())
    return stream.getvalue()


def test_strides_of_a_torch_tensor_are_followed():
    """With shape [2, 3], stride [1, 2] and offset 1, row r and column c is number 1 + r + 2 c."""
    content = legacy_torch_file([10, 11, 12, 13, 14, 15, 16], (2, 3), (1, 2), 1)
    tensors = weight_files.read_legacy_torch(content)
    assert tensors['w'].tolist() == [[11, 13, 15], [12, 14, 16]]


def test_a_tensor_beyond_its_storage_is_refused():
    with pytest.raises(PretrainedError, match='beyond its end'):
        weight_files.read_legacy_torch(legacy_torch_file([1, 2, 3], (2, 2), (2, 1), 1))


def test_a_pickle_that_asks_for_code_is_refused():
    hostile = io.BytesIO()
    for value in (1, 2, 3):
        pickle.dump(value, hostile)
    hostile.write(b'cos\nsystem\n(S"true"\ntR.')
    with pytest.raises(PretrainedError, match='os.system'):
        weight_files.read_legacy_torch(hostile.getvalue())


def keras_file(datasets, names=()):
    """Returns an HDF5 file with {path: value}; names: {group of vars: the layer's name}."""
    stream = io.BytesIO()
    with h5py.File(stream, 'w') as file:
        for path, value in datasets.items():
            file[path] = np.float32(value)
        for group, name in dict(names).items():
            file[group].attrs['name'] = name
    return stream.getvalue()


def test_keras_layouts_by_hand():
    """Reads a saved model of TensorFlow 2 with a submodel, and Keras 3's numbered variables. Skips optimizers."""
    old = {
        'model_weights/time_distributed/stem_conv/kernel:0': [1],
        'model_weights/lstm/lstm/lstm_cell_1/recurrent_kernel:0': [2],
        'optimizer_weights/Adam/stem_conv/kernel/m:0': [3],
    }
    assert weight_files.read_keras_h5(keras_file(old), 'x') == {
        'stem_conv': {'kernel': [1]},
        'lstm_cell_1': {'recurrent_kernel': [2]},
    }
    new = {f'layers/functional/layers/batch_normalization_7/vars/{i}': [i] for i in range(4)}
    new |= {f'layers/lstm/cell/vars/{i}': [[i + 4]] for i in range(3)} | {'optimizer/vars/0': [9]}
    names = {'layers/functional/layers/batch_normalization_7/vars': 'top_bn', 'layers/lstm/cell/vars': 'lstm_cell'}
    assert weight_files.read_keras_h5(keras_file(new, names), 'x') == {
        'top_bn': {'gamma': [0], 'beta': [1], 'moving_mean': [2], 'moving_variance': [3]},
        'lstm_cell': {'kernel': [[4]], 'recurrent_kernel': [[5]], 'bias': [[6]]},
    }
    with pytest.raises(PretrainedError, match='old.h5 does not name its layers'):
        weight_files.read_keras_h5(keras_file(new), 'old.h5')


@pytest.mark.parametrize(
    'read,kind', [(weight_files.read_keras_h5, 'HDF5'), (weight_files.read_safetensors, 'safetensors')]
)
def test_another_file_is_refused_in_one_line(read, kind):
    with pytest.raises(PretrainedError, match=f'^a/b.x is not a readable {kind} file: [^\n]*$'):
        read(b'<html>not found</html>', 'a/b.x')
