"""Writes the region branch (regions.py) as nodes of an ONNX graph: boxes become tokens beside the frame's feature.

Pooling is the same two matrix products per map as in the Flax module, so an engine requires no RoIAlign of its own.
"""

from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto

from chimp_jax.models.onnx_files.nodes import OnnxGraph
from chimp_jax.models.regions import BIN_SAMPLES, BINS, FEET_CUT_OFF, LEAST_HEIGHT, TOP_SAMPLES


class SquareMap(NamedTuple):
    """A map [N, channels, cells, cells] of the graph, and the name of its node's output."""

    name: str
    cells: int
    channels: int


def add_tokens(graph: OnnxGraph, features: str, middle: SquareMap, top: SquareMap, params: dict[str, Any]) -> str:
    """Adds the branch for the input `boxes` [N, A, 5] and returns the name of its output [N, 1 + A, 1280], `tokens`.

    features: name of the features [N, 1280]. params: of the RegionBranch.
    """

    def number(value) -> str:
        return graph.constant(np.asarray(value))

    def dense(x: str, name: str) -> str:
        layer = params[name]
        x = graph.node('MatMul', x, number(layer['kernel']))
        return graph.node('Add', x, number(layer['bias'])) if 'bias' in layer else x

    def reshaped(x: str, *shape: int) -> str:
        return graph.node('Reshape', x, number(np.array(shape, np.int64)))

    x1, y1, x2, y2, confidence = (graph.node('Gather', 'boxes', number(np.array([i])), axis=2) for i in range(5))

    def axis_weights(low: str, high: str, cells: int, bins: int, samples: int) -> str:
        """Adds regions.sampling_weights of edges [N, A, 1] -> [N, A, bins, cells]."""
        low, high = (graph.node('Clip', x, number(np.float32(0)), number(np.float32(1))) for x in (low, high))
        n = bins * samples
        share = number(((np.arange(n) + 0.5) / n).astype(np.float32))
        position = graph.node('Add', low, graph.node('Mul', graph.node('Sub', high, low), share))
        position = graph.node('Mul', position, number(np.float32(cells)))
        position = graph.node('Sub', position, number(np.float32(0.5)))
        position = graph.node('Clip', position, number(np.float32(0)), number(np.float32(cells - 1)))
        apart = graph.node('Sub', reshaped(position, 0, 0, n, 1), number(np.arange(cells, dtype=np.float32)))
        near = graph.node('Relu', graph.node('Sub', number(np.float32(1)), graph.node('Abs', apart)))
        return graph.node('ReduceMean', reshaped(near, 0, 0, bins, samples, cells), axes=[3], keepdims=0)

    def pooled(picture: SquareMap, bins: int, samples: int) -> str:
        """Adds regions.roi_align -> [N, A, bins, bins, C]."""
        rows = axis_weights(y1, y2, picture.cells, bins, samples)
        columns = axis_weights(x1, x2, picture.cells, bins, samples)
        channels_last = graph.node('Transpose', picture.name, perm=[0, 2, 3, 1])
        lines = reshaped(channels_last, 0, 1, picture.cells, picture.cells * picture.channels)
        lines = reshaped(graph.node('MatMul', rows, lines), 0, 0, bins, picture.cells, picture.channels)
        return graph.node('MatMul', reshaped(columns, 0, 0, 1, bins, picture.cells), lines)

    bins = graph.node('Relu', dense(pooled(middle, BINS, BIN_SAMPLES), 'reduce'))
    mean = pooled(top, 1, TOP_SAMPLES)
    width, height = graph.node('Sub', x2, x1), graph.node('Sub', y2, y1)
    column = graph.node('Mul', graph.node('Add', x1, x2), number(np.float32(0.5)))
    log_height = graph.node('Log', graph.node('Max', height, number(np.float32(LEAST_HEIGHT))))
    cut_off = graph.node('Cast', graph.node('Greater', y2, number(np.float32(FEET_CUT_OFF))), to=TensorProto.FLOAT)
    geometry = graph.node('Concat', column, y2, width, height, log_height, confidence, cut_off, axis=2)
    hidden = graph.node(
        'Sum',
        dense(reshaped(bins, 0, 0, -1), 'bins'),
        dense(reshaped(mean, 0, 0, -1), 'mean'),
        dense(geometry, 'geometry'),
    )
    whole = reshaped(features, 0, 1, -1)
    animals = graph.node('Add', whole, dense(graph.node('Relu', hidden), 'delta'))
    present = graph.node('Greater', confidence, number(np.float32(0)))
    animals = graph.node('Where', present, animals, whole)
    return graph.node('Concat', whole, animals, axis=1, output='tokens')
