"""Measures tracks and speeds on simulated clips: python -m bench.track_scores [--clips FOLDER]

Without --clips, boxes come from bench/track_clips.py: clips with 1 to 3 animals that cross and are hidden by trunks,
two pictures per second. With --clips, FOLDER has animals.csv and detections.json of `python -m data_prep.simulate
--animals N`.

IDF1 (Ristani et al. 2016, arXiv:1609.01775) is the share of boxes with the right name, under the best assignment of
tracks to animals over the whole clip. A box counts if it overlaps the true box by an IoU of at least 0.5. The boxes of
a track are those at every half second, interpolated over gaps. An animal that is out of sight for more than 2 s counts
as a new one, as in chimp_jax/animals/tracks.py. Takes about two minutes.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench.track_clips import STEP_S, BoxClip, simulate_boxes
from chimp_jax.animals.motion import ANGLE_SD_DEG, LEAST_POSITIONS, LEAST_SECONDS, estimate_motion
from chimp_jax.animals.tracks import LONGEST_GAP_S, WEAK, boxes_at, follow, iou
from data_prep.inputs.detections import read_detections
from data_prep.inputs.tables import numbers_of, read_table

LEAST_IOU = 0.5  # of a box and the true box
IGNORED_IOU = 0.3  # of a box and that of a hidden animal
SD_LOG = 0.15  # of a distance from the ground
WALKS_M_S = 0.1


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


def stretches(time_s: np.ndarray, animal: np.ndarray, findable: np.ndarray) -> np.ndarray:
    """Returns a name [m] for each row of the truth: an animal that is out of sight for more than 2 s gets a new one."""
    names = np.array([''] * len(time_s), object)
    for one in np.unique(animal[findable]):
        seen = np.sort(time_s[(animal == one) & findable])
        number = np.cumsum(np.diff(seen, prepend=seen[0]) > LONGEST_GAP_S + 1e-3)
        rows = np.nonzero(animal == one)[0]
        nearest = np.abs(time_s[rows, None] - seen).argmin(1)
        names[rows] = [f'{one}.{number[k]}' for k in nearest]
    return names.astype(str)


def boxes_of_tracks(clip: BoxClip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns times, names and boxes of the tracks at every STEP_S from their first to their last box."""
    names = np.array(follow(clip.found_s, clip.found_box, clip.found_confidence), str)
    found = [(np.zeros(0), np.zeros(0, str), np.zeros((0, 4)))]
    for name in sorted(set(names) - {''}):
        mine = names == name
        time_s, box, confidence = clip.found_s[mine], clip.found_box[mine], clip.found_confidence[mine]
        at_s = np.arange(time_s.min(), time_s.max() + 1e-6, STEP_S)
        filled = boxes_at(time_s, box, confidence, at_s)
        there = filled[:, 4] > 0
        found.append((at_s[there], np.full(there.sum(), name), filled[there, :4]))
    times_s, tracks, boxes = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return times_s, tracks, boxes


def score_clip(clip: BoxClip) -> tuple[IdentityCounts, IdentityCounts, int]:
    """Returns the counts for animals that were found, for all visible animals, and the boxes of animals never found.

    An animal is found if the detector finds it with a confidence of at least WEAK once before it is out of sight for
    more than 2 s. A track's box over a hidden animal counts neither for nor against the track.
    """
    part = stretches(clip.truth_s, clip.truth_animal, clip.truth_findable)
    strong, found_parts = clip.found_confidence >= WEAK, set()
    for time_s, box in zip(clip.found_s[strong], clip.found_box[strong], strict=True):
        here = np.nonzero(clip.truth_s == time_s)[0]
        overlap = iou(box[None], clip.truth_box[here])[0]
        if overlap.size and overlap.max() >= LEAST_IOU:
            found_parts.add(part[here[overlap.argmax()]])
    times_s, tracks, boxes = boxes_of_tracks(clip)
    kept = np.ones(len(times_s), bool)
    for k, (time_s, box) in enumerate(zip(times_s, boxes, strict=True)):
        here = np.nonzero(clip.truth_s == time_s)[0]
        overlap = iou(box[None], clip.truth_box[here])[0]
        kept[k] = not overlap.size or overlap.max() < IGNORED_IOU or clip.truth_counts[here[overlap.argmax()]]
    tracked = times_s[kept], tracks[kept], boxes[kept]
    counted = clip.truth_counts & np.isin(part, list(found_parts))
    counts = [
        count_identities(clip.truth_s[rows], part[rows], clip.truth_box[rows], *tracked)
        for rows in (counted, clip.truth_counts)
    ]
    return *counts, int((clip.truth_counts & ~counted).sum())


def score_clips(clips: Sequence[BoxClip]) -> dict:
    """Returns IDF1 and switches of all clips, and IDF1 by the number of animals."""
    scores = [score_clip(clip) for clip in clips]

    def total(column: int, chosen=lambda clip: True) -> IdentityCounts:
        of_chosen = (score[column] for clip, score in zip(clips, scores, strict=True) if chosen(clip))
        return sum(of_chosen, IdentityCounts())

    numbers = sorted({clip.n_animals for clip in clips})
    n_boxes = total(1).right + total(1).missed
    return {
        'idf1': total(0).idf1,
        'n_clips': len(clips),
        'idf1_by_animals': {n: total(0, lambda clip, n=n: clip.n_animals == n).idf1 for n in numbers},
        'switches': total(0).switches,
        'never_found_share': sum(score[2] for score in scores) / max(n_boxes, 1),
        'idf1_with_never_found': total(1).idf1,
    }


