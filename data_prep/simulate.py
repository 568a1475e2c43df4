"""Renders camera-trap clips with known distances: python -m data_prep.simulate --out DIR

A clip is a still picture (data_prep/scene.py) through which one animal walks: a body of tapered
capsules, projected by the site's pinhole camera and drawn in its bounding box alone, which is what
makes this quick. What comes out depends on seed and difficulty, not on the number of workers.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.interpolate import PchipInterpolator

from data_prep import scene, simulate_tables
from data_prep.guard import Lost, WorkerError, run_guarded
from data_prep.simulate_tables import ClipPlan, Sighting

NEAREST_DEPTH_M = 0.12  # parts of the body nearer to the lens are not drawn
COAT_GREY = 150  # the drawn grey that stands for a coat's own brightness
EYE_GREY = 255  # dark by day, shining in infrared
GRAIN_VARIANTS = 4  # noisy copies of a still picture, one a second: codecs freeze the grain
STRIP_SHARE = 1 / 15  # of the picture's height: 48 of 720 rows, 12 of 180
# Black in an overexposed clip, as a share of the brightest after gamma correction: luma 234 of 255,
# so that all of the picture is white in RGB.
OVEREXPOSED_FLOOR = 0.43
# An animal is seen where this share of its body shows, on so many pixels of the canvas, with this
# contrast in grey levels.
MIN_VISIBLE_SHARE, MIN_VISIBLE_PX, MIN_CONTRAST = 0.4, 80, 8.0
JOB_DEADLINE_S = 900  # for the clips of one site, which take a minute on a busy machine
LUMA = np.float32([0.299, 0.587, 0.114])  # BT.601


# ---------------------------------------------------------------- walking


@dataclass(frozen=True)
class Walk:
    """Samples [N, 7] every 0.1 s: x, z (metres), heading x, z (unit), leg phase (radians), stride
    and lowering of the head (both 0..1)."""

    samples: np.ndarray

    def pose(self, time_s: float) -> np.ndarray:
        k = min(int(time_s * 10), len(self.samples) - 2)
        return self.samples[k] + (self.samples[k + 1] - self.samples[k]) * (time_s * 10 - k)


def draw_walk(rng, duration_s: float, view_deg: float, height_m: float, farthest_m=25.0) -> Walk:
    """A smooth path through points whose distance wanders; now and then the animal stands."""
    half_view = np.radians(view_deg) / 2
    nearest_m = 0.3 + 0.4 * height_m
    far_m = np.exp(rng.normal(np.log(6.6), 0.72))  # spread as in the challenge's labels
    drift, times_s, points, stands = rng.normal(0, 0.25), [0.0], [], []
    while times_s[-1] < duration_s + 0.2 or len(points) < 2:
        far_m = far_m * np.exp(rng.normal(drift, 0.2))
        if not nearest_m < far_m < farthest_m:  # it turns round
            far_m, drift = float(np.clip(far_m, 1.3 * nearest_m, farthest_m / 1.3)), -drift
        inside = rng.random() < 0.88
        bearing = half_view * (rng.uniform(-0.85, 0.85) if inside else rng.choice([-1.3, 1.3]))
        point = far_m * np.array([np.sin(bearing), np.cos(bearing)])
        if points:
            stands.append(rng.random() < 0.3)
            point = points[-1] if stands[-1] else point
            walk_s = max(1.0, np.hypot(*(point - points[-1])) / rng.uniform(0.6, 1.4))
            times_s.append(times_s[-1] + (rng.uniform(2, 5) if stands[-1] else walk_s))
        points.append(point)
    grid_s = np.arange(0, duration_s + 0.2, 0.1)
    path = PchipInterpolator(times_s, np.array(points))
    velocity = path.derivative()(grid_s)
    pace = np.hypot(*velocity.T)
    # an animal that stands keeps the heading it came with
    moving = np.nonzero(pace > 0.08)[0] if (pace > 0.08).any() else np.array([0])
    latest = moving[np.maximum(np.searchsorted(moving, np.arange(len(grid_s)), 'right') - 1, 0)]
    heading = _unit(_smooth(_unit(velocity[latest])))
    phase = np.cumsum(pace) * 0.1 * 2 * np.pi / (1.1 * height_m)
    feeding = np.interp(grid_s, times_s[1:], rng.uniform(0, 1) * np.array(stands)) * (pace < 0.08)
    nodding = 0.15 * np.sin(grid_s * rng.uniform(0.3, 0.8))
    moods = _smooth(np.stack([np.minimum(1, pace / 0.7), feeding + nodding], 1)).clip(0, 1)
    return Walk(np.column_stack([path(grid_s), heading, phase, moods]))


def _unit(vectors):
    return (vectors + [0, 1e-6]) / np.hypot(*(vectors + [0, 1e-6]).T)[:, None]


def _smooth(columns, width: int = 9):
    padded = np.pad(columns, ((width // 2, width // 2), (0, 0)), mode='edge')
    return np.stack([np.convolve(c, np.ones(width) / width, 'valid') for c in padded.T], 1)


# ---------------------------------------------------------------- the animal


@dataclass(frozen=True)
class Species:
    """`height_m` of the back; the other lengths are shares of it. A coat is RGB reflectance by day;
    in the lamp's infrared even dark fur is light."""

    height_m: float
    length: float
    girth: float
    neck: float
    head: float
    horns: float
    coat: tuple[float, float, float]
    infrared: float = 0.4


