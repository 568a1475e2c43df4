"""The members of an ensemble, ready to be asked: compiled steps, and their weights on the devices where they fit."""

import os
from collections.abc import Sequence

import jax
import numpy as np

from chimp_jax.configured import make_model
from chimp_jax.data.chunks import Plan
from chimp_jax.members import Member
from chimp_jax.scoring import Scorer

# What weights may take of the memory: of all of it on a CPU, whose devices share it, else of each device's.
SHARE_OF_MEMORY = 0.2
SHARE_OF_ACCELERATOR = 0.5


class Panel:
    """Scores chunks of frames by any member; members of the same model share the compiled steps."""

    def __init__(self, devices: Sequence[jax.Device] | None = None):
        self.devices = list(devices or jax.local_devices())
        self._scorers: dict[str, Scorer] = {}
        self._placed: dict[str, dict] = {}
        self._bytes_left = _bytes_for_weights(self.devices)

    @property
    def leaves_the_cpu_free(self) -> bool:
        """Whether clips can be decoded while it scores."""
        return self.devices[0].platform != 'cpu'

    def score(self, member: Member, frames: np.ndarray, plan: Plan) -> np.ndarray:
        """frames of a chunk [N, H, W, 3] uint8, its windows -> metres [n_targets], not clamped."""
        scorer = self._scorer(member)
        unknown = np.full(len(plan.window), np.nan, np.float32)
        return scorer.score(self._weights(member, scorer), frames, plan, unknown)[0]

    def _scorer(self, member: Member) -> Scorer:
        model, size_px = make_model(member.config), member.config.data.size_px
        key = f'{model} {size_px}'  # a module shows all its fields
        if key not in self._scorers:
            self._scorers[key] = Scorer(model, size_px, self.devices)
        return self._scorers[key]

    def _weights(self, member: Member, scorer: Scorer) -> dict:
        """Those that do not fit beside the first ones are read anew for each chunk."""
        name = str(member.folder)
        if name in self._placed:
            return self._placed[name]
        weights = scorer.place(member.weights())
        n_bytes = len(self.devices) * sum(x.nbytes for x in jax.tree.leaves(weights))
        if n_bytes <= self._bytes_left:
            self._placed[name] = weights
            self._bytes_left -= n_bytes
        return weights


def _bytes_for_weights(devices: list[jax.Device]) -> float:
    """Of all these devices together: weights are on each of them."""
    if devices[0].platform == 'cpu':
        memory = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
        return SHARE_OF_MEMORY * memory
    statistics = devices[0].memory_stats() or {}
    return SHARE_OF_ACCELERATOR * len(devices) * statistics.get('bytes_limit', 16 << 30)
