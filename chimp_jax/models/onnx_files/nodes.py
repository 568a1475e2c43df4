"""Collects the nodes of an ONNX graph. Opset 17, float32 inside."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17
# The oldest file format that allows opset 17, so that engines older than the onnx package can read it.
IR_VERSION = 8


class OnnxGraph:
    """Collects nodes and constants in order. `constant` and `node` return the name of their output."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: np.ndarray) -> str:
        name = f'constant_{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = '', n_outputs: int = 1, **attributes) -> str:
        """Adds a node and returns the name of its last output. Its other outputs are unused."""
        name = output or f'{kind.lower()}_{len(self.nodes)}'
        outputs = [''] * (n_outputs - 1) + [name]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=f'{kind}_{len(self.nodes)}', **attributes))
        return name

    def model(self, name: str, inputs: list, outputs: list) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION, producer_name='chimp_jax'
        )
        onnx.checker.check_model(model, full_check=True)
        return model
