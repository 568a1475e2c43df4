"""Writes the distance model as two ONNX graphs, node by node: backbone for frames, head for windows of features.

Each layer becomes the ONNX operator with its meaning, and a batch norm is folded into the convolution before it, so
engines use their fast kernels. An exporter that traces the JAX program would export the form for a CPU (a depthwise
convolution as 25 slices) or for a TPU. Opset 17, float32 inside.

    backbone: frames [N, S, S, 3] uint8 -> features [N, 1280] float32
              with regions: frames and boxes [N, A, 5] float32 -> tokens [N, 1 + A, 1280] float32
    head:     windows [N, T, 1280] float32 -> distance [N] float32, metres, unbounded
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from chimp_jax.models.distance_model import IMAGENET_MEAN, IMAGENET_STD, DistanceModel
from chimp_jax.models.efficientnet import BACKBONES, FEATURES, MIDDLE_STRIDE
from chimp_jax.models.onnx_files.nodes import OnnxGraph
from chimp_jax.models.onnx_files.regions import SquareMap, add_tokens
from chimp_jax.ops.depthwise import same_padding
from chimp_jax.ops.normalization import BN_EPSILON


def backbone_graph(model: DistanceModel, weights: dict[str, Any], size_px: int) -> onnx.ModelProto:
    """Returns the graph frames [N, size_px, size_px, 3] uint8 -> features [N, 1280], with running batch statistics.

    weights: {'params', 'batch_stats'} of the DistanceModel. For a model with regions the graph also has the input boxes
    [N, A, 5] (regions.py), and its output is the tokens [N, 1 + A, 1280].
    """
    graph = OnnxGraph()
    params, stats = (weights[kind]['encoder']['backbone'] for kind in ('params', 'batch_stats'))
    style = BACKBONES[model.backbone]
    # Pixels are transposed as bytes, and their scale is folded into the first kernel, because engines are slow on float
    # pictures of three channels.
    x = graph.node('Cast', graph.node('Transpose', 'frames', perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    pixel_scale = np.float32(1 / 255)
    if model.normalization == 'imagenet':  # not folded: the zeros of the padding must follow the subtraction
        x = graph.node('Sub', x, graph.constant(255 * np.float32(IMAGENET_MEAN)[:, None, None]))
        pixel_scale = pixel_scale / np.float32(IMAGENET_STD)

    def conv(x: str, kernel: np.ndarray, norm: str, size: int, stride: int, where: tuple, group: int = 1) -> str:
        """Adds a convolution with kernel [k, k, in / group, out] and folds in the batch norm `norm` of its module."""
        scale, shift = _folded(*(_at(tree, where)[norm] for tree in (params, stats)))
        _, before, after = same_padding(size, kernel.shape[0], stride)
        return graph.node(
            'Conv',
            x,
            graph.constant((kernel * scale).transpose(3, 2, 0, 1)),
            graph.constant(shift),
            kernel_shape=kernel.shape[:2],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=group,
        )

    def activation(x: str) -> str:
        if style.squeeze_excite:
            return graph.node('Mul', x, graph.node('Sigmoid', x))
        return graph.node('Clip', x, graph.constant(np.float32(0)), graph.constant(np.float32(6)))

    def gate(x: str, layers: dict) -> str:
        h = graph.node('GlobalAveragePool', x)
        for name, shape in (('reduce', activation), ('expand', lambda h: graph.node('Sigmoid', h))):
            kernel = np.asarray(layers[name]['kernel']).T[..., None, None]
            h = shape(graph.node('Conv', h, graph.constant(kernel), graph.constant(np.asarray(layers[name]['bias']))))
        return h

    def block(x: str, name: str, kernel_size: int, stride: int, size: int, skip: bool) -> str:
        layers, h = params[name], x
        if 'expand' in layers:
            h = activation(conv(h, _pointwise(layers['expand']), 'expand_bn', size, 1, (name,)))
        kernel = np.asarray(layers['depthwise']['kernel'])
        h = activation(conv(h, kernel, 'depthwise_bn', size, stride, (name,), group=kernel.shape[-1]))
        if style.squeeze_excite:
            h = graph.node('Mul', h, gate(h, layers['se']))
        h = conv(h, _pointwise(layers['project']), 'project_bn', -(-size // stride), 1, (name,))
        return graph.node('Add', x, h) if skip else h

    stem = np.asarray(params['stem']['kernel']) * np.reshape(pixel_scale, (-1, 1))
    x = activation(conv(x, stem, 'stem_bn', size_px, 2, ()))
    size, number, total_stride = -(-size_px // 2), 0, 2
    middle = SquareMap(x, size, stem.shape[-1])
    for stage in model.stages:
        for repeat in range(stage.repeats):
            stride, filters_in = (stage.stride, stage.filters_in) if repeat == 0 else (1, stage.filters_out)
            skip = stride == 1 and filters_in == stage.filters_out
            x = block(x, f'block{number:02d}', stage.kernel, stride, size, skip)
            size, number, total_stride = -(-size // stride), number + 1, total_stride * stride
            if total_stride <= MIDDLE_STRIDE:
                middle = SquareMap(x, size, stage.filters_out)
    x = activation(conv(x, _pointwise(params['top']), 'top_bn', size, 1, ()))
    features = graph.node('Flatten', graph.node('GlobalAveragePool', x), output='features')
    frames = helper.make_tensor_value_info('frames', TensorProto.UINT8, ['N', size_px, size_px, 3])
    if not model.regions:
        output = helper.make_tensor_value_info('features', TensorProto.FLOAT, ['N', FEATURES])
        return graph.model('backbone', [frames], [output])
    add_tokens(graph, features, middle, SquareMap(x, size, FEATURES), weights['params']['region_branch'])
    boxes = helper.make_tensor_value_info('boxes', TensorProto.FLOAT, ['N', 'A', 5])
    tokens = helper.make_tensor_value_info('tokens', TensorProto.FLOAT, ['N', 'P', FEATURES])
    return graph.model('backbone', [frames, boxes], [tokens])


def head_graph(weights: dict[str, Any]) -> onnx.ModelProto:
    """Returns the graph windows of features [N, T, 1280] -> distance [N], metres."""
    graph = OnnxGraph()
    params = weights['params']
    # ONNX has the gates in the order i, o, f, c, stores each kernel as [U, F], and has a bias for both products.
    kernel, recurrent, bias = (
        np.concatenate([np.split(np.asarray(params['lstm'][name]), 4, axis=-1)[k] for k in (0, 3, 1, 2)], axis=-1)
        for name in ('kernel', 'recurrent_kernel', 'bias')
    )
    units = recurrent.shape[0]
    x = graph.node('Transpose', 'windows', perm=[1, 0, 2])
    arrays = (kernel.T[None], recurrent.T[None], np.concatenate([bias, np.zeros_like(bias)])[None])
    x = graph.node('LSTM', x, *map(graph.constant, arrays), n_outputs=2, hidden_size=units)
    x = graph.node('Squeeze', x, graph.constant(np.array([0], np.int64)))
    x = graph.node('Relu', _dense(graph, x, params['dense']))
    x = _dense(graph, x, params['output'])
    graph.node('Squeeze', x, graph.constant(np.array([1], np.int64)), output='distance')
    windows = helper.make_tensor_value_info('windows', TensorProto.FLOAT, ['N', 'T', kernel.shape[0]])
    distance = helper.make_tensor_value_info('distance', TensorProto.FLOAT, ['N'])
    return graph.model('head', [windows], [distance])


def _dense(graph: OnnxGraph, x: str, layer: dict) -> str:
    return graph.node('Gemm', x, *(graph.constant(np.asarray(layer[name])) for name in ('kernel', 'bias')))


def _pointwise(layer: dict) -> np.ndarray:
    """Returns the kernel [C, F] of a Dense layer as the kernel [1, 1, C, F] of a 1x1 convolution."""
    return np.asarray(layer['kernel'])[None, None]


def _folded(norm: dict, stats: dict) -> tuple[np.ndarray, np.ndarray]:
    """Returns the batch norm with running statistics as x * scale + shift, [C] each."""
    scale = np.asarray(norm['scale']) / np.sqrt(np.asarray(stats['var']) + BN_EPSILON)
    return scale, np.asarray(norm['bias']) - np.asarray(stats['mean']) * scale


def _at(tree: dict, path: tuple) -> dict:
    for name in path:
        tree = tree[name]
    return tree
