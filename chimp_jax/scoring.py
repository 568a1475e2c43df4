"""Distances of clips by one member: each distinct frame is encoded once, windows select from the features.

Validation during training and prediction share this file. It takes any number of frames, targets and devices: a call
that is not full is padded and masked, and every prediction carries its key.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd

from chimp_jax import parallel, steps
from chimp_jax.data.chunks import WindowPlan
from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel
from chimp_jax.models.efficientnet import FEATURES
from chimp_jax.models.regions import Pooled
from chimp_jax.programs.traces import kept_trace
from chimp_jax.steps import Mean
from data_prep.records import Record

# Pixels that one device encodes at once: 8 frames of 512 x 512.
PIXELS_PER_CALL = 8 * 512 * 512
WINDOWS_PER_CALL = 64  # of each device; with 32, a window costs a CPU twice as much (bench/animal_cost.py)
SOUNDS_PER_CALL = 16  # windows whose sound is encoded at once, on each device
TOKENS_PER_CALL = 256  # of the LSTM's product, on each device


def frames_per_device(size_px: int) -> int:
    """Returns the frames per call of the encode step on each device."""
    return max(1, min(32, PIXELS_PER_CALL // size_px**2))


class Scorer:
    """A model's encode and eval steps, compiled for the devices. Weights are arguments."""

    def __init__(self, model: DistanceModel, size_px: int, devices: Sequence[jax.Device] | None = None):
        self.model = model
        self.devices = list(devices or jax.local_devices())
        self.frames_per_device = frames_per_device(size_px)
        on_cpu = self.devices[0].platform == 'cpu'
        encode = functools.partial(steps.encode_step, model=model, one_by_one=on_cpu)
        self._encode = kept_trace(parallel.map_encode_step(encode, self.devices), f'encode {model}', self.devices)
        # A token is in up to T windows. On a CPU, one product for each token halves the work of a window. An
        # accelerator would instead wait for the products, which are three times as large as the tokens.
        product = functools.partial(steps.product_step, model=model)
        self._product = parallel.map_product_step(product, self.devices) if on_cpu and model.sees_frames else None
        self._tokens = parallel.map_tokens_step(functools.partial(steps.tokens_step, model=model), self.devices)
        hear = parallel.map_hear_step(functools.partial(steps.hear_step, model=model), self.devices)
        self._hear = kept_trace(hear, f'hear {model}', self.devices)
        self._eval = parallel.map_eval_step(
            functools.partial(
                steps.eval_step, model=model, axis_name=REPLICA_AXIS, multiplied=self._product is not None
            ),
            self.devices,
        )

    def place(self, weights: dict[str, Any]) -> dict[str, Any]:
        """Returns the weights {'params', 'batch_stats'} on all devices, for many calls."""
        return parallel.replicate(weights, self.devices)

    def encode(self, weights, frames: np.ndarray, chosen: np.ndarray, boxes: np.ndarray | None = None) -> np.ndarray:
        """frames [N, H, W, 3] uint8, positions [F] of the frames to encode -> features [F, 1280], for any F.

        With boxes [F, A, 5] of these frames the result is their tokens [F * (1 + A), 1280], frame by frame.
        """
        if not len(chosen):
            return np.zeros((0, FEATURES), np.float32)
        return self.tokens(weights, *self.look(weights, frames, chosen, boxes), boxes)

    def look(
        self, weights, frames: np.ndarray, chosen: np.ndarray, boxes: np.ndarray | None = None
    ) -> tuple[np.ndarray, Pooled | None]:
        """Returns DistanceModel.look of F chosen frames, F > 0: features [F, 1280], what their boxes pool or None.

        The weights need not hold more than the backbone.
        """
        # The frames are dealt out in turn, so all devices have equally much to do if a call is not full.
        place = np.arange(self.frames_per_device * len(self.devices)).reshape(-1, len(self.devices)).T
        results, waiting = [], []
        for i in range(0, len(chosen), place.size):
            some = np.arange(i, min(i + place.size, len(chosen)))
            there = place < len(some)
            some = some[np.where(there, place, 0)]
            their_boxes = None if boxes is None else boxes[some]
            waiting.append(self._encode(weights, frames[chosen[some]], there, their_boxes))
            if len(waiting) == 2:  # one call late, so that the devices always have their next call
                results.append(_collect(waiting.pop(0)))
        results += map(_collect, waiting)
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(chosen)], *results)

    def tokens(self, weights, features: np.ndarray, pooled: Pooled | None, boxes: np.ndarray | None) -> np.ndarray:
        """The results of `look` for F frames -> what `encode` returns. The weights need not hold the backbone."""
        if boxes is None:
            return features
        size = self.frames_per_device * len(self.devices)
        found = [np.zeros((0, FEATURES), np.float32)]
        for i in range(0, len(features), size):
            batch = {'features': features, 'pooled': pooled, 'boxes': boxes}
            batch = jax.tree.map(lambda x, first=i: _pad(x[first : first + size], size), batch)
            tokens = parallel.join(self._tokens(weights, parallel.split(batch, len(self.devices))))
            found.append(tokens[: len(features) - i].reshape(-1, FEATURES))
        return np.concatenate(found)

    def distances(
        self,
        weights,
        features: np.ndarray | None,
        window: np.ndarray,
        distance_m: np.ndarray,
        sound: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Mean]:
        """features (or tokens) [F, 1280], windows [N, T] of positions in F, labels [N] (NaN: unknown) -> as `score`.

        sound: for a model with audio, the rows around the frames [F, R, bands]; with the sound alone, no features.
        """
        heard = None if sound is None else self._heard(weights, sound, window)
        if self._product:
            features = self._products(weights, features)
        size = WINDOWS_PER_CALL * len(self.devices)
        predictions, error = [np.zeros(0, np.float32)], Mean(0.0, 0.0)
        for i in range(0, len(window), size):
            label = distance_m[i : i + size]
            known = np.isfinite(label)
            batch = {
                'distance': np.where(known, label, 0).astype(np.float32),
                'mask': known.astype(np.float32),
            }
            if features is not None:  # a few windows: those of all targets fill the memory
                batch['features'] = features[window[i : i + size]]
            if heard is not None:
                batch['heard'] = heard[i : i + size]
            prediction, more = self._eval(weights, parallel.split(_pad(batch, size), len(self.devices)))
            predictions.append(parallel.join(prediction)[: len(label)])
            error += Mean(float(more.total), float(more.count))
        return np.concatenate(predictions), error

    def _heard(self, weights, sound: np.ndarray, window: np.ndarray) -> np.ndarray:
        """Rows around frames [F, R, bands], windows [N, T] -> features of the sound [N, 1280]."""
        distinct, place = np.unique(window, axis=0, return_inverse=True)
        size, found = SOUNDS_PER_CALL * len(self.devices), [np.zeros((0, FEATURES), np.float32)]
        for i in range(0, len(distinct), size):
            rows = sound[distinct[i : i + size]]
            rows = rows.reshape(len(rows), -1, rows.shape[-1])
            some = self._hear(weights, parallel.split(_pad(rows, size), len(self.devices)))
            found.append(parallel.join(some)[: len(rows)])
        return np.concatenate(found)[place.reshape(-1)]

    def _products(self, weights, features: np.ndarray) -> np.ndarray:
        """features [F, 1280] -> the LSTM's product with each [F, 4 U], for any F but 0, which has no windows."""
        size, products = TOKENS_PER_CALL * len(self.devices), []
        for i in range(0, len(features), size):
            some = features[i : i + size]
            product = self._product(weights, parallel.split(_pad(some, size), len(self.devices)))
            products.append(parallel.join(product)[: len(some)])
        return np.concatenate(products) if products else features

    def score(
        self, weights, frames: np.ndarray | None, plan: WindowPlan, distance_m: np.ndarray
    ) -> tuple[np.ndarray, Mean]:
        """The planned windows [N, T] of a chunk's frames, labels [N] -> metres [N] and the masked error.

        Windows with equal frames give equal distances in every clip and chunk: evaluation uses the running batch
        statistics.
        """
        sees = self.model.sees_frames
        features = self.encode(weights, frames, plan.frame, plan.boxes) if sees else None
        return self.distances(weights, features, plan.window, distance_m, plan.sound)


