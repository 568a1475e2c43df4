"""Exports a model as two ONNX graphs and compares them with the Flax model. Requires the extra `onnx`."""

from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime

from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.onnx_graph import backbone_graph, head_graph

TOLERANCE = 1e-4  # of the largest value, or of 1 if all values are smaller


def export(
    model: DistanceModel, weights: dict[str, Any], size_px: int, n_frames: int, note: dict[str, str]
) -> dict[str, onnx.ModelProto]:
    """Returns the graphs {'backbone', 'head'}. Their metadata contains `note` and the shapes.

    Raises ValueError if ONNX Runtime's results differ from those of the float32 Flax model by more than TOLERANCE.
    """
    model = model.clone(dtype=np.float32)
    graphs = {'backbone': backbone_graph(model, weights, size_px), 'head': head_graph(weights)}
    note = note | {'size_px': str(size_px), 'n_frames': str(n_frames)}
    for graph in graphs.values():
        onnx.helper.set_model_props(graph, note)
    for name, error in compare(graphs, model, weights, size_px, n_frames).items():
        if not error <= TOLERANCE:  # written so that NaN fails too
            raise ValueError(f'the ONNX {name} differs from the Flax model by {error:.1e}, more than {TOLERANCE}')
    return graphs


def compare(graphs: dict[str, onnx.ModelProto], model: DistanceModel, weights, size_px: int, n_frames: int) -> dict:
    """Returns each graph's largest difference from the Flax model, relative to the largest value or to 1."""
    rng = np.random.default_rng(0)
    # Each frame has its own colour, because frames of pure noise give almost equal features.
    frames = rng.integers(0, 256, (n_frames, 1, 1, 3)) * rng.uniform(0, 1, (n_frames, size_px, size_px, 1))
    frames = frames.astype(np.uint8)
    features = jax.jit(lambda w, x: model.apply(w, frames=x[None], method='encode')[0])(weights, frames)
    windows = np.stack([features, features[::-1]])
    distance = jax.jit(lambda w, x: model.apply(w, windows=x, method='distance'))(weights, windows)
    pairs = {
        'backbone': (run_onnx(graphs['backbone'], frames), np.asarray(features)),
        'head': (run_onnx(graphs['head'], windows), np.asarray(distance)),
    }
    return {name: float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for name, (a, b) in pairs.items()}


def run_onnx(graph: onnx.ModelProto, array: np.ndarray) -> np.ndarray:
    """Runs a graph with one input and one output by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: array})[0]