def measure_speeds(clips: Sequence[BoxClip], step_s: float, seed: int = 0) -> dict:
    """Returns errors of speed along the true paths of the clips, sampled every step_s, with noisy positions.

    The errors are those of a ground plane: SD_LOG of the distance, half of its variance shared along the track, and
    ANGLE_SD_DEG. error: median of |speed - true| / true of animals that walk (at least 0.1 m/s); bias: median of
    speed / true; coverage: of 90 % intervals, standing animals included; straight_lines_error: as error, of the path
    through the noisy positions; standing: median speed of the other animals in m/s, and standing_true.
    """
    rng, rows = np.random.default_rng(seed), []
    every = round(step_s / STEP_S)
    for clip in clips:
        part = stretches(clip.truth_s, clip.truth_animal, clip.truth_findable)
        for name in sorted(set(part[clip.truth_findable])):
            mine = (part == name) & clip.truth_findable
            first, last = (round(float(end(clip.truth_s[mine])) / STEP_S) for end in (np.min, np.max))
            last -= (last - first) % every
            place_m = clip.place_m[first : last + 1, clip.truth_animal[mine][0]]
            if last - first < max(LEAST_SECONDS / STEP_S, (LEAST_POSITIONS - 1) * every):
                continue
            lasts_s = (last - first) * STEP_S
            true = np.hypot(*np.diff(place_m, axis=0).T).sum() / lasts_s
            place_m = place_m[::every]
            shared, new = SD_LOG * np.sqrt(0.5) * rng.standard_normal((2, len(place_m)))
            distance_m = np.hypot(*place_m.T) * np.exp(shared[0] + new)
            angle_deg = np.degrees(np.arctan2(*place_m.T)) + ANGLE_SD_DEG * rng.standard_normal(len(place_m))
            sd_log = np.full(len(place_m), SD_LOG)
            motion = estimate_motion(np.arange(len(place_m)) * step_s, distance_m, sd_log, angle_deg)
            angle = np.radians(angle_deg)
            lines_m = np.hypot(*np.diff([distance_m * np.sin(angle), distance_m * np.cos(angle)], axis=1)).sum()
            rows.append((true, motion.speed_m_s, motion.lower_m_s, motion.upper_m_s, lines_m / lasts_s))
    true, speed, lower, upper, lines = np.array(rows).T
    walks = true >= WALKS_M_S
    ratio, lines_ratio = speed[walks] / true[walks], lines[walks] / true[walks]
    return {
        'n_walking': int(walks.sum()),
        'error': float(np.median(np.abs(ratio - 1))),
        'bias': float(np.median(ratio)),
        'coverage': float(((lower <= true) & (true <= upper)).mean()),
        'straight_lines_error': float(np.median(np.abs(lines_ratio - 1))),
        'n_standing': int((~walks).sum()),
        'standing': float(np.median(speed[~walks])) if not walks.all() else None,
        'standing_true': float(np.median(true[~walks])) if not walks.all() else None,
    }


def read_clips(folder: Path) -> list[BoxClip]:
    """Reads the truth (animals.csv) and the boxes (detections.json) of simulated clips."""
    path, numbers = folder / 'animals.csv', ['time_s', 'x1', 'y1', 'x2', 'y2', 'distance', 'angle']
    table = read_table(path, required=['video_id', 'animal', 'visible', *numbers], numbers=numbers)
    table = table.assign(**{name: numbers_of(table, name, path) for name in numbers})
    found = {clip.video_id: clip for clip in read_detections(folder / 'detections.json', 0.0).clips}
    clips = []
    for video_id, rows in table.groupby('video_id'):
        names, number = np.unique(rows['animal'], return_inverse=True)
        angle, step = np.radians(rows['angle']), np.round(rows['time_s'] / STEP_S).astype(int)
        place_m = np.full((step.max() + 1, len(names), 2), np.nan)
        place_m[step, number] = np.stack([np.sin(angle), np.cos(angle)], 1) * rows[['distance']].to_numpy()
        seen = (rows['visible'] == 'yes').to_numpy()
        boxes = rows[['x1', 'y1', 'x2', 'y2']].to_numpy()
        shown = np.isfinite(boxes).all(1)
        truth = (rows['time_s'].to_numpy()[shown], number[shown], boxes[shown], seen[shown], seen[shown])
        sightings = found[video_id].sightings if video_id in found else ()
        number_of, confidence = (
            np.array([getattr(one, name) for one in sightings], float) for name in ('frame_number', 'confidence')
        )
        # A moment of the truth is the last picture at or before each half second.
        time_s = np.ceil(number_of / found[video_id].frame_rate / STEP_S) * STEP_S if sightings else number_of
        box = np.array([one.box for one in sightings], float).reshape(-1, 4)
        clips.append(BoxClip(len(names), *truth, time_s, box, confidence, place_m))
    return clips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--clips', type=Path, help='folder of simulated clips with animals.csv and detections.json')
    parser.add_argument('--n', type=int, default=50, help='simulated clips for each number of animals (default: 50)')
    parser.add_argument('--seed', type=int, default=1000, help='of the first simulated clip')
    options = parser.parse_args()
    if options.clips:
        clips = read_clips(options.clips)
    else:
        clips = [simulate_boxes(options.seed + k, n) for n in (1, 2, 3) for k in range(options.n)]
    speeds = {f'{step_s:g} s': measure_speeds(clips, step_s) for step_s in (0.5, 1, 2)}
    print(json.dumps(score_clips(clips) | {'speed_error': speeds['1 s']['error'], 'speed_by_step': speeds}, indent=2))


if __name__ == '__main__':
    main()
