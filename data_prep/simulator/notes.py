"""What is noted of the animals in a clip: sightings for the tables, and the truth about each animal."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.files import write_whole
from data_prep.simulator.animal import COAT_GREY, visible_share
from data_prep.simulator.herd import View
from data_prep.simulator.plan import NAMES, ClipPlan

# An animal counts as seen if this share of its body is visible, on this many pixels of the canvas, with this contrast
# in grey levels.
MIN_VISIBLE_SHARE, MIN_VISIBLE_PX, MIN_CONTRAST = 0.5, 200, 18.0
MIN_GLIMPSE_SHARE = 0.3  # of an animal that a detector still finds, with less confidence
Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in 0..1


@dataclass(frozen=True)
class Sighting:
    """A second with a visible animal, and its true distance.

    box: x1, y1, x2, y2 in 0..1 as a detector gives them, None if it misses the animal. animal: its name, '' if the
    simulation does not name animals.
    """

    time_s: int
    distance_m: float
    box: Box | None
    probability: float | None
    animal: str = ''


@dataclass(frozen=True)
class Moment:
    """The truth about one animal at one of two times a second, and what a detector finds of it.

    Distance, angle (degrees from the middle of the picture, left negative) and speed (m/s, on the ground) are those in
    the picture. box: of the visible part, None without one. found: the detector's box, None if it is missed.
    """

    time_s: float
    animal: str
    frame_number: int
    distance_m: float
    angle_deg: float
    speed_m_s: float
    visible: bool
    box: Box | None
    found: Box | None
    confidence: float | None


class Seen(NamedTuple):
    sightings: list[Sighting]
    moments: list[Moment]  # by time and animal; empty if the clip is not tracked


class Notes:
    """Decides which pictures of a clip are noted, and notes them."""

    def __init__(self, plan: ClipPlan):
        rate = plan.frame_rate
        last_s = (plan.n_frames - 1) / rate
        self.even = {int(t * rate): t for t in range(0, int(last_s) + 1, 2)}
        # Cheap cameras pad their higher frame rates: each picture of the sensor is shown twice.
        self.repeats = 1 if rate < 8 else 2
        halves = {self._shown(int(j * rate / 2)): j / 2 for j in range(int(2 * last_s) + 1)}
        self.halves = halves if plan.tracked else {}
        self.rngs = {name: np.random.default_rng([plan.seed, 5, plan.number, k]) for k, name in enumerate(NAMES)}

    def is_new_picture(self, k: int) -> bool:
        return k % self.repeats == 0 or k in self.even

    def _shown(self, k: int) -> int:
        """Returns the number of the frame that shows the same picture first."""
        return k if self.is_new_picture(k) else k - k % self.repeats

    def take(self, k: int, views: list[View], grey) -> Seen:
        """Returns what is noted of frame k. grey: the still picture without animals, see note_sighting."""
        seen = Seen([], [])
        for view in sorted(views, key=lambda view: view.animal.name):
            sighting = note_sighting(view.animal.rng, self.even[k], view, grey) if k in self.even else None
            seen.sightings.extend([sighting] if sighting else [])
            if k in self.halves:
                rng, time_s = self.rngs[view.animal.name], self.halves[k]
                found = sighting or note_sighting(rng, time_s, view, grey, MIN_GLIMPSE_SHARE)
                seen.moments.append(note_moment(k, time_s, view, grey, found))
        return seen


def note_sighting(rng, time_s, view: View, grey, least_share: float = MIN_VISIBLE_SHARE) -> Sighting | None:
    """Returns the sighting of the animal, None if it is hidden, out of the picture or too dark.

    grey: the still picture without the animal [h, w], on the canvas or smaller. least_share: of the body, visible. The
    detector's box is slightly off, and sometimes the detector finds none.
    """
    if view.sprite is None:
        return None
    draws = rng.random(6)
    share = visible_part(view, grey)
    if share < least_share:
        return None
    distance_m = float(np.hypot(view.pose[0], view.pose[1]))
    if draws[0] < 0.08 + 0.012 * distance_m:
        return Sighting(time_s, distance_m, None, None, view.animal.name)
    edges = _edges_px(view.sprite)
    edges += (draws[1:5] - 0.5) * 0.06 * (edges[[2, 3, 2, 3]] - edges[[0, 1, 0, 1]])
    confidence = (1.05 - 0.045 * distance_m - 0.5 * draws[5] ** 2) * min(1.0, share / MIN_VISIBLE_SHARE)
    probability = float(np.clip(confidence, 0.02, 0.999))
    return Sighting(time_s, distance_m, _shares(edges, view), round(probability, 6), view.animal.name)


def note_moment(frame_number: int, time_s: float, view: View, grey, sighting: Sighting | None) -> Moment:
    """Returns the truth about an animal in a picture. sighting: what a detector finds there."""
    sprite = view.sprite
    in_picture = sprite is not None and (sprite.pixels[..., 1] > 127).any()
    x_m, z_m = (float(value) for value in view.pose[:2])
    return Moment(
        time_s=time_s,
        animal=view.animal.name,
        frame_number=frame_number,
        distance_m=float(np.hypot(x_m, z_m)),
        angle_deg=float(np.degrees(np.arctan2(x_m, z_m))),
        speed_m_s=view.animal.walk.speed(view.time_s),
        visible=bool(sprite is not None and visible_part(view, grey) >= MIN_VISIBLE_SHARE),
        box=_shares(_edges_px(sprite), view) if in_picture else None,
        found=sighting.box if sighting else None,
        confidence=sighting.probability if sighting else None,
    )


def visible_part(view: View, grey) -> float:
    """Returns the visible share of an animal's body, 0..1. grey: see note_sighting.

    The share is 0 if too few pixels or too little contrast are left, and 1 if the animal fills much of the picture.
    """
    sprite, (height, width) = view.sprite, view.occluder_m.shape
    cover, step = sprite.pixels[..., 1] > 127, width // grey.shape[1]
    rows, columns = (slice(s.start // step, s.stop // step) for s in (sprite.rows, sprite.columns))
    behind = grey[rows, columns][cover[::step, ::step]].astype(float)
    contrast = np.median(np.abs(view.tones[COAT_GREY - 20] - behind)) if behind.size else 0.0
    if cover.sum() < MIN_VISIBLE_PX or contrast < MIN_CONTRAST:
        return 0.0
    return 1.0 if cover.sum() > 0.05 * width * height else visible_share(sprite, view.occluder_m)


def _edges_px(sprite) -> np.ndarray:
    """Returns x1, y1, x2, y2 of the visible part within the sprite, in pixels of the canvas."""
    cover = sprite.pixels[..., 1] > 127
    rows, columns = np.nonzero(cover.any(1))[0], np.nonzero(cover.any(0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _shares(edges_px, view: View) -> Box:
    (height, width), sprite = view.occluder_m.shape, view.sprite
    edges = (edges_px + [sprite.columns.start, sprite.rows.start] * 2) / ([width, height] * 2)
    return tuple(np.clip(edges, 0, 1).round(6).tolist())


# ---------------------------------------------------------------- truth/<id>.json


def write_seen(path: Path, seen: Seen, tracked: bool) -> None:
    """Writes what was seen in a clip; without names and moments if the clip is not tracked."""
    sightings = [asdict(sighting) for sighting in seen.sightings]
    if not tracked:
        sightings = [{name: value for name, value in row.items() if name != 'animal'} for row in sightings]
    moments = [asdict(moment) for moment in seen.moments]
    write_whole(path, json.dumps({'sightings': sightings, 'moments': moments} if tracked else sightings))


def read_seen(path: Path) -> Seen:
    content = json.loads(path.read_text())
    content = {'sightings': content, 'moments': []} if isinstance(content, list) else content

    def rows(name, kind, *boxes):
        return [kind(**{**row, **{box: row[box] and tuple(row[box]) for box in boxes}}) for row in content[name]]

    return Seen(rows('sightings', Sighting, 'box'), rows('moments', Moment, 'box', 'found'))