SPECIES = {
    'bushbuck': Species(1.0, 0.74, 0.17, 0.36, 0.27, 0.0, (0.075, 0.058, 0.045)),
    'duiker': Species(0.4, 0.85, 0.22, 0.34, 0.30, 0.10, (0.34, 0.21, 0.135)),
    'hog': Species(0.7, 1.0, 0.27, 0.12, 0.50, 0.0, (0.20, 0.17, 0.15)),
    'buffalo': Species(1.6, 1.05, 0.25, 0.28, 0.34, 0.22, (0.17, 0.13, 0.11)),
}


def draw_animal(rng, difficulty: str) -> Species:
    """easy: one species; hard: four. Each animal is up to 5 % off its species' size."""
    kind = SPECIES['bushbuck' if difficulty == 'easy' else str(rng.choice(sorted(SPECIES)))]
    coat = tuple((np.array(kind.coat) * rng.uniform(0.8, 1.25)).tolist())
    return replace(kind, height_m=kind.height_m * float(rng.uniform(0.95, 1.05)), coat=coat)


def body_parts(animal: Species, pose: np.ndarray):
    """The body as capsules: ends [N, 2, 3] in world metres, radii [N, 2], grey [N]."""
    x_m, z_m, heading_x, heading_z, phase, stride, lowered = pose
    half, girth, head = animal.length / 2, animal.girth, animal.head
    spine = 1 - girth
    bob = 0.012 * stride * np.sin(2 * phase)
    parts = []  # (forward, side, up) of both ends, both radii, grey; in heights of the animal
    for forward, side, beat in ((-half, -1, 0), (half, -1, 0.25), (-half, 1, 0.5), (half, 1, 0.75)):
        turn = phase + 2 * np.pi * beat
        swing, lift = 0.2 * stride * np.sin(turn), 0.09 * stride * max(0.0, np.cos(turn))
        bend, thigh = (0.05, 0.8 * girth) if forward < 0 else (-0.02, 0.62 * girth)
        hip = (forward * 0.94, side * girth * 0.35, spine - 0.22 * girth)
        knee = (hip[0] + 0.5 * swing - bend + 0.06 * lift, side * girth * 0.55, 0.3 + 0.7 * lift)
        foot = (hip[0] + swing, side * girth * 0.55, 0.02 + lift)
        grey = COAT_GREY - 8 if side > 0 else 100
        parts += [(hip, knee, thigh, 0.04, grey), (knee, foot, 0.034, 0.02, grey - 45)]
    rear, front = (-half, 0, spine + bob), (half, 0, spine - 0.06 * girth + bob)
    flank, chest = (-half * 0.3, 0, spine - girth * 0.3), (half * 0.9, 0, spine - girth * 0.4)
    parts += [(rear, front, girth * 0.96, girth * 1.04, COAT_GREY)]
    parts += [(flank, chest, girth * 0.72, girth * 0.8, 128)]
    rise = np.radians(47 - 95 * lowered + 4 * np.sin(phase) * stride)
    nape = (half + 0.35 * girth, 0, spine + 0.2 * girth + bob)
    poll = (nape[0] + animal.neck * np.cos(rise), 0, nape[2] + animal.neck * np.sin(rise))
    face = np.radians(-28 - 38 * lowered)
    snout = (poll[0] + head * np.cos(face), 0, poll[2] + head * np.sin(face))
    parts += [(nape, poll, girth * 0.7, 0.25 * head, COAT_GREY)]
    parts += [(poll, snout, 0.3 * head, 0.13 * head, 136)]
    for side in (-1, 1):
        ear = (poll[0] - 0.05, side * 0.5 * head, poll[2] + 0.42 * head)
        eye = (poll[0] + 0.2 * head, side * 0.2 * head, poll[2] + 0.06 * head)
        parts += [(poll, ear, 0.1 * head, 0.1 * head, 112)]
        parts += [(eye, eye, 0.045 * head, 0.045 * head, EYE_GREY)]
        if animal.horns:
            tip = (poll[0] - 0.04, side * 0.5 * animal.horns, poll[2] + 0.2 * head + animal.horns)
            parts += [(poll, tip, 0.09 * head, 0.03 * head, 60)]
    rump = (-half - 0.8 * girth, 0, spine + 0.25 * girth)
    tail = (rump[0] - 0.07, 0.05 * np.sin(0.7 * phase), rump[2] - 0.2)
    parts += [(rump, tail, 0.05, 0.02, 110)]
    ends = np.array([part[:2] for part in parts]) * animal.height_m
    forward, side, up = np.moveaxis(ends, -1, 0)
    world_x = x_m + forward * heading_x + side * heading_z
    world_z = z_m + forward * heading_z - side * heading_x
    radii = np.array([part[2:4] for part in parts]) * animal.height_m
    return np.stack([world_x, up, world_z], -1), radii, np.array([part[4] for part in parts])


