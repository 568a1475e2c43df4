"""Measures tracks and speeds on simulated clips: python -m bench.track_scores [--clips FOLDER]

Without --clips, boxes come from bench/track_clips.py: clips with 1 to 3 animals that cross and are hidden by trunks,
two boxes per second. With --clips, FOLDER holds animals.csv and detections.json of `python -m data_prep.simulate
--animals`.

IDF1 (Ristani et al. 2016, arXiv:1609.01775) is the share of boxes with the right name, under the best assignment of
tracks to animals over the whole clip. A box counts if it overlaps the true box by an IoU of at least 0.5.
"""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from chimp_jax.animals.tracks import iou

LEAST_IOU = 0.5


class IdentityCounts(NamedTuple):
    """Boxes with the right name, missed boxes, wrong boxes, and changes of the name of an animal."""

    right: int = 0
    missed: int = 0
    wrong: int = 0
    switches: int = 0

    @property
    def idf1(self) -> float:
        total = 2 * self.right + self.missed + self.wrong
        return 2 * self.right / total if total else 1.0

    def __add__(self, other):
        return IdentityCounts(*(a + b for a, b in zip(self, other, strict=True)))


def count_identities(truth_s, truth_name, truth_box, found_s, found_name, found_box) -> IdentityCounts:
    """Counts the boxes of one clip. Found boxes with the name '' belong to no track and do not count.

    Times [m] and [n], names, boxes [m, 4] and [n, 4]. right, missed and wrong are IDTP, IDFN and IDFP. switches are
    those of CLEAR MOT: boxes are matched picture by picture, and an animal keeps its track while they overlap.
    """
    found_name = np.asarray(found_name, str)
    tracked = found_name != ''
    found_s, found_name, found_box = np.asarray(found_s)[tracked], found_name[tracked], np.asarray(found_box)[tracked]
    truth_s, truth_name = np.asarray(truth_s), np.asarray(truth_name).astype(str)
    animals, truth_id = np.unique(truth_name, return_inverse=True)
    tracks, found_id = np.unique(found_name, return_inverse=True)
    together, switches, last = np.zeros((len(animals), len(tracks)), int), 0, {}
    for time_s in np.unique(truth_s):
        here, there = np.nonzero(truth_s == time_s)[0], np.nonzero(found_s == time_s)[0]
        overlap = iou(np.asarray(truth_box)[here], found_box[there])
        overlap[overlap < LEAST_IOU] = 0
        np.add.at(together, (truth_id[here][:, None], found_id[there][None]), overlap > 0)
        kept = np.array([[last.get(i) == k for k in found_id[there]] for i in truth_id[here]]).reshape(overlap.shape)
        for row, column in zip(*linear_sum_assignment(-overlap - 10 * kept * (overlap > 0)), strict=True):
            if overlap[row, column]:
                i, k = int(truth_id[here[row]]), int(found_id[there[column]])
                switches += last.get(i, k) != k
                last[i] = k
    right = int(together[linear_sum_assignment(-together)].sum())
    return IdentityCounts(right, len(truth_id) - right, len(found_id) - right, switches)
