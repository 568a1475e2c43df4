"""Our side of the comparisons: encoding frames, finding animals, and updating the model, as the commands do.

Writes a network with random weights as ONNX, for other engines:

    python -m bench.our_side backbone --size_px 512 --out b0.onnx
    python -m bench.our_side detector --size_px 640 --out detector.onnx
"""

import argparse
from pathlib import Path

from chimp_jax import runtime

runtime.configure()

import functools  # noqa: E402  (JAX must start after runtime.configure)
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402

from chimp_jax import optim, parallel, steps  # noqa: E402
from chimp_jax.models.detector import Detector  # noqa: E402
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel  # noqa: E402
from chimp_jax.models.efficientnet import FEATURES  # noqa: E402
from chimp_jax.models.yolox import YoloX  # noqa: E402
from chimp_jax.scoring import Scorer  # noqa: E402
from chimp_jax.training.whole import LABELS  # noqa: E402
from configs import base  # noqa: E402


def frames(n: int, size_px: int) -> np.ndarray:
    """Returns noise [n, size_px, size_px, 3] uint8, the same for all sides."""
    return np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


def fresh() -> tuple[Any, steps.TrainState, Any]:
    """Returns the published model, its state with random weights, and its optimizer."""
    runtime.use_compile_cache()
    config = base.get_config()
    model, settings = DistanceModel(**config.model), config.train
    optimizer = optim.make_optimizer(settings.adam_b1, settings.adam_b2, settings.adam_eps)
    plateau = optim.make_plateau(settings.learning_rate, **settings.plateau)
    return model, steps.initial_state(model, optimizer, plateau, seed=0), optimizer


def encode(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: encoding n frames in float32. options: n, size_px."""
    model, state, _ = fresh()
    scorer = Scorer(model, options['size_px'])
    weights = scorer.place({'params': state.params, 'batch_stats': state.batch_stats})
    pictures = frames(options['n'], options['size_px'])

    def work() -> None:
        scorer.encode(weights, pictures, np.arange(len(pictures)))

    return work


def fresh_detector() -> dict[str, Any]:
    """Returns random parameters of the detector, with which no cell has an animal, as in most pictures of a clip."""
    runtime.use_compile_cache()
    parameters = jax.jit(YoloX().init)(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8))['params']
    parameters['backbone']['backbone']['stem_conv']['kernel'] /= 255  # pixels are 0..255, and maps must be of order 1
    for level in range(3):
        parameters['head'][f'obj_preds_{level}']['bias'] -= 100
    return parameters


def detect(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: finding the animals in n frames, with the choice of boxes. options: n, size_px."""
    detector = Detector(fresh_detector(), options['size_px'])
    pictures = frames(options['n'], options['size_px'])

    def work() -> None:
        detector(pictures)

    return work


def update(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: one update of the full model. options: batch (windows), n_frames, size_px."""
    model, state, optimizer = fresh()
    batch, n_frames, size_px = options['batch'], options['n_frames'], options['size_px']
    devices = jax.local_devices()[: batch if batch < jax.local_device_count() else None]
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, axis_name=REPLICA_AXIS)
    mapped = parallel.map_train_step(step, devices)
    arrays = {
        'frames': frames(batch * n_frames, size_px).reshape(batch, n_frames, size_px, size_px, 3),
        'window': np.tile(np.arange(n_frames, dtype=np.int32), (batch, 1, 1)),
        'distance': np.linspace(1, 10, batch, dtype=np.float32)[:, None],
        'mask': np.ones((batch, 1), np.float32),
    }
    placed = parallel.replicate(state, devices)

    def work() -> None:
        nonlocal placed
        ((pictures, _),) = parallel.prefetch([dict(arrays)], ('frames', *LABELS), devices)
        placed, error = mapped(placed, pictures, np.float32(1e-3))
        float(error.total)

    return work


def read_windows(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: the LSTM and the head over n windows of features. options: n (windows), n_frames."""
    model, state, _ = fresh()
    scorer = Scorer(model, 512)
    weights = scorer.place({'params': state.params, 'batch_stats': state.batch_stats})
    n, random = options['n'], np.random.default_rng(0)
    features = random.normal(size=(n, FEATURES)).astype(np.float32)
    windows, unknown = random.integers(0, n, (n, options['n_frames'])), np.full(n, np.nan, np.float32)

    def work() -> None:
        scorer.distances(weights, features, windows, unknown)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('network', choices=['backbone', 'detector'])
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--size_px', type=int, required=True)
    options = parser.parse_args()
    from chimp_jax.models.onnx_files.detector import detector_graph
    from chimp_jax.models.onnx_files.graph import backbone_graph

    if options.network == 'detector':
        graph = detector_graph(fresh_detector(), options.size_px)
    else:
        model, state, _ = fresh()
        graph = backbone_graph(model, {'params': state.params, 'batch_stats': state.batch_stats}, options.size_px)
    options.out.write_bytes(graph.SerializeToString())


if __name__ == '__main__':
    main()
