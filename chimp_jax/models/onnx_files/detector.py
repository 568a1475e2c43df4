"""Writes the detector (yolox.py) as an ONNX graph, node by node. Non-maximum suppression is not in the graph.

detector: frames [N, S, S, 3] uint8 RGB -> boxes [N, cells, 4] float32, scores [N, cells] float32
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from chimp_jax.models.onnx_files.nodes import OnnxGraph
from chimp_jax.models.yolox import STRIDES, grid


def detector_graph(parameters: dict[str, Any], size_px: int) -> onnx.ModelProto:
    """Returns the graph frames [N, size_px, size_px, 3] uint8 -> boxes [N, cells, 4], scores [N, cells].

    parameters: those of yolox.py, {'backbone': ..., 'head': ...}. Boxes and the order of cells are those of YoloX.
    """
    graph, head = OnnxGraph(), parameters['head']
    # Pixels are transposed as bytes, because engines are slow on float pictures of three channels.
    x = graph.node('Cast', graph.node('Transpose', 'frames', perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    maps = _pyramid(graph, parameters['backbone'], x)
    cells = [_cells(graph, head, level, x) for level, x in enumerate(maps)]
    sizes, objects, classes = (graph.node('Concat', *outputs, axis=2) for outputs in zip(*cells, strict=True))
    corners, strides = (np.asarray(array).T for array in grid(size_px, size_px))  # [2, cells], [1, cells]

    def rows(first: int) -> str:
        ends = (np.array([edge], np.int64) for edge in (first, first + 2, 1))
        return graph.node('Slice', sizes, *map(graph.constant, ends))

    middle = graph.node('Add', rows(0), graph.constant(corners))
    middle = graph.node('Mul', middle, graph.constant(strides))
    half = graph.node('Mul', graph.node('Exp', rows(2)), graph.constant(strides / 2))
    corners = graph.node('Sub', middle, half), graph.node('Add', middle, half)
    graph.node('Transpose', graph.node('Concat', *corners, axis=1), perm=[0, 2, 1], output='boxes')
    score = graph.node('Mul', *(graph.node('Sigmoid', logit) for logit in (objects, classes)))
    graph.node('Squeeze', score, graph.constant(np.array([1], np.int64)), output='scores')
    frames = helper.make_tensor_value_info('frames', TensorProto.UINT8, ['N', size_px, size_px, 3])
    n_cells = sum((size_px // stride) ** 2 for stride in STRIDES)
    boxes = helper.make_tensor_value_info('boxes', TensorProto.FLOAT, ['N', n_cells, 4])
    scores = helper.make_tensor_value_info('scores', TensorProto.FLOAT, ['N', n_cells])
    return graph.model('detector', [frames], [boxes, scores])


def _pyramid(graph: OnnxGraph, parameters: dict, x: str) -> list[str]:
    """Adds the backbone: pixels -> maps at strides 8, 16 and 32 that know of each other."""
    darknet, maps = parameters['backbone'], []
    # `focus` and the 3x3 convolution after it are one 6x6 convolution with stride 2 over the pixels.
    stem = np.asarray(darknet['stem_conv']['kernel'])
    by_pixel = stem.reshape(3, 3, 2, 2, 3, -1)  # row, column, column in 2 x 2, row in 2 x 2, colour, feature
    stem = by_pixel.transpose(0, 3, 1, 2, 4, 5).reshape(6, 6, 3, -1)
    x = _convolution(graph, darknet['stem_conv'] | {'kernel': stem}, x, stride=2, pad=2)
    for stage in (2, 3, 4, 5):
        x, layer = _convolution(graph, darknet[f'dark{stage}_0'], x, stride=2), f'dark{stage}_1'
        if stage == 5:
            x, layer = _pooled(graph, darknet[layer], x), f'dark{stage}_2'
        x = _csp(graph, darknet[layer], x, shortcut=stage != 5)
        maps.append(x)

    def joined(name: str, *parts: str) -> str:
        return _csp(graph, parameters[name], graph.node('Concat', *parts, axis=1))

    _, fine, medium, coarse = maps
    from_coarse = _convolution(graph, parameters['lateral_conv0'], coarse)
    medium = joined('C3_p4', _twice(graph, from_coarse), medium)
    from_medium = _convolution(graph, parameters['reduce_conv1'], medium)
    fine = joined('C3_p3', _twice(graph, from_medium), fine)
    medium = joined('C3_n3', _convolution(graph, parameters['bu_conv2'], fine, stride=2), from_medium)
    coarse = joined('C3_n4', _convolution(graph, parameters['bu_conv1'], medium, stride=2), from_coarse)
    return [fine, medium, coarse]


def _cells(graph: OnnxGraph, head: dict, level: int, x: str) -> list[str]:
    """Adds the head of a level: [N, C, H, W] -> offsets and log sizes [N, 4, HW], object and class [N, 1, HW] each."""
    x, branches = _convolution(graph, head[f'stems_{level}'], x), {}
    for branch in ('cls', 'reg'):
        y = x
        for number in range(2):
            y = _convolution(graph, head[f'{branch}_convs_{level}_{number}'], y)
        branches[branch] = y
    outputs = []
    for name, branch in (('reg', 'reg'), ('obj', 'reg'), ('cls', 'cls')):
        y = _convolution(graph, head[f'{name}_preds_{level}'], branches[branch], activated=False)
        outputs.append(graph.node('Reshape', y, graph.constant(np.array([0, 0, -1], np.int64))))
    return outputs


def _csp(graph: OnnxGraph, layers: dict, x: str, shortcut: bool = False) -> str:
    through, past = (_convolution(graph, layers[name], x) for name in ('conv1', 'conv2'))
    for number in range(sum(name.startswith('m_') for name in layers)):
        y = through
        for name in ('conv1', 'conv2'):
            y = _convolution(graph, layers[f'm_{number}'][name], y)
        through = graph.node('Add', through, y) if shortcut else y
    return _convolution(graph, layers['conv3'], graph.node('Concat', through, past, axis=1))


def _pooled(graph: OnnxGraph, layers: dict, x: str) -> str:
    pooled = [_convolution(graph, layers['conv1'], x)]
    for _ in range(3):  # the maximum over 5 of maxima over 5 is the maximum over 9
        pooled.append(graph.node('MaxPool', pooled[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    return _convolution(graph, layers['conv2'], graph.node('Concat', *pooled, axis=1))


def _twice(graph: OnnxGraph, x: str) -> str:
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    way = {'mode': 'nearest', 'coordinate_transformation_mode': 'asymmetric', 'nearest_mode': 'floor'}
    return graph.node('Resize', x, '', scales, **way)


def _convolution(
    graph: OnnxGraph, layer: dict, x: str, stride: int = 1, pad: int | None = None, activated: bool = True
) -> str:
    """Adds a convolution with kernel [k, k, C, F], its bias and swish. pad: zeros on each side, None for k // 2."""
    kernel, bias = (np.asarray(layer[name]) for name in ('kernel', 'bias'))
    x = graph.node(
        'Conv',
        x,
        graph.constant(kernel.transpose(3, 2, 0, 1)),
        graph.constant(bias),
        kernel_shape=kernel.shape[:2],
        strides=[stride, stride],
        pads=[kernel.shape[0] // 2 if pad is None else pad] * 4,
    )
    return graph.node('Mul', x, graph.node('Sigmoid', x)) if activated else x