def encoding_settings(model: DistanceModel) -> dict[str, Any]:
    """Returns what the results of `look` depend on besides the weights, the frames and the boxes."""
    texts = {name: str(getattr(model, name)) for name in ('backbone', 'normalization', 'stages')}
    return texts | {'dtype': np.dtype(model.dtype).name, 'regions': model.regions}


def backbone_of(weights: dict[str, Any]) -> dict[str, Any]:
    """Returns the backbone's part of {'params', 'batch_stats'}."""
    return {name: {'encoder': weights[name]['encoder']} for name in ('params', 'batch_stats')}


def backbone_digest(weights: dict[str, Any]) -> str:
    """Returns the SHA-256 of the names and bytes of the backbone's parameters and batch statistics."""
    digest = hashlib.sha256()
    for path, array in jax.tree.leaves_with_path(backbone_of(weights)):
        digest.update(jax.tree_util.keystr(path, simple=True).encode())
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
    return digest.hexdigest()


def target_rows(pieces: Sequence[Record]) -> pd.DataFrame:
    """Returns KEY and distance of all targets in the order of plan_windows; distance is NaN if unknown."""
    counts = [len(piece.target_time_s) for piece in pieces]
    return pd.DataFrame(
        {
            'video_id': np.repeat(np.array([piece.video_id for piece in pieces], object), counts),
            'time': np.concatenate([np.zeros(0, np.int32), *(piece.target_time_s for piece in pieces)]),
            'animal': np.array([name for piece in pieces for name in piece.target_animal], object),
            'distance': np.concatenate([np.zeros(0, np.float32), *(piece.target_distance_m for piece in pieces)]),
        }
    )


def target_boxes(pieces: Sequence[Record]) -> pd.DataFrame:
    """Returns the boxes (BOX, 0..1 of the picture, NaN if unknown) of the targets, in the order of target_rows."""
    x1, y1, x2, y2 = np.concatenate([np.zeros((0, 4)), *(piece.target_box for piece in pieces)]).astype(float).T
    return pd.DataFrame(dict(zip(BOX, (x1, y1, x2 - x1, y2 - y1), strict=True)))


def _collect(dealt: Any) -> Any:
    """Results [D, B, ...] of frames that were dealt out in turn -> [B * D, ...] in the order of the frames."""
    return jax.tree.map(lambda x: np.asarray(x).swapaxes(0, 1).reshape(-1, *x.shape[2:]), dealt)


def _pad(batch: Any, size: int) -> Any:
    """Appends zeros to the first axis up to `size`. A mask of 0 hides them, or the caller cuts them off."""
    return jax.tree.map(lambda x: np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)]), batch)
