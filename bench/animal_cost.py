"""Measures how much one more animal costs in scoring, as a share of a frame.

    python -m bench.animal_cost [--frames 32] [--rounds 5] [--size_px 512]

A member with config.model.regions encodes the frames without boxes, with one box and with three boxes in each frame. It
also computes windows, as many as tokens, which is what one more animal requires in each second. The works take turns,
and the least time of each counts. On a CPU the clock counts the seconds of all cores (CPU time), so that other programs
on the machine disturb less. The shares of operations are those of XLA's cost analysis.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from chimp_jax import runtime

if __name__ == '__main__':
    runtime.configure()

import jax  # noqa: E402  (JAX must start after runtime.configure)
import numpy as np  # noqa: E402

from chimp_jax import optim, steps  # noqa: E402
from chimp_jax.models.distance_model import DistanceModel  # noqa: E402
from chimp_jax.scoring import TOKENS_PER_CALL, Scorer  # noqa: E402
from configs import base  # noqa: E402

BOX = (0.3, 0.4, 0.6, 0.8, 0.9)


def fresh_regions() -> tuple[DistanceModel, dict[str, Any]]:
    """Returns the published model with regions, and random weights."""
    config = base.get_config()
    config.model.regions = True
    model, settings = DistanceModel(**config.model), config.train
    optimizer = optim.make_optimizer(settings.adam_b1, settings.adam_b2, settings.adam_eps)
    plateau = optim.make_plateau(settings.learning_rate, **settings.plateau)
    state = steps.initial_state(model, optimizer, plateau, seed=0)
    return model, {'params': state.params, 'batch_stats': state.batch_stats}


def boxes_of(n_frames: int, n_animals: int) -> np.ndarray | None:
    """Returns boxes [n_frames, n_animals, 5], None for no animal."""
    return np.tile(np.float32(BOX), (n_frames, n_animals, 1)) if n_animals else None


def least_seconds(works: dict[str, Callable[[], Any]], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Runs the works in turn, after a round that compiles, and returns the least time of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            began = clock()
            work()
            if number:
                seconds[name].append(clock() - began)
    return {name: min(values) for name, values in seconds.items()}


def operations(model: DistanceModel, weights: dict[str, Any], size_px: int, n_frames: int) -> dict[str, float]:
    """Returns the operations of a frame by number of boxes, of a window and of its product, by XLA's cost analysis."""

    def encode(weights, frames, boxes):
        return model.apply(weights, frames=frames, boxes=boxes, method='encode')

    def distance(weights, windows):
        return model.apply(weights, windows=windows, method='distance')

    def product(weights, features):
        return model.apply(weights, features=features, method='product')

    frame = np.zeros((1, 1, size_px, size_px, 3), np.uint8)
    counted = {}
    for n in (0, 1, 3):
        boxes = boxes_of(1, n)
        lowered = jax.jit(encode).lower(weights, frame, None if boxes is None else boxes[None])
        counted[f'frame, {n} boxes'] = lowered.cost_analysis()['flops']
    # The loop over the steps counts as one step, so a window is the sum of windows of one step.
    lowered = jax.jit(distance).lower(weights, np.zeros((1, 1, 1280), np.float32))
    counted['window'] = n_frames * lowered.cost_analysis()['flops']
    lowered = jax.jit(product).lower(weights, np.zeros((1, 1280), np.float32))
    counted['product'] = lowered.cost_analysis()['flops']
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=32)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--size_px', type=int, default=512)
    options = parser.parse_args()
    runtime.use_compile_cache()
    model, weights = fresh_regions()
    n, t = options.frames, base.get_config().data.n_frames
    scorer = Scorer(model, options.size_px)
    placed = scorer.place(weights)
    frames = np.random.default_rng(0).integers(0, 256, (n, options.size_px, options.size_px, 3), dtype=np.uint8)
    # Full calls: a window that fills a call costs as much as one that counts.
    n_windows = TOKENS_PER_CALL * len(scorer.devices)
    features = np.random.default_rng(1).normal(size=(n_windows, 1280)).astype(np.float32)
    window = np.random.default_rng(2).integers(0, n_windows, (n_windows, t))
    unknown = np.full(n_windows, np.nan, np.float32)

    def encoding(animals: int) -> Callable[[], Any]:
        return lambda: scorer.encode(placed, frames, np.arange(n), boxes_of(n, animals))

    works = {f'{animals} boxes': encoding(animals) for animals in (0, 1, 3)}
    works['windows'] = lambda: scorer.distances(placed, features, window, unknown)
    on_cpu = scorer.devices[0].platform == 'cpu'
    found = least_seconds(works, options.rounds, time.process_time if on_cpu else time.perf_counter)
    frame, each = found['0 boxes'] / n, found['windows'] / n_windows
    print(f'{"CPU time" if on_cpu else "time"} of a frame of {options.size_px} px without boxes: {1000 * frame:.1f} ms')
    for animals in (1, 3):
        more = (found[f'{animals} boxes'] / n - frame) / animals
        print(f'tokens, {animals} in a frame: {1000 * more:.2f} ms an animal, {more / frame:.2%} of a frame')
    print(f'a window of {t} tokens: {1000 * each:.2f} ms, {each / frame:.2%} of a frame')
    counted = operations(model, weights, options.size_px, t)
    whole = counted['frame, 0 boxes']
    once = counted['window'] - (t - 1) * counted['product']  # one product for each window and token
    print(
        f'operations: frame {whole / 1e9:.2f} G; an animal {(counted["frame, 3 boxes"] - whole) / 3 / whole:.2%} '
        f'of it, a window {counted["window"] / whole:.2%}, with one product for each token {once / whole:.2%}'
    )


if __name__ == '__main__':
    main()
