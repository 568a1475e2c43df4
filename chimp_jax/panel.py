"""Members that score chunks of frames: they share compiled steps, and what equal backbones encode."""

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from chimp_jax.data.chunks import WindowPlan
from chimp_jax.members import Member
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.regions import Pooled
from chimp_jax.scoring import Scorer, backbone_digest, encoding_settings
from data_prep.sound.log_mel import BANDS, ROWS
from data_prep.workers import memory

MOST_BACKBONES = 4  # whose results for a chunk are kept for members with the same backbone
# The share of memory for weights: on a CPU of what the command may take (data_prep/workers/memory.py), which its
# devices share, else of each device's.
SHARE_OF_MEMORY = 0.4
SHARE_OF_ACCELERATOR = 0.5


class _Looked:
    """The results of `look` for some of N frames, by the position of the frame."""

    def __init__(self, n_frames: int):
        self._done = np.zeros(n_frames, bool)
        self._results: Any = None

    def missing(self, chosen: np.ndarray) -> np.ndarray:
        """Returns the places in chosen [F] of the frames without results."""
        return np.nonzero(~self._done[chosen])[0]

    def add(self, frames: np.ndarray, results: Any) -> None:
        if self._results is None:
            self._results = jax.tree.map(lambda x: np.zeros((len(self._done), *x.shape[1:]), x.dtype), results)
        for stored, new in zip(jax.tree.leaves(self._results), jax.tree.leaves(results), strict=True):
            stored[frames] = new
        self._done[frames] = True

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, Pooled | None]:
        return jax.tree.map(lambda x: x[chosen], self._results)


class Panel:
    """Scores chunks of frames by any member. Members with the same model share the compiled steps.

    Members with the same backbone, as after training with config.train.frozen, share the encoded frames of a chunk.
    """

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        self.devices = list(devices or jax.local_devices())
        self._scorers: dict[str, Scorer] = {}
        self._placed: dict[str, dict] = {}
        self._backbones: dict[str, str] = {}  # by folder of the member: SHA-256
        self._bytes_left = _bytes_for_weights(self.devices)
        # The frames of the last call, if they still exist.
        self._frames: Callable[[], np.ndarray | None] = lambda: None
        self._looked: dict[tuple, _Looked] = {}  # of these frames
        self._lock = threading.Lock()

    @property
    def leaves_the_cpu_free(self) -> bool:
        """Returns whether clips can be decoded while the panel scores."""
        return self.devices[0].platform != 'cpu'

    def score(self, member: Member, frames: np.ndarray | None, plan: WindowPlan) -> np.ndarray:
        """frames of a chunk [N, H, W, 3] uint8, its windows -> metres [n_targets], not clamped.

        frames: None for a member that hears the sound alone.

        Consecutive calls with the same array of frames share what equal backbones encode. Their plans give a frame the
        same boxes if they have equally many places for boxes. One thread at a time is served.
        """
        if not len(plan.window):
            return np.zeros(0, np.float32)
        with self._lock:
            return self._score(member, frames, plan)

    def prepare(self, member: Member) -> None:
        """Compiles a member's steps, or reads them from the cache, and its weights, before there are frames."""
        data, model = member.config.data, member.config.model
        boxes = np.zeros((1, data.most_animals, 5), np.float32) if model.regions else None
        silence = np.zeros((1, ROWS, BANDS), np.uint8) if model.audio else None
        plan = WindowPlan(np.zeros(1, int), np.zeros((1, data.n_frames), int), boxes, sound=silence)
        black = np.zeros((1, data.size_px, data.size_px, 3), np.uint8)
        with self._lock:
            scorer = self._scorer(member)
            scorer.score(self._weights(member, scorer), black, plan, np.full(1, np.nan, np.float32))

    def _score(self, member: Member, frames: np.ndarray | None, plan: WindowPlan) -> np.ndarray:
        scorer = self._scorer(member)
        weights = self._weights(member, scorer)
        tokens = self._tokens(member, scorer, weights, frames, plan) if scorer.model.sees_frames else None
        unknown = np.full(len(plan.window), np.nan, np.float32)
        return scorer.distances(weights, tokens, plan.window, unknown, plan.sound)[0]

    def _tokens(
        self, member: Member, scorer: Scorer, weights: dict, frames: np.ndarray, plan: WindowPlan
    ) -> np.ndarray:
        n_slots = 0 if plan.boxes is None else plan.boxes.shape[1]
        backbone = str(encoding_settings(scorer.model)), self._backbones[str(member.folder)], n_slots
        looked = self._looked_at(frames, backbone)
        missing = looked.missing(plan.frame)
        if len(missing):
            chosen, boxes = plan.frame[missing], None if plan.boxes is None else plan.boxes[missing]
            looked.add(chosen, scorer.look(weights, frames, chosen, boxes))
        return scorer.tokens(weights, *looked.of(plan.frame), plan.boxes)

    def _looked_at(self, frames: np.ndarray, backbone: tuple) -> _Looked:
        if self._frames() is not frames:
            self._frames, self._looked = weakref.ref(frames), {}
        found = self._looked.pop(backbone, None) or _Looked(len(frames))
        self._looked[backbone] = found  # the last one now
        if len(self._looked) > MOST_BACKBONES:
            del self._looked[next(iter(self._looked))]
        return found

    def _scorer(self, member: Member) -> Scorer:
        model, size_px = DistanceModel(**member.config.model), member.config.data.size_px
        key = f'{model} {size_px}'  # the text of a module names all its fields
        if key not in self._scorers:
            self._scorers[key] = Scorer(model, size_px, self.devices)
        return self._scorers[key]

    def _weights(self, member: Member, scorer: Scorer) -> dict:
        """Returns a member's weights on the devices. Weights that do not fit in memory are re-read for each chunk."""
        name = str(member.folder)
        if name in self._placed:
            return self._placed[name]
        weights = member.weights()
        if scorer.model.sees_frames:
            self._backbones[name] = backbone_digest(weights)
        weights = scorer.place(weights)
        n_bytes = len(self.devices) * sum(x.nbytes for x in jax.tree.leaves(weights))
        if n_bytes <= self._bytes_left:
            self._placed[name] = weights
            self._bytes_left -= n_bytes
        return weights


def _bytes_for_weights(devices: list[jax.Device]) -> float:
    """Returns the bytes that weights may take on all devices together. Weights are copied to each device."""
    if devices[0].platform == 'cpu':
        return memory.bytes_for(SHARE_OF_MEMORY)
    statistics = devices[0].memory_stats() or {}
    return SHARE_OF_ACCELERATOR * len(devices) * statistics.get('bytes_limit', 16 << 30)
