"""A simulated animal: how it walks, and its body of tapered capsules seen by a pinhole camera."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.interpolate import PchipInterpolator

from data_prep.simulator.site import project

NEAREST_DEPTH_M = 0.12  # parts of the body nearer to the lens are not drawn
COAT_GREY = 150  # the drawn grey of a coat's own brightness
EYE_GREY = 255  # dark by day, shining in infrared


@dataclass(frozen=True)
class Walk:
    """The path and motion of an animal.

    samples: [N, 7] every 0.1 s: x, z (metres), heading x, z (unit), leg phase (radians), stride and lowering of the
    head (both 0..1).
    """

    samples: np.ndarray

    def pose(self, time_s: float) -> np.ndarray:
        k = min(int(time_s * 10), len(self.samples) - 2)
        return self.samples[k] + (self.samples[k + 1] - self.samples[k]) * (time_s * 10 - k)

    def speed(self, time_s: float) -> float:
        """Returns the speed on the ground, in metres per second."""
        k = min(int(time_s * 10), len(self.samples) - 2)
        return float(np.hypot(*(self.samples[k + 1, :2] - self.samples[k, :2])) * 10)


def draw_walk(
    rng, duration_s: float, view_deg: float, height_m: float, farthest_m=25.0, start_m: float | None = None
) -> Walk:
    """Returns a smooth path through points at varying distances. Sometimes the animal stands.

    start_m: distance of the first point, about; None: as in the challenge's labels.
    """
    half_view = np.radians(view_deg) / 2
    nearest_m = 0.3 + 0.4 * height_m
    far_m = np.exp(rng.normal(np.log(6.6), 0.72))  # spread as in the challenge's labels
    far_m = far_m if start_m is None else start_m
    drift, times_s, points, stands = rng.normal(0, 0.25), [0.0], [], []
    while times_s[-1] < duration_s + 0.2 or len(points) < 2:
        far_m = far_m * np.exp(rng.normal(drift, 0.2))
        if not nearest_m < far_m < farthest_m:  # turn round
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
    # A standing animal keeps its last heading.
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


@dataclass(frozen=True)
class Species:
    """The size and coat of an animal.

    height_m: of the back; the other lengths are shares of it. coat: RGB reflectance by day. infrared: reflectance in
    the lamp's infrared, where even dark fur is light.
    """

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
    """Returns an animal of one species (easy) or of four (hard), up to 5 % larger or smaller than its species."""
    kind = SPECIES['bushbuck' if difficulty == 'easy' else str(rng.choice(sorted(SPECIES)))]
    coat = tuple((np.array(kind.coat) * rng.uniform(0.8, 1.25)).tolist())
    return replace(kind, height_m=kind.height_m * float(rng.uniform(0.95, 1.05)), coat=coat)


def body_parts(animal: Species, pose: np.ndarray):
    """Returns the body as capsules: ends [N, 2, 3] in world metres, radii [N, 2], grey [N]."""
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
    """The animal in its box of the canvas (rows, columns), without the parts behind nearer trunks and plants.

    pixels: uint8 [h, w, 3]: drawn grey, cover, shadow on the ground. ends: column, row (pixels) and depth (metres) of
    the ends of the body's parts, each [N, 2], also outside the picture.
    """

    rows: slice
    columns: slice
    pixels: np.ndarray
    ends: tuple[np.ndarray, np.ndarray, np.ndarray]


def draw_sprite(camera, animal: Species, pose: np.ndarray, occluder_m: np.ndarray) -> Sprite | None:
    """Returns the drawn animal, None if no part of it is in the picture."""
    ends_m, radii_m, greys = body_parts(animal, pose)
    u_px, v_px, depth = (a.reshape(-1, 2) for a in project(camera, ends_m.reshape(-1, 3)))
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
    """Returns columns and rows [16, 2] of the ground under the body, None if it is too near."""
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    along = 0.62 * animal.height_m * np.cos(turn)
    aside = 0.24 * animal.height_m * np.sin(turn)
    x_m = pose[0] + along * pose[2] + aside * pose[3]
    z_m = pose[1] + along * pose[3] - aside * pose[2]
    u_px, v_px, depth = project(camera, np.stack([x_m, 0 * turn, z_m], 1))
    return np.stack([u_px, v_px], 1) if depth.min() > NEAREST_DEPTH_M else None


def _span(extents, limit_px, grid_px=8):
    """Returns the pixels from the least to the greatest extent, rounded to grid_px, which fits every clip size."""
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
    """Returns the drawn grey, softened and lit from above, so that the capsules look like one body."""
    drawn = image.getchannel(0)
    grey = np.asarray(drawn.filter(ImageFilter.BoxBlur(0.12 * body_px)), np.float32)
    # A wide blur does not require a fine grid: a quarter of the size is 10 times faster.
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
    """Returns the share of points along the body's parts that are in the picture and in front of every trunk."""
    (height, width), steps = occluder_m.shape, np.array([0.0, 0.5, 1.0])
    u, v, z = (np.outer(end[:, 0], 1 - steps) + np.outer(end[:, 1], steps) for end in sprite.ends)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (z > NEAREST_DEPTH_M)
    row, column = np.clip(v, 0, height - 1).astype(int), np.clip(u, 0, width - 1).astype(int)
    return float((inside & (occluder_m[row, column] > z)).mean())
