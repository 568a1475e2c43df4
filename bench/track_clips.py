"""Boxes of simulated clips with several animals, without pictures: what a detector finds, and the truth.

Sites, walks and bodies are those of data_prep.simulator. Trunks and nearer animals hide points of a body. The detector
misses boxes as the simulator's detector does, shifts edges by 3 % of a side, repeats boxes, and finds false ones.
"""

from typing import NamedTuple

import numpy as np

from chimp_jax.animals.tracks import iou
from data_prep.simulator.animal import NEAREST_DEPTH_M, Species, Walk, body_parts, draw_animal, draw_walk
from data_prep.simulator.site import Site, draw_site, project

STEP_S = 0.5
NMS_IOU = 0.45  # the detector keeps the more confident of two boxes that overlap more
MIN_VISIBLE_SHARE, MIN_VISIBLE_PX = 0.5, 200  # of a seen animal, as in data_prep.simulator
_DETECTABLE_SHARE = 0.3
_EDGE_NOISE = 0.03  # half of the range of an edge's error, as a share of the side
_REPEATED, _FALSE = 0.03, 0.01  # chance of a second box of an animal, and of a false box, per animal and picture


class BoxClip(NamedTuple):
    """A clip. Rows of truth and found boxes are in no particular order.

    truth_* [m]: a row for each animal and time with a part in the picture. truth_counts: half of the animal is visible;
    truth_findable: the detector can find it. place_m [T, animals, 2]: x, z of every animal at every STEP_S.
    """

    n_animals: int
    truth_s: np.ndarray
    truth_animal: np.ndarray  # int
    truth_box: np.ndarray  # [m, 4], of the visible part, or of the whole animal if it is hidden
    truth_counts: np.ndarray  # bool
    truth_findable: np.ndarray  # bool
    found_s: np.ndarray
    found_box: np.ndarray  # [n, 4]
    found_confidence: np.ndarray
    place_m: np.ndarray


def simulate_boxes(seed: int, n_animals: int) -> BoxClip:
    """Returns the boxes of one clip of 10 to 30 s."""
    rng = np.random.default_rng([seed, n_animals, 19])
    site = draw_site(seed, int(rng.integers(40)), '', str(rng.choice(['easy', 'hard'])))
    duration_s = rng.uniform(10, 30)
    animals = [draw_animal(rng, 'hard') for _ in range(n_animals)]
    farthest_m = 14.0 if rng.random() < 0.3 else 25.0  # night and day, as in data_prep.simulator
    walks = [draw_walk(rng, duration_s, site.camera.view_deg, animal.height_m, farthest_m) for animal in animals]
    times_s = np.arange(0, duration_s, STEP_S)
    truth, found = [], []
    for time_s in times_s:
        seen = _look(site, animals, walks, time_s)
        truth += [
            (time_s, k, *box, _counts(share, px), share >= _DETECTABLE_SHARE) for k, (box, share, px) in seen.items()
        ]
        found += _detect(rng, time_s, seen, walks)
    truth_rows, found_rows = np.array(truth, float).reshape(-1, 8), np.array(found).reshape(-1, 6)
    place_m = np.array([[walk.pose(time_s)[:2] for walk in walks] for time_s in times_s])
    truth_columns = (truth_rows[:, 0], truth_rows[:, 1].astype(int), truth_rows[:, 2:6], *(truth_rows[:, 6:] > 0).T)
    return BoxClip(n_animals, *truth_columns, found_rows[:, 0], found_rows[:, 1:5], found_rows[:, 5], place_m)


def _counts(share: float, area_px: float) -> bool:
    return share >= MIN_VISIBLE_SHARE and area_px >= MIN_VISIBLE_PX


