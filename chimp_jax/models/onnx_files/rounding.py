"""Rounds the weights of an exported backbone to int8 so that their errors cancel on calibration frames.

If each weight is rounded to the nearest step, the weights of a filter that subtracts neighbours no longer add up to 0,
and bright pictures shift its result. So the weights are rounded one after the other, and the weights not yet rounded
make up for the error as far as the inputs are correlated (Frantar et al. 2023, "GPTQ", algorithm 1). The bias makes up
for the mean error.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper

SIDE = 16  # of the grid of results in a map whose inputs are counted
BLOCK = 64  # weights that are rounded before the others are updated, to save memory traffic
DAMPING = 0.01  # of the mean variance of the inputs, added to each: few frames do not show all inputs


class ConvNode(NamedTuple):
    """A convolution of the graph: names of its map, kernel [F, C / groups, k, k] and bias [F] or '', and its shape."""

    x: str
    kernel: str
    bias: str
    size: int
    stride: int
    pads: tuple[int, ...]  # top, left, bottom, right
    groups: int


def round_weights(backbone: onnx.ModelProto, calls: Iterable[Mapping[str, np.ndarray]], steps: int) -> onnx.ModelProto:
    """Returns the backbone with kernels of whole steps, `steps` of them to each side in each channel of the result.

    calls: inputs of the backbone, some frames at a time, to calibrate.
    """
    found = onnx.ModelProto()
    found.CopyFrom(backbone)
    constants = {one.name: one for one in found.graph.initializer}
    convolutions = _convolutions(found.graph, constants)
    for one, (mean, covariance) in input_moments(found, convolutions, calls).items():
        kernel = numpy_helper.to_array(constants[one.kernel])
        weights = kernel.reshape(one.groups, -1, kernel[0].size).astype(np.float64)
        rounded = round_filters(weights, covariance, steps)
        constants[one.kernel].CopyFrom(_tensor(rounded.reshape(kernel.shape), one.kernel))
        if one.bias:
            shift = np.einsum('gfn,gn->gf', weights - rounded, mean).reshape(-1)
            constants[one.bias].CopyFrom(_tensor(numpy_helper.to_array(constants[one.bias]) + shift, one.bias))
    return found


def round_filters(weights: np.ndarray, covariance: np.ndarray, steps: int) -> np.ndarray:
    """Returns the filters [G, F, n] in whole steps of max / steps. covariance: of their inputs, [G, n, n].

    The largest weight of a filter keeps its value, because it defines the step.
    """
    n = weights.shape[-1]
    variance = np.trace(covariance, axis1=1, axis2=2)[:, None, None] / n
    damped = covariance + np.maximum(DAMPING * variance, 1e-12) * np.eye(n)
    factor = np.linalg.cholesky(np.linalg.inv(damped)).swapaxes(1, 2)  # upper: inverse = factor.T @ factor
    largest = np.abs(weights).max(axis=-1, keepdims=True)
    step = np.maximum(largest, 1e-12) / steps
    fixed = np.where(np.abs(weights) == largest, weights, np.nan)
    rest, rounded, errors = weights.copy(), np.empty_like(weights), np.empty_like(weights)
    for first in range(0, n, BLOCK):
        block = slice(first, min(first + BLOCK, n))
        for i in range(block.start, block.stop):
            nearest = np.clip(np.round(rest[..., i] / step[..., 0]), -steps, steps) * step[..., 0]
            rounded[..., i] = np.where(np.isnan(fixed[..., i]), nearest, fixed[..., i])
            errors[..., i] = (rest[..., i] - rounded[..., i]) / factor[:, i, i, None]
            rest[..., i : block.stop] -= errors[..., i, None] * factor[:, None, i, i : block.stop]
        rest[..., block.stop :] -= errors[..., block] @ factor[:, block, block.stop :]
    return rounded


def input_moments(
    backbone: onnx.ModelProto, convolutions: list[ConvNode], calls: Iterable[Mapping[str, np.ndarray]]
) -> dict[ConvNode, tuple[np.ndarray, np.ndarray]]:
    """Returns the mean [G, n] and the covariance [G, n, n] of the n inputs of a result, over all calls.

    Without a bias, which could take the mean error, the mean is 0 and the second moment stands for the covariance.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(backbone)
    maps = sorted({one.x for one in convolutions})
    shown.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in maps)
    engine = onnxruntime.InferenceSession(shown.SerializeToString(), providers=['CPUExecutionProvider'])
    sums: dict[str, list] = {}
    for call in calls:
        found = dict(zip(maps, engine.run(maps, dict(call)), strict=True))
        for one in convolutions:
            x = inputs_of(found[one.x], one)
            parts = (x.shape[-1], x.sum(axis=-1), x @ x.swapaxes(1, 2))
            sums[one.kernel] = [a + b for a, b in zip(sums.get(one.kernel, (0, 0, 0)), parts, strict=True)]
    moments = {}
    for one in convolutions:
        count, total, products = (np.asarray(part, np.float64) for part in sums[one.kernel])
        mean = total / count * bool(one.bias)
        moments[one] = mean, products / count - mean[:, :, None] * mean[:, None]
    return moments


def inputs_of(x: np.ndarray, one: ConvNode) -> np.ndarray:
    """Returns the inputs [G, n, results] of a convolution of the map [N, C, H, W], of about SIDE x SIDE results."""
    top, left, bottom, right = one.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    every = one.stride * max(1, x.shape[-1] // one.stride // SIDE)
    windows = sliding_window_view(padded, (one.size, one.size), axis=(2, 3))[:, :, ::every, ::every]
    n = x.shape[1] // one.groups * one.size**2
    return windows.transpose(1, 4, 5, 0, 2, 3).reshape(one.groups, n, -1)


def _convolutions(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> list[ConvNode]:
    found = []
    for node in graph.node:
        if node.op_type == 'Conv' and node.input[1] in constants:
            given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            x, kernel, bias = [*node.input, ''][:3]
            size = constants[kernel].dims[-1]
            stride, pads = given.get('strides', [1])[0], given.get('pads', [0] * 4)
            found.append(ConvNode(x, kernel, bias, size, stride, tuple(pads), given.get('group', 1)))
    return found


def _tensor(values: np.ndarray, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)