@dataclass(frozen=True)
class Sprite:
    """The animal in its box of the canvas (rows, columns), behind what stands nearer.

    pixels: uint8 [h, w, 3]: drawn grey, cover, shadow on the ground. ends: column, row (pixels) and
    depth (metres), each [N, 2], of the ends of the body's parts, in the picture or not.
    """

    rows: slice
    columns: slice
    pixels: np.ndarray
    ends: tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_sprite(camera, animal: Species, pose: np.ndarray, occluder_m: np.ndarray) -> Sprite | None:
    """None where nothing of the animal falls into the picture."""
    ends_m, radii_m, greys = body_parts(animal, pose)
    u_px, v_px, depth = (a.reshape(-1, 2) for a in scene.project(camera, ends_m.reshape(-1, 3)))
    ahead = depth.min(1) > NEAREST_DEPTH_M
    if not ahead.any():
        return None
    thick_px = camera.focal_px * radii_m / np.maximum(depth, NEAREST_DEPTH_M)
    extent_u, extent_v = ([(px - thick_px)[ahead], (px + thick_px)[ahead]] for px in (u_px, v_px))
    shadow = _shadow_outline(camera, animal, pose)
    if shadow is not None:
        extent_u, extent_v = [*extent_u, shadow[:, 0]], [*extent_v, shadow[:, 1]]
    columns, rows = _span(extent_u, camera.width_px), _span(extent_v, camera.height_px)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    if min(size) <= 0:
        return None
    image = Image.new('RGB', size, (COAT_GREY, 0, 0))
    draw, corner = ImageDraw.Draw(image), np.array([columns.start, rows.start])
    if shadow is not None:
        for share, dark in ((1.0, 120), (0.8, 255)):
            outline = shadow.mean(0) * (1 - share) + shadow * share - corner
            draw.polygon(outline.ravel().tolist(), fill=(COAT_GREY, 0, dark))
    in_box = (u_px - corner[0], v_px - corner[1], thick_px, greys)
    shapes = list(zip(*(values.tolist() for values in in_box), strict=True))
    for k in np.argsort(-depth.mean(1), kind='stable').tolist():
        if ahead[k]:
            _capsule(draw, *shapes[k])
    pixels = np.array(image)
    body_px = camera.focal_px * animal.girth * animal.height_m / depth[ahead].mean()
    pixels[..., 0] = _round(image, float(body_px))
    pixels[occluder_m[rows, columns] <= pose[1], 1:] = 0
    return Sprite(rows, columns, pixels, (u_px, v_px, depth))


def _shadow_outline(camera, animal, pose):
    """Columns and rows [16, 2] of the patch of ground under the body; None where it is too near."""
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    along = 0.62 * animal.height_m * np.cos(turn)
    aside = 0.24 * animal.height_m * np.sin(turn)
    x_m = pose[0] + along * pose[2] + aside * pose[3]
    z_m = pose[1] + along * pose[3] - aside * pose[2]
    u_px, v_px, depth = scene.project(camera, np.stack([x_m, 0 * turn, z_m], 1))
    return np.stack([u_px, v_px], 1) if depth.min() > NEAREST_DEPTH_M else None


