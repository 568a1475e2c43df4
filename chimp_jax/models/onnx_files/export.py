"""Exports models as ONNX graphs and compares them with the Flax models. Requires the extra `onnx`."""

from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime

from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import FEATURES
from chimp_jax.models.onnx_files.detector import detector_graph
from chimp_jax.models.onnx_files.graph import backbone_graph, head_graph
from chimp_jax.models.yolox import YoloX

TOLERANCE = 1e-4  # of the largest value, or of a least unit if all values are smaller
_LEAST_SCORE_UNIT = 0.01  # scores of noise; ONNX Runtime's sigmoid is exact to 1e-7 of 1, not of its value


def export(
    model: DistanceModel, weights: dict[str, Any], size_px: int, n_frames: int, note: dict[str, str]
) -> dict[str, onnx.ModelProto]:
    """Returns the graphs {'backbone', 'head'}. Their metadata contains `note` and the shapes.

    Raises ValueError if the model has no LSTM or hears sound, or if ONNX Runtime's results differ from those of the
    float32 Flax model by more than TOLERANCE.
    """
    if model.audio:
        raise ValueError(
            f'only members that see frames alone can be exported; this one has model.audio={model.audio!r}. Use '
            'chimp-distance score or estimate for it'
        )
    if model.temporal != 'lstm':
        raise ValueError(f'only members with model.temporal=lstm can be exported; this one has {model.temporal!r}')
    model = model.clone(dtype=np.float32)
    graphs = {'backbone': backbone_graph(model, weights, size_px), 'head': head_graph(weights)}
    note = note | {'size_px': str(size_px), 'n_frames': str(n_frames)}
    for graph in graphs.values():
        onnx.helper.set_model_props(graph, note)
    _require_equal(compare(graphs, model, weights, size_px, n_frames))
    return graphs


def export_detector(parameters: dict[str, Any], size_px: int, note: dict[str, str]) -> onnx.ModelProto:
    """Returns the graph of the detector with the parameters of yolox.py. Its metadata contains `note` and `size_px`.

    Raises ValueError if ONNX Runtime's results differ from those of the Flax model by more than TOLERANCE.
    """
    graph = detector_graph(parameters, size_px)
    onnx.helper.set_model_props(graph, note | {'size_px': str(size_px)})
    _require_equal(compare_detector(graph, parameters, size_px))
    return graph


def compare(graphs: dict[str, onnx.ModelProto], model: DistanceModel, weights, size_px: int, n_frames: int) -> dict:
    """Returns each graph's largest difference from the Flax model, relative to the largest value or to 1."""
    rng = np.random.default_rng(0)
    # Each frame has its own colour, because frames of pure noise give almost equal features.
    frames = rng.integers(0, 256, (n_frames, 1, 1, 3)) * rng.uniform(0, 1, (n_frames, size_px, size_px, 1))
    frames = frames.astype(np.uint8)
    inputs = {'frames': frames}
    if model.regions:  # the last of three places has no box
        corners = np.sort(rng.uniform(0, 1, (n_frames, 3, 2, 2)), axis=2).reshape(n_frames, 3, 4)
        inputs['boxes'] = np.insert(corners, 4, [0.9, 0.5, 0.0], axis=2).astype(np.float32)
    one_clip = jax.tree.map(lambda x: x[None], inputs)
    features = np.asarray(jax.jit(lambda w, x: model.apply(w, **x, method='encode')[0])(weights, one_clip))
    sequences = features.reshape(n_frames, -1, FEATURES).swapaxes(0, 1)  # of the whole frame and of each slot
    windows = np.concatenate([sequences, sequences[:, ::-1]])
    distance = jax.jit(lambda w, x: model.apply(w, windows=x, method='distance'))(weights, windows)
    pairs = {
        'backbone': (run_onnx(graphs['backbone'], *inputs.values())[0], features),
        'head': (run_onnx(graphs['head'], windows)[0], np.asarray(distance)),
    }
    return {name: _difference(a, b, 1.0) for name, (a, b) in pairs.items()}


def compare_detector(graph: onnx.ModelProto, parameters: dict[str, Any], size_px: int) -> dict[str, float]:
    """Returns the largest difference of the boxes and of the scores from the Flax model, relative to the largest value.

    In a picture of noise all scores may be far below 1, and a difference relative to 1 would not show an error.
    """
    frames = np.random.default_rng(0).integers(0, 256, (2, size_px, size_px, 3), np.uint8)
    # The program runs once, so it is compiled without optimization.
    program = jax.jit(YoloX().apply, compiler_options={'xla_backend_optimization_level': 0})
    expected = map(np.asarray, program({'params': parameters}, frames))
    (boxes, scores), (our_boxes, our_scores) = run_onnx(graph, frames), expected
    return {
        'detector (boxes)': _difference(boxes, our_boxes, 1.0),
        'detector (scores)': _difference(scores, our_scores, _LEAST_SCORE_UNIT),
    }


def run_onnx(graph: onnx.ModelProto, *arrays: np.ndarray) -> list[np.ndarray]:
    """Runs a graph by ONNX Runtime on the CPU and returns its outputs. The arrays have the order of its inputs."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    names = (given.name for given in session.get_inputs())
    return session.run(None, dict(zip(names, arrays, strict=True)))


def _difference(a: np.ndarray, b: np.ndarray, least_unit: float) -> float:
    return float(np.abs(a - b).max() / max(least_unit, np.abs(b).max()))


def _require_equal(errors: dict[str, float]) -> None:
    for name, error in errors.items():
        if not error <= TOLERANCE:  # written so that NaN fails too
            raise ValueError(f'the ONNX {name} differs from the Flax model by {error:.1e}, more than {TOLERANCE}')