def _look(site: Site, animals: list[Species], walks: list[Walk], time_s: float) -> dict[int, tuple]:
    """Returns {animal: (box in shares, visible share of its body, pixels of the box)} of animals in the picture."""
    camera = site.camera
    bodies = [_discs(camera, *body_parts(a, walk.pose(time_s))[:2]) for a, walk in zip(animals, walks, strict=True)]
    middle_z = [walk.pose(time_s)[1] for walk in walks]
    size = np.array([camera.width_px, camera.height_px] * 2)
    seen = {}
    for k, (points_m, u, v, depth, radius_px) in enumerate(bodies):
        shown = (depth > NEAREST_DEPTH_M) & (u >= 0) & (u < size[0]) & (v >= 0) & (v < size[1])
        for trunk in site.trunks:  # where the ray from the lens to the point passes the trunk
            share = trunk.z_m / np.maximum(points_m[:, 2], 1e-3)
            up_m = camera.height_m + (points_m[:, 1] - camera.height_m) * share
            beside_m = np.abs(points_m[:, 0] * share - trunk.x_m - trunk.lean * up_m)
            shown &= ~((share > 0) & (share < 1) & (beside_m < trunk.radius_m))
        for other, (_, u2, v2, depth2, radius2) in enumerate(bodies):
            if other != k and middle_z[other] < middle_z[k]:
                ahead = depth2 > NEAREST_DEPTH_M
                away = np.hypot(u[:, None] - u2[ahead], v[:, None] - v2[ahead])
                shown &= ~(away < radius2[ahead]).any(1)
        if not (ahead := depth > NEAREST_DEPTH_M).any():
            continue
        part = shown if shown.any() else ahead
        low = np.stack([u - radius_px, v - radius_px])[:, part].min(1)
        high = np.stack([u + radius_px, v + radius_px])[:, part].max(1)
        box = np.clip(np.concatenate([low, high]), 0, size)
        area_px = np.prod(box[2:] - box[:2])
        if area_px > 0:
            seen[k] = (box / size, float(shown.mean()), float(area_px))
    return seen


def _discs(camera, ends_m: np.ndarray, radii_m: np.ndarray):
    """Returns points along the parts of a body [N, 3], and their columns, rows, depths and radii in pixels."""
    steps = np.array([0, 0.5, 1])
    points_m = (ends_m[:, :1] * (1 - steps[:, None]) + ends_m[:, 1:] * steps[:, None]).reshape(-1, 3)
    radii_m = (radii_m[:, :1] * (1 - steps) + radii_m[:, 1:] * steps).reshape(-1)
    u, v, depth = project(camera, points_m)
    return points_m, u, v, depth, camera.focal_px * radii_m / np.maximum(depth, NEAREST_DEPTH_M)


def _detect(rng, time_s: float, seen: dict[int, tuple], walks: list[Walk]) -> list[tuple]:
    """Returns rows (time_s, x1, y1, x2, y2, confidence) of one picture after NMS."""
    boxes = []

    def noisy(box, confidence):
        sides = box[[2, 3, 2, 3]] - box[[0, 1, 0, 1]]
        edges = np.clip(box + rng.uniform(-_EDGE_NOISE, _EDGE_NOISE, 4) * sides, 0, 1)
        if (edges[2:] > edges[:2]).all():
            boxes.append((*edges, float(np.clip(confidence, 0.02, 0.999))))

    for k, (box, share, area_px) in seen.items():
        distance_m = np.hypot(*walks[k].pose(time_s)[:2])
        if share < _DETECTABLE_SHARE or area_px < MIN_VISIBLE_PX or rng.random() < 0.08 + 0.012 * distance_m:
            continue
        confidence = 1.05 - 0.045 * distance_m - 0.5 * rng.random() ** 2
        noisy(box, confidence * min(1, share / MIN_VISIBLE_SHARE))
        if rng.random() < _REPEATED:  # the front or rear half
            half = box.copy()
            half[rng.choice([0, 2])] = box[[0, 2]].mean()
            noisy(half, confidence * rng.uniform(0.3, 0.9))
    if rng.random() < _FALSE * max(1, len(walks)):
        width, height = np.exp(rng.uniform(np.log(0.03), np.log(0.3), 2))
        x, y = rng.uniform(0, 1 - width), rng.uniform(0.2, 1 - height)
        noisy(np.array([x, y, x + width, y + height]), rng.uniform(0.05, 0.6))
    kept: list[tuple] = []
    for row in sorted(boxes, key=lambda row: -row[4]):
        if not kept or iou(np.array([row[:4]]), np.array(kept)[:, :4]).max() <= NMS_IOU:
            kept.append(row)
    return [(time_s, *row) for row in kept]
