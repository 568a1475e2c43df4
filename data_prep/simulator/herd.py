"""The animals of a clip, and how the camera sees them in one picture."""

from dataclasses import dataclass

import numpy as np

from data_prep.simulator import scene
from data_prep.simulator.animal import COAT_GREY, EYE_GREY, Species, Sprite, Walk, draw_animal, draw_sprite, draw_walk
from data_prep.simulator.plan import NAMES, ClipPlan

LUMA = np.float32([0.299, 0.587, 0.114])  # BT.601
# A further animal often starts this many times nearer or farther than the first: two animals at 3 m and 12 m.
APART_SHARE, APART_TIMES = 0.7, (1.7, 4.0)


@dataclass(frozen=True)
class Animal:
    """One animal of a clip. name: '' if the clip is not tracked. rng draws how a detector sees it at even seconds."""

    name: str
    species: Species
    walk: Walk
    rng: np.random.Generator


@dataclass(frozen=True)
class View:
    """One animal in one picture.

    sprite: None if no part is in the picture. tones: the grey in the picture for each drawn grey, float32 [256].
    colour: of the coat [3]. occluder_m: z of the trunk, plant or nearer animal at each pixel, [H, W].
    """

    animal: Animal
    time_s: float
    pose: np.ndarray
    sprite: Sprite | None
    tones: np.ndarray
    colour: np.ndarray
    occluder_m: np.ndarray


def draw_herd(rng, plan: ClipPlan, view_deg: float) -> list[Animal]:
    """Returns the animals of a clip.

    The first is drawn from rng and the others from generators of their own, so the first does not depend on them.
    """
    duration_s = plan.n_frames / float(plan.frame_rate)
    farthest_m = 14.0 if plan.night else 25.0
    herd = []
    for k in range(plan.n_animals):
        own = np.random.default_rng([plan.seed, 4, plan.number, k]) if k else rng
        species = draw_animal(own, plan.difficulty)
        start_m = _start_beside(own, herd[0].walk, farthest_m) if herd else None
        walk = draw_walk(own, duration_s, view_deg, species.height_m, farthest_m, start_m)
        herd.append(Animal(NAMES[k] if plan.tracked else '', species, walk, own))
    return herd


def _start_beside(rng, first: Walk, farthest_m: float) -> float | None:
    """Returns where a further animal starts (metres), None if its start does not depend on the first."""
    apart, times, farther = rng.random(), rng.uniform(*APART_TIMES), rng.random() < 0.5
    first_m = float(np.hypot(*first.pose(0.0)[:2]))
    if apart >= APART_SHARE:
        return None
    return first_m * times if first_m * times < farthest_m and (farther or first_m < 4) else first_m / times


def look_at(site, light, herd: list[Animal], time_s: float, occluder_m) -> list[View]:
    """Returns the animals at a time, the nearest first. A nearer animal hides the parts of others behind it."""
    views = []
    for animal, pose in sorted(((a, a.walk.pose(time_s)) for a in herd), key=lambda pair: pair[1][1]):
        sprite = draw_sprite(site.camera, animal.species, pose, occluder_m)
        tones, colour = animal_tones(site, light, animal.species, pose)
        views.append(View(animal, time_s, pose, sprite, tones, colour, occluder_m))
        if sprite is not None and len(views) < len(herd):
            occluder_m = occluder_m.copy()
            place = occluder_m[sprite.rows, sprite.columns]
            place[sprite.pixels[..., 1] > 127] = pose[1]
    return views


def animal_tones(site, light, animal: Species, pose):
    """Returns the grey in the picture for each drawn grey, [256] float32, and the colour of the coat [3]."""
    reflectance = np.float32([animal.infrared] * 3 if light.night else animal.coat)
    coat = np.arange(256, dtype=np.float32)[:, None] / COAT_GREY * reflectance
    distance_m, bearing = np.hypot(pose[0], pose[1]), np.arctan2(pose[0], pose[1])
    picture = scene.shine(site, light, coat, distance_m, 0.5, 0.0, bearing)
    tones = (255 * picture @ LUMA).astype(np.float32)
    tones[EYE_GREY] = 230 if light.night else 15
    return tones, picture[COAT_GREY]