def _span(extents, limit_px, grid_px=8):
    """Pixels from the least to the greatest extent, in whole steps of every clip's size."""
    low, high = min(values.min() for values in extents), max(values.max() for values in extents)
    span = np.clip([np.floor(low) - 2, np.ceil(high) + 2], 0, limit_px)
    start, stop = span.astype(int).tolist()
    return slice(start // grid_px * grid_px, min(limit_px, -(-stop // grid_px) * grid_px))


def _capsule(draw, u_px, v_px, radius_px, grey):
    (u0, u1), (v0, v1), (r0, r1) = u_px, v_px, radius_px
    long = max(((u1 - u0) ** 2 + (v1 - v0) ** 2) ** 0.5, 1e-6)
    x, y, fill = (v0 - v1) / long, (u1 - u0) / long, (grey, 255, 0)
    one_side = (u0 + x * r0, v0 + y * r0, u1 + x * r1, v1 + y * r1)
    draw.polygon((*one_side, u1 - x * r1, v1 - y * r1, u0 - x * r0, v0 - y * r0), fill=fill)
    draw.ellipse((u0 - r0, v0 - r0, u0 + r0, v0 + r0), fill=fill)
    draw.ellipse((u1 - r1, v1 - r1, u1 + r1, v1 + r1), fill=fill)


def _round(image, body_px: float):
    """The drawn grey, softened and lit from above, so that the capsules look like one body."""
    drawn = image.getchannel(0)
    grey = np.asarray(drawn.filter(ImageFilter.BoxBlur(0.12 * body_px)), np.float32)
    # a wide blur needs no fine grid: a quarter of the size is 10 times quicker
    bulge = image.getchannel(1).reduce(4).filter(ImageFilter.BoxBlur(0.55 * body_px / 4))
    bulge = np.asarray(bulge, np.int16)
    step, row = max(1, round(0.35 * body_px / 4)), np.arange(len(bulge))
    light = bulge[np.minimum(row + step, row[-1])] - bulge[np.maximum(row - step, 0)]
    light = Image.fromarray((light // 2 + 128).astype(np.uint8))
    light = np.asarray(light.resize(image.size, Image.Resampling.BILINEAR), np.float32) - 128
    grey = np.minimum(grey * (1 + 0.008 * light), EYE_GREY - 1)
    grey[np.asarray(drawn) == EYE_GREY] = EYE_GREY
    return grey


def visible_share(sprite: Sprite, occluder_m: np.ndarray) -> float:
    """Share of points along the body's parts that stand in the picture and before every trunk."""
    (height, width), steps = occluder_m.shape, np.array([0.0, 0.5, 1.0])
    u, v, z = (np.outer(end[:, 0], 1 - steps) + np.outer(end[:, 1], steps) for end in sprite.ends)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > NEAREST_DEPTH_M)
    row, column = np.clip(v, 0, height - 1).astype(int), np.clip(u, 0, width - 1).astype(int)
    return float((inside & (occluder_m[row, column] > z)).mean())


# ---------------------------------------------------------------- pictures of a clip


@lru_cache(maxsize=2)
def _site_and_layers(seed, site_index, site_id, difficulty):
    site = scene.draw_site(seed, site_index, site_id, difficulty)
    return site, scene.render_layers(site)


def frames(plan: ClipPlan) -> Iterator[tuple[np.ndarray, np.ndarray, Sighting | None]]:
    """The clip's pictures: full and down, each packed yuv420p [3H/2, W], and the sighting, if any.

    A sighting belongs to the last picture at or before an even second. The same array comes twice
    where the camera repeats a picture.
    """
    site, layers = _site_and_layers(plan.seed, plan.site_index, plan.site_id, plan.difficulty)
    rng = np.random.default_rng([plan.seed, 3, plan.number])
    rate, duration_s = plan.frame_rate, plan.n_frames / float(plan.frame_rate)
    light = scene.draw_light(rng, plan.night)
    animal = draw_animal(rng, plan.difficulty)
    farthest_m = 14.0 if plan.night else 25.0
    walk = draw_walk(rng, duration_s, site.camera.view_deg, animal.height_m, farthest_m)
    stage = Stage(plan, light, scene.light_up(site, layers, light), rng)
    strip = Strip(plan, site.strip, rng)
    noted = {int(t * rate): t for t in range(0, int((plan.n_frames - 1) / rate) + 1, 2)}
    # cheap cameras fill up their higher frame rates: each of the sensor's pictures is shown twice
    repeats = 1 if rate < 8 else 2
    for k in range(plan.n_frames):
        sighting = None
        if k % repeats == 0 or k in noted:
            second, pose = int(k / rate), walk.pose(k / float(rate))
            sprite = draw_sprite(site.camera, animal, pose, layers.occluder_m)
            noise, full, down = stage.still(second % GRAIN_VARIANTS)
            changed = []
            if sprite is not None:
                tones, colour = animal_tones(site, light, animal, pose)
                changed.append(stage.paint(full, noise, sprite, tones, colour))
                if k in noted:
                    seen = (sprite, tones, stage.grey, layers.occluder_m)
                    sighting = note_sighting(rng, noted[k], pose, *seen)
            changed.append(strip.paint(full, second))
            for box in changed:
                refresh_down(full, down, box, plan.overexposed)
        yield full, down, sighting


def animal_tones(site, light, animal: Species, pose):
    """Grey in the picture for each drawn grey, [256] float32, and the coat's colour there [3]."""
    reflectance = np.float32([animal.infrared] * 3 if light.night else animal.coat)
    coat = np.arange(256, dtype=np.float32)[:, None] / COAT_GREY * reflectance
    distance_m, bearing = np.hypot(pose[0], pose[1]), np.arctan2(pose[0], pose[1])
    picture = scene.shine(site, light, coat, distance_m, 0.5, 0.0, bearing)
    tones = (255 * picture @ LUMA).astype(np.float32)
    tones[EYE_GREY] = 230 if light.night else 15
    return tones, picture[COAT_GREY]


def note_sighting(rng, time_s, pose, sprite: Sprite, tones, grey, occluder_m) -> Sighting | None:
    """What is noted of the animal; None where it is hidden, out of the picture or too dark.

    grey: the still picture without it [h, w], on the canvas or smaller. The detector's box is a
    little off, and sometimes there is none.
    """
    draws = rng.random(6)
    (height, width), cover = occluder_m.shape, sprite.pixels[..., 1] > 127
    step = width // grey.shape[1]
    rows, columns = (slice(s.start // step, s.stop // step) for s in (sprite.rows, sprite.columns))
    behind = grey[rows, columns][cover[::step, ::step]].astype(float)
    contrast = np.median(np.abs(tones[COAT_GREY - 20] - behind)) if behind.size else 0.0
    enough = visible_share(sprite, occluder_m) >= MIN_VISIBLE_SHARE
    enough |= cover.sum() > 0.05 * width * height
    if cover.sum() < MIN_VISIBLE_PX or not enough or contrast < MIN_CONTRAST:
        return None
    distance_m = float(np.hypot(pose[0], pose[1]))
    if draws[0] < 0.08 + 0.012 * distance_m:
        return Sighting(time_s, distance_m, None, None)
    rows, columns = np.nonzero(cover.any(1))[0], np.nonzero(cover.any(0))[0]
    edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
    edges += (draws[1:5] - 0.5) * 0.06 * (edges[[2, 3, 2, 3]] - edges[[0, 1, 0, 1]])
    edges = (edges + [sprite.columns.start, sprite.rows.start] * 2) / ([width, height] * 2)
    probability = float(np.clip(1.05 - 0.045 * distance_m - 0.5 * draws[5] ** 2, 0.02, 0.999))
    box = tuple(np.clip(edges, 0, 1).round(6).tolist())
    return Sighting(time_s, distance_m, box, round(probability, 6))


def luma_codes(codec: str, overexposed: bool) -> np.ndarray:
    """Grey 0..255 -> stored luma, uint8 [256].

    Overexposed: each code clips to white in RGB (luma 235 is white already), and gamma 0.1, that
    is (luma / 255) ** 10, brings the greys back.
    """
    grey = np.arange(256)
    if overexposed:
        light = OVEREXPOSED_FLOOR + (1 - OVEREXPOSED_FLOOR) * np.clip((grey - 25) / 165, 0, 1)
        return np.round(255 * light**0.1).astype(np.uint8)
    return (grey if codec == 'mjpeg' else np.round(16 + 219 * grey / 255)).astype(np.uint8)


def chroma_codes(rgb, codec: str, overexposed: bool):
    """Blue and red difference of RGB [..., 3] in 0..1; a saturated sensor has no colour left."""
    scale = (255 if codec == 'mjpeg' else 224) * (0.03 if overexposed else 1)
    red, green, blue = np.moveaxis(np.asarray(rgb, np.float32), -1, 0)
    blue_difference = 128 + scale * (-0.1687 * red - 0.3313 * green + 0.5 * blue)
    return blue_difference, 128 + scale * (0.5 * red - 0.4187 * green - 0.0813 * blue)


def split_planes(packed: np.ndarray):
    """Luma [H, W], blue and red difference [H/2, W/2]: views of a packed picture [3H/2, W]."""
    height, width = packed.shape[0] * 2 // 3, packed.shape[1]
    return packed[:height], *packed[height:].reshape(2, height // 2, width // 2)


def refresh_down(full, down, box, overexposed: bool):
    """Downsamples a box (rows, columns) of the full picture into the down picture, in place.

    An overexposed clip is downsampled from what its player shows, clipped to white: what the
    brightest luma held is gone.
    """
    factor = full.shape[1] // down.shape[1]
    planes = zip(split_planes(full), split_planes(down), (1, 2, 2), strict=True)
    for source, target, step in planes:
        rows, columns = (slice(s.start // step, s.stop // step) for s in box)
        piece = source[rows, columns]
        if overexposed and step == 1:
            piece = np.minimum(piece, 235)
        rows, columns = (slice(s.start // factor, s.stop // factor) for s in (rows, columns))
        target[rows, columns] = _pool(piece, factor)


def _pool(plane: np.ndarray, factor: int) -> np.ndarray:
    rows = plane[0::factor].astype(np.uint16)
    for k in range(1, factor):
        rows += plane[k::factor]
    total = sum(rows[:, k::factor] for k in range(factor))
    return ((total + factor * factor // 2) // (factor * factor)).astype(np.uint8)


@lru_cache(maxsize=4)
def _grain(height_px: int, width_px: int) -> np.ndarray:
    """Sensor noise of deviation 1, a little soft, larger than the picture so that it can shift."""
    noise = np.random.default_rng(5).normal(size=(height_px + 64, width_px + 64))
    soft = noise + 0.5 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    return (soft / soft.std()).astype(np.float32)


@lru_cache(maxsize=1)
def _fur() -> np.ndarray:
    """Uneven brightness around 1, as large as any sprite."""
    return 1 + 0.07 * np.tile(scene.noise_tile(0.9), (2, 3))


class Stage:
    """The still pictures of a clip, and the brush that paints a sprite into a copy of one."""

    def __init__(self, plan: ClipPlan, light: scene.Light, background: np.ndarray, rng):
        self.plan, self.shadow = plan, 0.25 if light.night else 0.5
        self.codes = luma_codes(plan.codec, plan.overexposed)
        self.scale = plan.width_px / scene.CANVAS_PX[0]
        picture = (background * 255).astype(np.uint8)
        if self.scale < 1:
            picture = np.asarray(Image.fromarray(picture).reduce(round(1 / self.scale)))
        # large clips are painted at the canvas' size and enlarged last: it is 4 times quicker
        self.grey = (picture @ LUMA).astype(np.uint8)
        chroma = chroma_codes(picture / 255, plan.codec, plan.overexposed)
        chroma = [self._enlarge(plane.round().astype(np.uint8), 0.5) for plane in chroma]
        slope = (int(self.codes[190]) - int(self.codes[25])) / 165
        grain = slope * light.grain * (0.4 if self.scale > 1 else 1) * _grain(*self._size())
        self.stills = [self._still(grain, chroma, rng) for _ in range(GRAIN_VARIANTS)]

    def _size(self):
        return self.plan.height_px, self.plan.width_px

    def _still(self, grain, chroma, rng):
        (height, width), (y, x) = self._size(), rng.integers(0, 64, 2)
        noise = np.round(grain[y : y + height, x : x + width]).astype(np.int16)
        full = np.empty((height * 3 // 2, width), np.uint8)
        luma = self._noisy(self.grey, noise)
        for plane, values in zip(split_planes(full), (luma, *chroma), strict=True):
            plane[:] = values
        down_width = simulate_tables.down_width_px(width)
        down = np.empty((full.shape[0] * down_width // width, down_width), np.uint8)
        refresh_down(full, down, (slice(0, height), slice(0, width)), self.plan.overexposed)
        return noise, full, down

    def still(self, k: int):
        """The noise of a still picture, and copies of it, full and down."""
        noise, full, down = self.stills[k]
        return noise, full.copy(), down.copy()

    def _enlarge(self, plane, times=1.0):
        size = tuple(round(times * side * max(1, self.scale)) for side in plane.shape[::-1])
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))

    def _noisy(self, grey, noise):
        luma = self.codes[grey]
        luma = self._enlarge(luma) if self.scale > 1 else luma
        return np.clip(luma + noise, self.codes[0], self.codes[-1])

    def paint(self, full, noise, sprite: Sprite, tones, colour):
        """Paints in place; the box (rows, columns) of the full picture that changed."""
        pixels, canvas_box = sprite.pixels, (sprite.rows, sprite.columns)
        box = tuple(slice(int(s.start * self.scale), int(s.stop * self.scale)) for s in canvas_box)
        if self.scale < 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(round(1 / self.scale)))
        shade, cover, shadow = np.moveaxis(pixels, -1, 0)
        cover = cover.astype(np.float32) / 255
        ground = self.grey[box if self.scale < 1 else canvas_box]
        ground = ground * (1 - np.float32(self.shadow / 255) * shadow)
        fur = tones[shade] * _fur()[: shade.shape[0], : shade.shape[1]]
        grey = np.clip(ground + (fur - ground) * cover, 0, 255).astype(np.uint8)
        luma, *chroma = split_planes(full)
        luma[box] = self._noisy(grey, noise[box])
        half = tuple(slice(s.start // 2, s.stop // 2) for s in box)
        cover = cover if self.scale > 1 else cover[::2, ::2]
        codes = chroma_codes(colour, self.plan.codec, self.plan.overexposed)
        for plane, code in zip(chroma, codes, strict=True):
            plane[half] = np.round(plane[half] * (1 - cover) + float(code) * cover)
        return box


class Strip:
    """The bar at the foot of the picture with site, temperature, date and time."""

    def __init__(self, plan: ClipPlan, style: str, rng):
        self.plan = plan
        self.paper, self.ink = {'white': (235, 20), 'black': (18, 225), 'overlay': (0, 235)}[style]
        self.note = f'CAM {plan.site_id.upper()}  {rng.integers(18, 33)}°C'
        self.date = f'2021-{rng.integers(1, 13):02d}-{rng.integers(1, 28):02d}'
        hour = int(rng.integers(19, 28) if plan.night else rng.integers(6, 18)) % 24
        self.start_s = hour * 3600 + int(rng.integers(0, 3600))
        self.drawn = (None, None)

    def paint(self, full, second: int):
        """Paints the bar of a second in place; its box (rows, columns)."""
        height, width = self.plan.height_px, self.plan.width_px
        rows = slice(height - round(height * STRIP_SHARE), height)
        if self.drawn[0] != second:
            self.drawn = (second, self._draw(second, rows.stop - rows.start, width))
        bar = self.drawn[1]
        opaque = bar > 60 if self.paper == 0 else np.ones(bar.shape, bool)
        luma, *chroma = split_planes(full)
        np.copyto(luma[rows], bar, where=opaque)
        for plane in chroma:
            plane[rows.start // 2 : rows.stop // 2][opaque[::2, ::2]] = 128
        return rows, slice(0, width)

    def _draw(self, second, height, width):
        image = Image.new('L', (width, height), self.paper)
        draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=max(8, int(height * 0.72)))
        now = self.start_s + second
        clock = f'{self.date}  {now // 3600 % 24:02d}:{now // 60 % 60:02d}:{now % 60:02d}'
        draw.text((width * 0.03, height / 2), self.note, fill=self.ink, font=font, anchor='lm')
        draw.text((width * 0.97, height / 2), clock, fill=self.ink, font=font, anchor='rm')
        return np.asarray(image)


# ---------------------------------------------------------------- files of a clip


def render_clip(plan: ClipPlan, out: Path) -> list[Sighting]:
    """Writes OUT/full/<id>, OUT/down/<id> and, last, what is true of it to OUT/truth/<id>.json.

    A clip that has its truth is left as it is.
    """
    truth = out / 'truth' / f'{plan.video_id}.json'
    if truth.exists():
        return simulate_tables.read_sightings(truth)
    paths = [out / stream / plan.video_id for stream in ('full', 'down')]
    parts = [path.with_name(f'{path.name}.{os.getpid()}.part') for path in paths]
    for folder in (truth.parent, *(path.parent for path in paths)):
        folder.mkdir(parents=True, exist_ok=True)
    widths = (plan.width_px, simulate_tables.down_width_px(plan.width_px))
    outputs = [_open_output(part, plan, width) for part, width in zip(parts, widths, strict=True)]
    sightings, shown, packed = [], None, []
    for index, (*pictures, sighting) in enumerate(frames(plan)):
        if pictures[0] is not shown:
            shown = pictures[0]
            formats = [stream.pix_fmt for _, stream in outputs]
            packed = [
                av.VideoFrame.from_ndarray(picture, format=name)
                for picture, name in zip(pictures, formats, strict=True)
            ]
        for (container, stream), frame in zip(outputs, packed, strict=True):
            frame.pts, frame.time_base = index, 1 / plan.frame_rate
            container.mux(stream.encode(frame))
        sightings += [sighting] if sighting else []
    for (container, stream), part, path in zip(outputs, parts, paths, strict=True):
        container.mux(stream.encode(None))
        container.close()
        os.replace(part, path)
    simulate_tables.write_sightings(truth, sightings)
    return sightings


def _open_output(path: Path, plan: ClipPlan, width_px: int):
    container = av.open(str(path), 'w', format='mp4' if plan.codec == 'libx264' else 'avi')
    # the faint signal of an overexposed clip needs fine steps, which cost little there
    usual = {'libx264': 30 if plan.width_px > 640 else 28, 'mpeg4': 5, 'mjpeg': 7}[plan.codec]
    fine = {'libx264': 14, 'mpeg4': 1}.get(plan.codec)
    level = str(fine if plan.overexposed else usual)
    options = {'preset': 'ultrafast', 'crf': level}
    if plan.codec != 'libx264':
        options = {'qmin': level, 'qmax': level}
    stream = container.add_stream(plan.codec, rate=plan.frame_rate, options={**options, 'g': '60'})
    stream.width, stream.height = width_px, plan.height_px * width_px // plan.width_px
    stream.pix_fmt = 'yuvj420p' if plan.codec == 'mjpeg' else 'yuv420p'
    stream.codec_context.thread_count = 1  # there is one process a core already
    return container, stream


# ---------------------------------------------------------------- the command


def simulate(out: Path, difficulty: str, seed: int, size: simulate_tables.Size, workers: int):
    """Renders all clips into OUT, then writes the tables and the contact sheet.

    Raises FolderError where OUT holds clips of other settings, WorkerError where a worker dies.
    """
    start_s = time.time()
    plans = simulate_tables.plan_clips(seed, difficulty, size)
    settings = {'seed': seed, 'difficulty': difficulty, 'size': str(size)}
    simulate_tables.claim_folder(out, settings)
    by_site = {}
    for plan in plans:  # one job a site: its still picture serves all of its clips
        by_site.setdefault(plan.site_index, []).append(plan)
    jobs = sorted(by_site.values(), key=lambda job: -sum(map(_effort, job)))
    total, done, seen = sum(map(_effort, plans)), 0.0, {}
    print(f'simulate: 0/{len(plans)} clips', end='', flush=True)
    tasks = [(job, str(out)) for job in jobs]
    for (job, _), sightings in run_guarded('data_prep.simulate:render_job', tasks, workers, lambda _: JOB_DEADLINE_S):
        if isinstance(sightings, Lost):
            raise WorkerError(sightings.reason)
        seen.update(sightings)
        done += sum(map(_effort, job))
        spent_s = time.time() - start_s
        eta = f'{spent_s:.0f} s, ETA {spent_s * (total / done - 1):.0f} s'
        print(f'\rsimulate: {len(seen)}/{len(plans)} clips, {eta}  ', end='', flush=True)
    print()
    simulate_tables.write_tables(out, plans, seen)
    simulate_tables.write_contact_sheet(out, plans, seen)
    n_labels, spent_s = sum(map(len, seen.values())), time.time() - start_s
    print(f'simulate: {len(plans)} clips with {n_labels} labels in {out}, {spent_s:.0f} s')


def render_job(task) -> dict[str, list[Sighting]]:
    """task: the plans of a site's clips, and OUT. For worker processes."""
    plans, out = task
    return {plan.video_id: render_clip(plan, Path(out)) for plan in plans}


def _effort(plan: ClipPlan) -> float:
    """What a clip costs, in small pictures."""
    return 40 + plan.n_frames * (3 if plan.width_px > 640 else 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--out', required=True, type=Path, help='folder for clips and tables')
    parser.add_argument('--difficulty', choices=('easy', 'hard'), default='easy')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--quick', action='store_true', help='38 clips of 8 to 10 s, not 262')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    args = parser.parse_args()
    if args.workers < 1 or args.seed < 0:
        raise SystemExit('simulate: --workers must be at least 1 and --seed at least 0')
    size = simulate_tables.QUICK_SIZE if args.quick else simulate_tables.FULL_SIZE
    try:
        simulate(args.out, args.difficulty, args.seed, size, args.workers)
    except simulate_tables.FolderError as error:
        raise SystemExit(f'simulate: {error}') from error
    except WorkerError as error:
        raise SystemExit(f'\nsimulate: {error}; the same command goes on from there') from error


if __name__ == '__main__':
    main()
