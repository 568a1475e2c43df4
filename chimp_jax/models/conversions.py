"""Converts weights of Keras, timm and EfficientNet-Lite0's PyTorch port to our names and layouts.

Every function returns arrays by the flat names of a DistanceModel's variables, such as
'params/encoder/backbone/stem/kernel'. The functions skip the layers of a classifier. Any other unknown layer keeps its
name, so that the caller reports it.
"""

import re

import numpy as np

_BACKBONE = 'encoder/backbone'
# Keras layers that our model does not have: the normalisation of the input and the classifier.
_KERAS_IGNORED = re.compile(r'normalization(_\d+)?|predictions|probs')
_KERAS_BLOCK = re.compile(r'(block\d+[a-z])_(\w+)')
_KERAS_LAYERS = {
    'expand_conv': 'expand',
    'expand_bn': 'expand_bn',
    'dwconv': 'depthwise',
    'bn': 'depthwise_bn',
    'se_reduce': 'se/reduce',
    'se_expand': 'se/expand',
    'project_conv': 'project',
    'project_bn': 'project_bn',
    'stem_conv': 'stem',
    'stem_bn': 'stem_bn',
    'top_conv': 'top',
    'top_bn': 'top_bn',
}
_KERAS_VARIABLES = {
    'kernel': 'params/{}/kernel',
    'depthwise_kernel': 'params/{}/kernel',
    'recurrent_kernel': 'params/{}/recurrent_kernel',
    'bias': 'params/{}/bias',
    'gamma': 'params/{}/scale',
    'beta': 'params/{}/bias',
    'moving_mean': 'batch_stats/{}/mean',
    'moving_variance': 'batch_stats/{}/var',
}
# Layers of a timm block. Blocks of the first stage have no expansion, so their other layers have lower numbers.
_TIMM_EXPANDED = {
    'conv_pw': 'expand',
    'bn1': 'expand_bn',
    'conv_dw': 'depthwise',
    'bn2': 'depthwise_bn',
    'se.conv_reduce': 'se/reduce',
    'se.conv_expand': 'se/expand',
    'conv_pwl': 'project',
    'bn3': 'project_bn',
}
_TIMM_FIRST = {
    'conv_dw': 'depthwise',
    'bn1': 'depthwise_bn',
    'se.conv_reduce': 'se/reduce',
    'se.conv_expand': 'se/expand',
    'conv_pw': 'project',
    'bn2': 'project_bn',
}
_TIMM_ENDS = {'conv_stem': 'stem', 'bn1': 'stem_bn', 'conv_head': 'top', 'bn2': 'top_bn'}
_TORCH_VARIABLES = {
    'bias': 'params/{}/bias',
    'running_mean': 'batch_stats/{}/mean',
    'running_var': 'batch_stats/{}/var',
}
# Lite0 was trained on (x - 127) / 128 of a pixel x in 0..255. Our pixels are x / 255.
LITE0_MEAN, LITE0_STD = 127.0, 128.0


def convert_keras(layers: dict[str, dict[str, np.ndarray]], head: bool = True) -> dict[str, np.ndarray]:
    """Converts B0 of keras.applications or of the package `efficientnet`, with or without LSTM and dense layers.

    head: False skips LSTM and dense layers. Raises ValueError if two layers fit one of ours, such as a second head.
    """
    blocks = sorted({match[1] for match in map(_KERAS_BLOCK.fullmatch, layers) if match})
    arrays, taken = {}, {}
    for layer, variables in layers.items():
        if not variables or _KERAS_IGNORED.fullmatch(layer):
            continue
        ours = _keras_layer(layer, variables, blocks)
        if not head and not ours.startswith(_BACKBONE):
            continue
        if taken.setdefault(ours, layer) != layer:
            raise ValueError(f'the layers {taken[ours]!r} and {layer!r} both fit {ours}; save a model with one of them')
        for variable, value in variables.items():
            name = _KERAS_VARIABLES.get(variable, '{}/' + variable).format(ours)
            if ours.endswith('/depthwise'):
                value = np.swapaxes(value, -1, -2)  # [k, k, C, 1] -> [k, k, 1, C]
            elif value.shape[:2] == (1, 1):
                value = value[0, 0]  # [1, 1, I, O] -> [I, O]
            arrays[name] = value
    return arrays


