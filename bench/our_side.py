"""Our side of the comparisons: encoding frames and updating the model, as prediction and training do.

python -m bench.our_side --out b0.onnx    # writes the backbone with random weights as ONNX, for other engines
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
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel  # noqa: E402
from chimp_jax.scoring import Scorer  # noqa: E402
from chimp_jax.trainer import ARRAYS  # noqa: E402
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
        ((pictures, _),) = parallel.prefetch([dict(arrays)], ARRAYS, devices)
        placed, error = mapped(placed, pictures, np.float32(1e-3))
        float(error.total)

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--size_px', type=int, default=512)
    options = parser.parse_args()
    from chimp_jax.models.onnx_graph import backbone_graph

    model, state, _ = fresh()
    weights = {'params': state.params, 'batch_stats': state.batch_stats}
    options.out.write_bytes(backbone_graph(model, weights, options.size_px).SerializeToString())


if __name__ == '__main__':
    main()
