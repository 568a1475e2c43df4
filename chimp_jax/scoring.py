"""Distances of clips by one member: each distinct frame is encoded once, then windows of features are read off.

Validation during training and prediction share this file. Any number of frames, targets and devices: what does not
fill a call is padded and masked, and every prediction carries its key.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from chimp_jax import parallel, steps
from chimp_jax.input_pipeline import Clip
from chimp_jax.metrics import Mean
from chimp_jax.model import DistanceModel
from chimp_jax.windows import window_positions

# Pixels that one device encodes at once: 8 frames of 512 x 512.
PIXELS_PER_CALL = 8 * 512 * 512
WINDOWS_PER_CALL = 32
# Frames of a chunk of clips: many calls, so that padding the last one costs little.
FRAMES_PER_CHUNK = 1024


def frames_per_device(size_px: int) -> int:
    """Frames of a call to the encode step, on each device."""
    return max(1, min(32, PIXELS_PER_CALL // size_px**2))


class Scorer:
    """A model's encode and eval steps, compiled for the devices; weights are arguments."""

    def __init__(self, model: DistanceModel, size_px: int, devices: Sequence[jax.Device] | None = None):
        self.devices = list(devices or jax.local_devices())
        self.frames_per_device = frames_per_device(size_px)
        encode = functools.partial(steps.encode_step, model=model, one_by_one=self.devices[0].platform == 'cpu')
        self._encode = parallel.map_encode_step(encode, self.devices)
        self._eval = parallel.map_eval_step(
            functools.partial(steps.eval_step, model=model, axis_name=parallel.AXIS), self.devices
        )

    def place(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Weights {'params', 'batch_stats'} on all devices, once for many calls."""
        return parallel.replicate(weights, self.devices)

    def encode(self, weights, frames: np.ndarray) -> np.ndarray:
        """frames [N, H, W, 3] uint8 -> features [N, 1280], for any N."""
        size = self.frames_per_device * len(self.devices)
        features = [self._call(self._encode, weights, frames[i : i + size], size) for i in range(0, len(frames), size)]
        return np.concatenate(features)

    def distances(self, weights, features: np.ndarray, distance_m: np.ndarray) -> tuple[np.ndarray, Mean]:
        """Windows of features [N, T, 1280], labels [N] (NaN where unknown) -> metres [N] and the masked error."""
        size = WINDOWS_PER_CALL * len(self.devices)
        predictions, error = [], Mean(0.0, 0.0)
        for i in range(0, len(features), size):
            label = distance_m[i : i + size]
            known = np.isfinite(label)
            batch = {
                'features': features[i : i + size],
                'distance': np.where(known, label, 0).astype(np.float32),
                'mask': known.astype(np.float32),
            }
            prediction, more = self._eval(weights, parallel.split(_pad(batch, size), len(self.devices)))
            predictions.append(parallel.join(prediction)[: len(label)])
            error += Mean(float(more.total), float(more.count))
        return np.concatenate(predictions), error

    def _call(self, step, weights, batch, size: int):
        return parallel.join(step(weights, parallel.split(_pad(batch, size), len(self.devices))))[: len(batch)]


def score_clips(
    scorer: Scorer, weights: dict[str, Any], clips: Sequence[Clip], n_frames: int, step_s: int
) -> tuple[pd.DataFrame, Mean]:
    """All targets of some clips -> rows (video_id, time, distance, prediction), metres, and the masked error.

    Windows with equal frames give equal features whatever clip or batch they stand in: evaluation uses the running
    batch statistics.
    """
    features = scorer.encode(weights, np.concatenate([clip.frames for clip in clips]))
    starts = np.cumsum([0] + [len(clip.frames) for clip in clips])
    places = [
        start + window_positions(clip.frame_time_s, clip.target_time_s, n_frames, step_s)
        for start, clip in zip(starts[:-1], clips, strict=True)
    ]
    rows = pd.DataFrame(
        {
            'video_id': np.repeat([clip.video_id for clip in clips], [len(clip.target_time_s) for clip in clips]),
            'time': np.concatenate([clip.target_time_s for clip in clips]),
            'distance': np.concatenate([clip.target_distance_m for clip in clips]),
        }
    )
    if rows.empty:
        return rows.assign(prediction=np.zeros(0, np.float32)), Mean(0.0, 0.0)
    prediction, error = scorer.distances(weights, features[np.concatenate(places)], rows['distance'].to_numpy())
    return rows.assign(prediction=prediction), error


def in_chunks(clips: Iterable[Clip], n_frames: int = FRAMES_PER_CHUNK) -> Iterator[list[Clip]]:
    """Clips in lists of at least n_frames frames (the last may have fewer), so that memory stays bounded."""
    chunk: list[Clip] = []
    for clip in clips:
        chunk.append(clip)
        if sum(len(one.frames) for one in chunk) >= n_frames:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _pad(batch: Any, size: int) -> Any:
    """Zeros to the end of the first axis up to `size`: a mask of 0 hides them, or the caller cuts them off."""
    return jax.tree.map(lambda x: np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)]), batch)
