"""A model as two ONNX graphs, compared with the Flax model before anyone gets them. Requires the extra `onnx`."""

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
    """{'backbone', 'head'}, compared with the model in float32; `note` and the shapes stand in their metadata.

    Raises ValueError where ONNX Runtime's results differ from the Flax model's by more than TOLERANCE.
    """
    model = model.clone(dtype=np.float32)
    graphs = {'backbone': backbone_graph(model, weights, size_px), 'head': head_graph(weights)}
    note = note | {'size_px': str(size_px), 'n_frames': str(n_frames)}
    for graph in graphs.values():
        onnx.helper.set_model_props(graph, note)
    for name, error in compare(graphs, model, weights, size_px, n_frames).items():
        if not error <= TOLERANCE:  # also where it is no number
            raise ValueError(f'the {name} as ONNX differs from the Flax model by {error:.1e}, more than {TOLERANCE}')
    return graphs


def compare(graphs: dict[str, onnx.ModelProto], model: DistanceModel, weights, size_px: int, n_frames: int) -> dict:
    """Largest difference of each graph's results from the Flax model's, relative to their largest value or to 1."""
    rng = np.random.default_rng(0)
    # Not noise alone: its frames look all the same to the last layers.
    frames = rng.integers(0, 256, (n_frames, 1, 1, 3)) * rng.uniform(0, 1, (n_frames, size_px, size_px, 1))
    frames = frames.astype(np.uint8)
    features = jax.jit(lambda w, x: model.apply(w, x[None], method='encode')[0])(weights, frames)
    windows = np.stack([features, features[::-1]])
    distance = jax.jit(lambda w, x: model.apply(w, x, method='distance'))(weights, windows)
    pairs = {
        'backbone': (run_onnx(graphs['backbone'], frames), np.asarray(features)),
        'head': (run_onnx(graphs['head'], windows), np.asarray(distance)),
    }
    return {name: float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for name, (a, b) in pairs.items()}


def run_onnx(graph: onnx.ModelProto, array: np.ndarray) -> np.ndarray:
    """The graph's one output for its one input, by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: array})[0]