def _keras_layer(layer: str, variables: dict[str, np.ndarray], blocks: list[str]) -> str:
    """Returns our path of a layer. LSTM and dense layers are found by their weights, because their names vary."""
    match = _KERAS_BLOCK.fullmatch(layer)
    if match and match[2] in _KERAS_LAYERS:
        return f'{_BACKBONE}/block{blocks.index(match[1]):02d}/{_KERAS_LAYERS[match[2]]}'
    if layer in _KERAS_LAYERS:
        return f'{_BACKBONE}/{_KERAS_LAYERS[layer]}'
    if 'recurrent_kernel' in variables:
        return 'lstm'
    if variables.keys() == {'kernel', 'bias'} and variables['kernel'].ndim == 2:
        return 'output' if variables['kernel'].shape[1] == 1 else 'dense'
    return layer


def convert_timm(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts timm's tf_efficientnet_b0 and tf_efficientnet_lite0, which pad as TensorFlow does.

    timm's efficientnet_b0 has the same names, but pads symmetrically at stride 2 and uses epsilon 1e-5. With its
    weights our features differ slightly from timm's.
    """
    order = sorted({tuple(map(int, name.split('.')[1:3])) for name in tensors if re.match(r'blocks\.\d+\.\d+\.', name)})
    index_of = {f'blocks.{stage}.{block}': index for index, (stage, block) in enumerate(order)}
    arrays = {}
    for name, value in tensors.items():
        module, _, variable = name.rpartition('.')
        if module == 'classifier' or variable == 'num_batches_tracked':
            continue
        block, layer = '.'.join(module.split('.')[:3]), '.'.join(module.split('.')[3:])
        ours = _TIMM_ENDS.get(module)
        if block in index_of:
            ours = (_TIMM_EXPANDED if f'{block}.conv_pwl.weight' in tensors else _TIMM_FIRST).get(layer)
            ours = ours and f'block{index_of[block]:02d}/{ours}'
        arrays |= {name: value} if ours is None else _from_torch(ours, variable, value)
    return arrays


def _from_torch(ours: str, variable: str, value: np.ndarray) -> dict[str, np.ndarray]:
    """Converts one tensor of a convolution or batch norm to {our name: array in our layout}."""
    path = f'{_BACKBONE}/{ours}'
    if variable != 'weight':
        return {_TORCH_VARIABLES.get(variable, '{}/' + variable).format(path): value}
    if value.ndim == 1:
        return {f'params/{path}/scale': value}
    value = value.transpose(2, 3, 1, 0)  # [O, I, k, k] -> [k, k, I, O]; depthwise [C, 1, k, k] -> [k, k, 1, C]
    return {f'params/{path}/kernel': value[0, 0] if value.shape[:2] == (1, 1) else value}


def convert_lite0(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts EfficientNet-Lite0's PyTorch port and folds its pixel normalisation into the stem.

    The fold is exact except at the rim of one pixel that SAME pads with zeros: zero is mid-grey for Lite0 and black for
    us.
    """
    arrays: dict[str, np.ndarray] = {}

    def take(ours: str, theirs: str) -> None:
        for variable in ('weight', 'bias', 'running_mean', 'running_var'):
            if f'{theirs}.{variable}' in tensors:
                arrays.update(_from_torch(ours, variable, tensors[f'{theirs}.{variable}']))

    take('stem', '_conv_stem')
    take('stem_bn', '_bn0')
    kernel, mean = f'params/{_BACKBONE}/stem/kernel', f'batch_stats/{_BACKBONE}/stem_bn/mean'
    # (255 u - 127) / 128 differs from 255 u / 128 by a constant, which the mean of the batch norm absorbs.
    arrays[mean] = arrays[mean] + arrays[kernel].sum((0, 1, 2)) * (LITE0_MEAN / LITE0_STD)
    arrays[kernel] = arrays[kernel] * (255.0 / LITE0_STD)
    n_blocks = 1 + max(int(name.split('.')[1]) for name in tensors if name.startswith('_blocks.'))
    for i in range(n_blocks):
        ours, theirs = f'block{i:02d}', f'_blocks.{i}'
        take(f'{ours}/expand', f'{theirs}._expand_conv')
        take(f'{ours}/expand_bn', f'{theirs}._bn0')
        take(f'{ours}/depthwise', f'{theirs}._depthwise_conv')
        take(f'{ours}/depthwise_bn', f'{theirs}._bn1')
        take(f'{ours}/project', f'{theirs}._project_conv')
        take(f'{ours}/project_bn', f'{theirs}._bn2')
    take('top', '_conv_head')
    take('top_bn', '_bn1')
    return arrays
