"""Weight files are read, or refused in one line if they are damaged or contain code."""

import collections
import io
import pickle
import re
import sys
import types
import unittest.mock
import zipfile

import h5py
import numpy as np
import pytest

from chimp_jax.models import weight_files
from chimp_jax.models.weight_files import PretrainedError


def torch_pickles(describe):
    """Pickles values that PyTorch would write. Its modules are replaced by stand-ins.

    describe: makes the values from Tensor(key, n_numbers, offset, shape, stride), a tensor in a storage.
    """
    torch_utils = types.ModuleType('torch._utils')
    torch_utils._rebuild_tensor_v2 = lambda *_: None
    torch_utils._rebuild_tensor_v2.__module__ = 'torch._utils'
    torch_utils._rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    torch = types.ModuleType('torch')
    torch.FloatStorage = type('FloatStorage', (), {'__module__': 'torch'})

    class Storage:
        def __init__(self, *about):
            self.about = about

    class Tensor:
        def __init__(self, key, n_numbers, offset, shape, stride):
            self.parts = Storage(key, 'cuda:0', n_numbers), offset, shape, stride, False, {}

        def __reduce__(self):
            return torch_utils._rebuild_tensor_v2, self.parts

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ('storage', torch.FloatStorage, *value.about) if isinstance(value, Storage) else None

    stream = io.BytesIO()
    with unittest.mock.patch.dict(sys.modules, {'torch': torch, 'torch._utils': torch_utils}):
        for value in describe(Tensor):
            Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def legacy_torch_file(values, shape, stride, offset):
    """Returns one tensor in the format of old PyTorch."""
    pickles = torch_pickles(
        lambda Tensor: [
            0x1950A86A20F9469CFC6C,
            1001,
            {},
            {'w': Tensor('k', len(values), offset, shape, stride)},
            ['k'],
        ]
    )
    return pickles + np.int64(len(values)).tobytes() + np.asarray(values, '<f4').tobytes()


def zip_torch_file(state, storages, compression=zipfile.ZIP_STORED):
    """Returns a file as PyTorch writes it since 1.6. state: Tensor -> the pickled value. storages: {key: numbers}."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', compression) as file:
        file.writestr('archive/data.pkl', torch_pickles(lambda Tensor: [state(Tensor)]))
        for key, numbers in storages.items():
            file.writestr(f'archive/data/{key}', np.asarray(numbers, '<f4').tobytes())
        file.writestr('archive/version', '3\n')
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


def test_a_part_of_a_zip_file_is_read_and_the_optimizer_is_not():
    """With offset 2 and stride [1, 2], row r and column c is number 2 + r + 2 c. A scalar is the first number."""
    content = zip_torch_file(
        lambda Tensor: {
            'start_epoch': 105,
            'model': collections.OrderedDict(w=Tensor('0', 8, 2, (2, 3), (1, 2)), n=Tensor('1', 1, 0, (), ())),
            'optimizer': {'state': {0: Tensor('gone', 9, 0, (9,), (1,))}},
        },
        {'0': [0, 1, 2, 3, 4, 5, 6, 7], '1': [7]},
    )
    tensors = weight_files.read_zip_torch(content, 'model', 'x.pth')
    assert {name: array.tolist() for name, array in tensors.items()} == {'w': [[2, 4, 6], [3, 5, 7]], 'n': 7}
    assert tensors['w'].dtype == np.float32


@pytest.mark.parametrize(
    'key, offset, shape, stride, reason',
    [
        ('0', 1, (2, 2), (2, 1), 'beyond its end'),
        ('0', -1, (2,), (1,), 'beyond its end'),
        ('0', 0, (-1,), (1,), 'beyond its end'),
        ('0', 0, (50,), (0,), 'beyond its end'),  # a stride of 0 repeats a number
        ('0', 0, (10**9, 10**9), (0, 0), 'larger than the file'),
        ('1', 0, (2,), (1,), "no item named 'archive/data/1'"),
        ('../../etc/passwd', 0, (2,), (1,), 'no item named'),
        ('0', 0, (2,), (1, 1), 'not a readable PyTorch file'),
    ],
)
def test_a_zip_file_that_refers_beyond_itself_is_refused(key, offset, shape, stride, reason):
    content = zip_torch_file(lambda Tensor: {'model': {'w': Tensor(key, 3, offset, shape, stride)}}, {'0': [1, 2, 3]})
    with pytest.raises(PretrainedError, match=f'^x.pth[^\n]*{re.escape(reason)}[^\n]*$'):
        weight_files.read_zip_torch(content, 'model', 'x.pth')


def test_a_zip_file_that_grows_when_it_is_unpacked_is_refused():
    def state(Tensor):
        return {'model': {'w': Tensor('0', 100_000, 0, (3,), (1,))}}

    content = zip_torch_file(state, {'0': np.zeros(100_000)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(PretrainedError, match='^x.pth: its parts are larger than the file'):
        weight_files.read_zip_torch(content, 'model', 'x.pth')


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'<html>not found</html>', 'not a readable PyTorch file'),
        (zip_torch_file(lambda Tensor: {'model': {'w': Tensor('0', 1, 0, (1,), (1,))}}, {'0': [1]})[:-30], 'not a'),
        (zip_torch_file(lambda Tensor: {'weights': {}}, {}), "part 'model'"),
        (zip_torch_file(lambda Tensor: {'model': [1, 2]}, {}), 'not a readable'),
        (zip_torch_file(lambda Tensor: {'model': {'w': 3}}, {}), 'not a readable'),
        (zip_torch_file(lambda Tensor: {'model': {}, 'other': print}, {}), 'asks for .*print'),
    ],
)
def test_another_zip_file_is_refused(content, reason):
    with pytest.raises(PretrainedError, match=f'^x.pth[^\n]*{reason}[^\n]*$'):
        weight_files.read_zip_torch(content, 'model', 'x.pth')


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
