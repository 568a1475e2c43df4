"""Keras files are read in all their forms. Hostile and damaged ones are refused in one line, and none is executed."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from chimp_jax.models import weight_files
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.sharing import keras_file
from chimp_jax.sharing.keras_file import Window, read_keras_model


def h5_file(write) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, 'w') as file:
        write(file)
    return stream.getvalue()


def dense(file) -> None:
    file['dense/kernel:0'] = np.ones((2, 3), np.float32)


def keras_zip(entries, compression=zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return stream.getvalue()


def refused(tmp_path, content: bytes) -> str:
    """Returns the one line with which a file of this content is refused."""
    path = tmp_path / 'x.keras'
    path.write_bytes(content)
    with pytest.raises(PretrainedError) as caught:
        read_keras_model(path)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    'shape, window',
    [
        ([None, 7, 512, 256, 3], Window(7, 512, 256)),
        ([None, None, 512, 512, 3], None),
        ([None, 512, 512, 3], None),
        (['x', 'y', 'z', 'u', 'v'], None),
        ([None, True, True, True, 3], None),
    ],
)
@pytest.mark.parametrize('key', ['batch_shape', 'batch_input_shape'])
def test_the_window_is_read_from_the_description_of_a_saved_model(tmp_path, key, shape, window):
    config = {'config': {'layers': [{'class_name': 'InputLayer', 'config': {key: shape}}]}}
    path = tmp_path / 'a.h5'

    def saved_model(file):
        file['model_weights/dense/dense/kernel:0'] = np.ones((2, 3), np.float32)
        file.attrs['model_config'] = json.dumps(config)

    path.write_bytes(h5_file(saved_model))
    found = read_keras_model(path)
    assert found.window == window and found.layers['dense']['kernel'].shape == (2, 3)


@pytest.mark.parametrize('config', ['', '{', '[' * 100_000, '3', 'null', '{"batch_shape": [1, 2, 3, 4]}'])
def test_a_description_that_cannot_be_read_is_as_good_as_none(tmp_path, config):
    path = tmp_path / 'a.keras'
    path.write_bytes(keras_zip([('config.json', config), ('model.weights.h5', h5_file(dense))]))
    found = read_keras_model(path)
    assert found.window is None and found.layers['dense']['kernel'].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_other_entries_of_a_keras_zip_are_never_touched(tmp_path):
    weights = ('model.weights.h5', h5_file(dense))
    path = tmp_path / 'deep' / 'a.keras'
    path.parent.mkdir()
    hostile = [('../../escaped.txt', 'x'), ('/tmp/escaped.txt', 'x'), ('bomb', b'0' * 10_000_000)]
    path.write_bytes(keras_zip([('config.json', '{}'), weights, *hostile], zipfile.ZIP_DEFLATED))
    assert set(read_keras_model(path).layers) == {'dense'}
    assert [found.name for found in tmp_path.rglob('*') if found.is_file()] == ['a.keras']


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'is empty'),
        (b'\n <!DOCTYPE html><html></html>', 'is a web page'),
        (b'\x80\x04\x95 a pickle', 'is neither an HDF5 nor a zip file'),
        (h5_file(dense)[:-100], 'not a readable HDF5 file'),
        (keras_zip([('config.json', '{}')]), 'holds model.weights.h5 0 times, not once'),
        (keras_zip([('config.json', '{}'), ('model.weights.h5', b'')])[:-30], 'is not a readable .keras file'),
        (keras_zip([('config.json', '{}'), ('model.weights.h5', b'no')]), 'model.weights.h5 in'),
    ],
)
def test_another_file_is_refused(tmp_path, content, reason):
    assert reason in refused(tmp_path, content)


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_an_entry_that_is_there_twice_is_refused(tmp_path):
    content = keras_zip([('config.json', '{}'), *2 * [('model.weights.h5', h5_file(dense))]])
    assert 'holds model.weights.h5 2 times, not once' in refused(tmp_path, content)


def test_entries_that_grow_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_file, 'MOST_BYTES', 1_000_000)
    weights = ('model.weights.h5', b'0' * 1_000_001)
    content = keras_zip([('config.json', '{}'), weights], zipfile.ZIP_DEFLATED)
    assert len(content) < 3000 and 'model.weights.h5 has 1 MB, which is too much' in refused(tmp_path, content)
    content = keras_zip([('config.json', ' ' * 17_000_000), ('model.weights.h5', b'')], zipfile.ZIP_DEFLATED)
    assert 'config.json has 17 MB, which is too much' in refused(tmp_path, content)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / 'x.h5'
    with path.open('wb') as file:
        file.truncate((1 << 30) + 1)  # sparse: it takes no space
    with pytest.raises(PretrainedError, match='x.h5 has 1074 MB, more than the 1074 MB of'):
        read_keras_model(path)


def test_an_array_larger_than_its_file_is_refused_before_memory_is_taken(tmp_path):
    """A chunked array without chunks has no bytes in the file and 40 TB in memory."""

    def huge(file):
        file.create_dataset('dense/kernel:0', (10**13,), 'f4', chunks=(1000,))

    content = h5_file(huge)
    assert len(content) < 10_000 and 'its arrays are larger than 1074 MB' in refused(tmp_path, content)


def test_arrays_in_other_files_are_refused(tmp_path):
    secret = tmp_path / 'secret'
    secret.write_bytes(np.arange(6, dtype=np.float32).tobytes())

    def external(file):
        file.create_dataset('dense/kernel:0', (6,), 'f4', external=[(str(secret), 0, 24)])

    assert 'the array /dense/kernel:0 lies in another file' in refused(tmp_path, h5_file(external))

    def virtual(file):
        layout = h5py.VirtualLayout((6,), 'f4')
        layout[:] = h5py.VirtualSource(str(secret), 'x', (6,))
        file.create_virtual_dataset('dense/kernel:0', layout)

    assert 'lies in another file' in refused(tmp_path, h5_file(virtual))

    def link(file):
        dense(file)
        file['dense_1'] = h5py.ExternalLink(str(secret), '/dense')
        file['dense_2'] = h5py.SoftLink('/dense')

    path = tmp_path / 'links.h5'
    path.write_bytes(h5_file(link))
    assert set(read_keras_model(path).layers) == {'dense'}  # links are not followed


def test_groups_in_groups_in_groups_are_refused(tmp_path):
    def deep(file):
        group = file
        for _ in range(3000):
            group = group.create_group('g')
        group['kernel:0'] = np.zeros(3, np.float32)

    assert 'its groups lie more than 40 levels deep' in refused(tmp_path, h5_file(deep))


def test_a_circle_of_groups_ends(tmp_path):
    def circle(file):
        dense(file)
        file['dense/up'] = file['/']
        file['again'] = file['dense']

    path = tmp_path / 'circle.h5'
    path.write_bytes(h5_file(circle))
    (arrays,) = read_keras_model(path).layers.values()
    assert set(arrays) == {'kernel'}


def test_shapes_are_known_without_the_numbers(tmp_path):
    def large(file):
        file.create_dataset('dense/kernel:0', (200_000_000,), 'f4', chunks=(1000,))

    path = tmp_path / 'large.h5'
    path.write_bytes(h5_file(large))
    array = read_keras_model(path, shapes_only=True).layers['dense']['kernel']
    assert array.shape == (200_000_000,) and array.strides == (0,)


def test_arrays_of_texts_are_refused(tmp_path):
    content = h5_file(lambda file: file.create_dataset('dense/kernel:0', data=['a', 'b'], dtype=h5py.string_dtype()))
    assert '/dense/kernel:0 is no array of numbers' in refused(tmp_path, content)


def test_surplus_arrays_of_a_numbered_layer_keep_a_name_that_fits_nothing():
    def five(file):
        for number in range(5):
            file[f'layers/x/vars/{number}'] = np.full(1, number, np.float32)
        file['layers/x/vars'].attrs['name'] = 'x'

    arrays = weight_files.read_keras_h5(h5_file(five), 'x')['x']
    assert {int(array[0]) for array in arrays.values()} == {0, 1, 2, 3, 4}
    assert weight_files.read_keras_h5(h5_file(lambda file: file.create_dataset('alone', data=[1.0])), 'x') == {
        'alone': {'alone': [1.0]}
    }
