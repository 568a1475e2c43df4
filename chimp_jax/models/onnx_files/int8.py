"""Quantises an exported backbone to int8 by ONNX Runtime's static quantisation, and compares distances.

The weights have a scale per channel and are rounded so that their errors cancel (rounding.py). The activations have 8
bits and a scale per map, from calibration frames. The head stays in float32, because ONNX Runtime has no static
quantisation of an LSTM.

x86 processors without VNNI add two products in 16 bits, and with weights of 8 bits the sum can overflow (ONNX Runtime,
"Quantize ONNX models", section on U8S8). Weights of 7 bits would not overflow, but they have twice the error.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

from chimp_jax.models.efficientnet import FEATURES
from chimp_jax.models.onnx_files.rounding import round_weights

FRAMES_PER_CALL = 8  # whose maps are in memory at once
WEIGHT_STEPS = 127  # to each side: 8 bits


class Windows(NamedTuple):
    """Frames [F, S, S, 3] uint8 with boxes [F, A, 5] or None, and windows [N, T] of them (chunks.WindowPlan)."""

    frames: np.ndarray
    boxes: np.ndarray | None
    window: np.ndarray

    def calls(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the inputs of the backbone, some frames at a time."""
        for i in range(0, len(self.frames), FRAMES_PER_CALL):
            some = slice(i, i + FRAMES_PER_CALL)
            yield {'frames': self.frames[some]} | ({} if self.boxes is None else {'boxes': self.boxes[some]})


def quantize_backbone(backbone: onnx.ModelProto, calibration: Windows) -> onnx.ModelProto:
    """Returns the backbone with int8 convolutions, with the same inputs, outputs and metadata."""

    class Reader(CalibrationDataReader):
        calls = calibration.calls()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.calls, None)

    with tempfile.TemporaryDirectory() as folder:
        whole, prepared, quantized = (Path(folder) / f'{name}.onnx' for name in ('whole', 'prepared', 'quantized'))
        onnx.save(round_weights(backbone, calibration.calls(), WEIGHT_STEPS), whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        found = onnx.load(quantized)
    onnx.helper.set_model_props(found, {prop.key: prop.value for prop in backbone.metadata_props})
    return found


def run_windows(backbone: onnx.ModelProto, head: onnx.ModelProto, inputs: Windows) -> np.ndarray:
    """Returns the distances [N] of the windows in metres, by ONNX Runtime on the CPU."""
    engines = (
        onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
        for graph in (backbone, head)
    )
    encode, finish = engines
    tokens = [encode.run(None, call)[0].reshape(-1, FEATURES) for call in inputs.calls()]
    return finish.run(None, {'windows': np.concatenate(tokens)[inputs.window]})[0]
