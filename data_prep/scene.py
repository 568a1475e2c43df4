"""The simulated world: pinhole cameras, sites, and the still picture that a site's camera sees.

World axes in metres: x to the right, y up, z forward along the ground. The camera stands at
(0, height, 0) and looks along +z, tilted down. Pictures here are [H, W] or [H, W, 3] float32 on a
canvas of 640 x 360. Everything follows from seeds, so that a site is the same in every process.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CANVAS_PX = (640, 360)  # width, height; clips are this picture made smaller or larger
BACKDROP_M = (60.0, 44.0, 31.0)  # distances of the walls of foliage behind the farthest animal
FAR_M = 80.0
TILE_PX, TILE_M = 512, 2.0  # a tile of ground texture


# ---------------------------------------------------------------- geometry


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; a tilt above 0 looks down, the field of view is the horizontal one."""

    height_m: float
    tilt_deg: float
    view_deg: float
    width_px: int = CANVAS_PX[0]
    height_px: int = CANVAS_PX[1]

    @property
    def focal_px(self) -> float:
        return self.width_px / 2 / np.tan(np.radians(self.view_deg) / 2)


def project(camera: Camera, points_m):
    """World points [N, 3] -> columns [N], rows [N] in pixels, depth [N] along the optical axis."""
    x, y, z = np.asarray(points_m, float).T
    sin, cos = np.sin(np.radians(camera.tilt_deg)), np.cos(np.radians(camera.tilt_deg))
    above = y - camera.height_m
    depth = z * cos - above * sin
    safe = np.maximum(depth, 1e-3)
    u_px = camera.width_px / 2 + camera.focal_px * x / safe
    v_px = camera.height_px / 2 - camera.focal_px * (above * cos + z * sin) / safe
    return u_px, v_px, depth


def rays(camera: Camera):
    """Metres sideways [H, W] and up [H, 1] for each metre along the ground, at pixel centres."""
    rows = (camera.height_px / 2 - np.arange(camera.height_px) - 0.5)[:, None] / camera.focal_px
    columns = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2)[None] / camera.focal_px
    tilt = np.radians(camera.tilt_deg)
    forward = np.cos(tilt) + rows * np.sin(tilt)
    return columns / forward, (rows * np.cos(tilt) - np.sin(tilt)) / forward


# ---------------------------------------------------------------- sites


@dataclass(frozen=True)
class Trunk:
    x_m: float
    z_m: float
    radius_m: float
    lean: float  # metres sideways for each metre of height
    shade: float


@dataclass(frozen=True)
class Plant:
    kind: str
    x_m: float
    z_m: float
    width_m: float
    shade: float


@dataclass(frozen=True)
class Site:
    """One place with one camera. Tints and colours are RGB."""

    site_id: str
    park: str
    camera: Camera
    ground: str
    ground_tint: np.ndarray
    leaf_tint: np.ndarray
    bark_tint: np.ndarray
    haze_m: float  # the distance at which 37 % of a thing's own light still arrives
    haze_colour: np.ndarray
    sun_side: float  # -1 the light comes from the left, 1 from the right
    openness: float  # how much bright sky shows through the foliage
    trunks: tuple[Trunk, ...]
    plants: tuple[Plant, ...]
    overexposes: bool
    strip: str
    texture_seed: int


def draw_site(seed: int, index: int, site_id: str, difficulty: str) -> Site:
    """The site number `index` of a seed; the difficulty sets the spread of cameras and trunks."""
    rng = np.random.default_rng([seed, 1, index])
    hard = difficulty == 'hard'
    camera = Camera(
        height_m=rng.uniform(0.5, 2.0) if hard else rng.uniform(0.8, 1.4),
        tilt_deg=rng.uniform(0, 12) if hard else rng.uniform(2, 8),
        view_deg=rng.uniform(35, 55) if hard else rng.uniform(40, 50),
    )
    edge = np.tan(np.radians(camera.view_deg / 2))  # half the width of the view at 1 m

    def tint(brightness, red=(1, 1), blue=(1, 1)):
        colour = [rng.uniform(*red), 1.0, rng.uniform(*blue)]
        return (rng.uniform(*brightness) * np.array(colour)).astype(np.float32)

    return Site(
        site_id=site_id,
        park='tai' if index % 5 in (0, 3) else 'moyen_bafing',
        camera=camera,
        ground=str(rng.choice(['litter', 'grass', 'soil', 'straw'], p=[0.4, 0.25, 0.15, 0.2])),
        ground_tint=tint((0.85, 1.15), (0.95, 1.08), (0.9, 1.05)),
        leaf_tint=tint((0.75, 1.15), (0.8, 1.35), (0.75, 1.1)),
        bark_tint=tint((0.24, 0.42), (1.04, 1.1), (0.78, 0.98)),
        haze_m=float(rng.uniform(35, 85)),
        haze_colour=tint((0.5, 0.68), (0.92, 1.02), (0.9, 1.06)),
        sun_side=float(rng.choice([-1, 1]) * rng.uniform(0.3, 1)),
        openness=float(rng.uniform(0.15, 0.75)),
        trunks=_draw_trunks(rng, edge, hard),
        plants=_draw_plants(rng, edge, hard),
        overexposes=index % 4 == 1,
        strip=str(rng.choice(['white', 'black', 'overlay'])),
        texture_seed=int(rng.integers(2**31)),
    )


def _draw_trunks(rng, edge, hard) -> tuple[Trunk, ...]:
    trunks = []
    n_near = int(rng.integers(10, 19) if hard else rng.integers(3, 7))
    for k in range(n_near + int(rng.integers(14, 26))):
        near = k < n_near
        z_m = float(np.exp(rng.uniform(*np.log((2.2, 26)))) if near else rng.uniform(26, 55))
        # near trunks stand aside, or one of them would hide everything
        inner = 0.62 if z_m < 6 else 0.1
        x_m = float(rng.choice([-1, 1]) * rng.uniform(inner, 1.1) * edge * z_m)
        radius_m = float(rng.uniform(0.07, 0.27) * (0.5 + 0.5 * min(1, z_m / 6)))
        lean, shade = float(rng.normal(0, 0.045)), float(rng.uniform(0.65, 1.05))
        trunks.append(Trunk(x_m, z_m, radius_m, lean, shade))
    return tuple(trunks)


def _draw_plants(rng, edge, hard) -> tuple[Plant, ...]:
    plants = []

    def add(count, kinds, z_range, inner, width, shade):
        for _ in range(rng.integers(*count)):
            z_m = float(np.exp(rng.uniform(*np.log(z_range))))
            x_m = float(rng.choice([-1, 1]) * rng.uniform(inner, 1.05) * edge * z_m)
            kind, width_m, light = str(rng.choice(kinds)), rng.uniform(*width), rng.uniform(*shade)
            plants.append(Plant(kind, x_m, z_m, float(width_m), float(light)))

    add((26, 40), ['bush', 'fern', 'palm'], (24, 36), 0, (2, 5), (0.6, 1))  # closes the view
    shrubs = ['bush', 'fern', 'palm', 'grass']
    add((5, 9) if hard else (2, 5), shrubs, (2.5, 12), 0.55, (0.6, 1.7), (0.7, 1.1))
    add((3, 7) if hard else (0, 3), shrubs, (12, 24), 0.05, (0.6, 1.7), (0.7, 1.1))
    add((8, 30), ['grass'], (1.8, 22), 0, (0.15, 0.4), (0.7, 1.1))  # lower than a belly
    add((0, 4) if hard else (0, 2), ['branch'], (1.6, 4), 0.5, (0.6, 1.4), (0.5, 0.8))
    return tuple(plants)


# ---------------------------------------------------------------- textures, tinted by each site


@lru_cache(maxsize=8)
def noise_tile(power: float, stretch: float = 1.0) -> np.ndarray:
    """Tileable noise [256, 256], mean 0, deviation 1; spectrum as frequency ** -power."""
    size = 256
    fy = np.fft.fftfreq(size)[:, None] * size * stretch
    fx = np.fft.rfftfreq(size)[None] * size
    falloff = np.maximum(np.hypot(fx, fy), 1) ** -power
    white = np.random.default_rng(7).normal(size=(size, size))
    tile = np.fft.irfft2(np.fft.rfft2(white) * falloff, (size, size))
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def sample(tile, x, y):
    """Nearest values of a tile; one tile spans 0..1 of x and y and repeats."""
    size = tile.shape[0]  # a power of 2, so that & wraps negative numbers too
    row, column = (np.floor(places * size).astype(np.int32) & size - 1 for places in (y, x))
    return np.take(tile.reshape(size * size, *tile.shape[2:]), row * size + column, axis=0)


def _leaf(x, y, length, width, angle):
    along_x, along_y = length * np.cos(angle), length * np.sin(angle)
    side_x, side_y = -width * np.sin(angle), width * np.cos(angle)
    outline = [(0, 0), (0.25, 0.42), (0.55, 0.45), (1, 0), (0.55, -0.45), (0.25, -0.42)]
    return [(x + a * along_x + b * side_x, y + a * along_y + b * side_y) for a, b in outline]


_STREWN = {  # base colour; low and high colour, count, lengths (px) and slimness of the bits on it
    'litter': ((0.20, 0.15, 0.10), (0.25, 0.17, 0.10), (0.58, 0.45, 0.31), 1900, (14, 40), 0.45),
    'grass': ((0.15, 0.17, 0.07), (0.16, 0.21, 0.07), (0.47, 0.52, 0.25), 4200, (12, 46), 0.07),
    'soil': ((0.42, 0.29, 0.20), (0.30, 0.22, 0.16), (0.58, 0.46, 0.36), 1300, (3, 14), 0.8),
    'straw': ((0.33, 0.27, 0.15), (0.36, 0.28, 0.14), (0.72, 0.62, 0.40), 4200, (16, 60), 0.05),
    'canopy': ((0.10, 0.14, 0.05), (0.10, 0.16, 0.05), (0.42, 0.52, 0.22), 1500, (20, 60), 0.5),
}


@lru_cache(maxsize=8)
def _strewn_tile(kind: str) -> tuple[np.ndarray, ...]:
    """Mip levels [512, 512, 3] ... [8, 8, 3] of a tile strewn with leaves, blades or pebbles."""
    rng = np.random.default_rng([11, sorted(_STREWN).index(kind)])
    base, low, high, count, lengths, slim = _STREWN[kind]
    image = Image.new('RGB', (TILE_PX, TILE_PX), tuple(int(255 * c) for c in base))
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        x, y, angle = *rng.uniform(0, TILE_PX, 2), rng.uniform(0, 2 * np.pi)
        length, mix = rng.uniform(*lengths), rng.beta(2, 2)
        colour = (np.array(low) * (1 - mix) + np.array(high) * mix) * rng.uniform(0.8, 1.15)
        fill = tuple(int(c) for c in np.clip(colour * 255, 0, 255))
        for wrap_x in (0, -TILE_PX) if x + lengths[1] > TILE_PX else (0,):
            for wrap_y in (0, -TILE_PX) if y + lengths[1] > TILE_PX else (0,):
                width = max(2.0, length * slim)
                draw.polygon(_leaf(x + wrap_x, y + wrap_y, length, width, angle), fill=fill)
    levels = (image.reduce(2**k) if k else image for k in range(7))
    return tuple(np.asarray(level, np.float32) / 255 for level in levels)


def sample_strewn(kind, x_m, y_m, footprint_m, scale=1.0):
    """Colours [..., 3] at metres, from the mip level whose pixels are as large as the footprint."""
    mips, tile_m = _strewn_tile(kind), TILE_M * scale
    level = np.clip(np.log2(footprint_m * TILE_PX / tile_m).round(), 0, len(mips) - 1).astype(int)
    colours = np.empty((*x_m.shape, 3), np.float32)
    for k, mip in enumerate(mips):
        at = level == k
        if at.any():
            colours[at] = sample(mip, x_m[at] / tile_m, y_m[at] / tile_m)
    return colours


PLANT_KINDS = ('bush', 'fern', 'palm', 'grass', 'branch')


@lru_cache(maxsize=32)
def plant_sprite(kind: str, variant: int) -> Image.Image:
    """RGBA [192, 192] with the foot at the bottom centre; a branch hangs down from the top."""
    rng = np.random.default_rng([13, PLANT_KINDS.index(kind), variant])
    size = 192
    image = Image.new('RGBA', (size, size), (60, 70, 30, 0))
    draw = ImageDraw.Draw(image)

    def green(light):
        colour = np.array([0.29, 0.35, 0.17]) * (0.25 + light) * rng.uniform(0.8, 1.2)
        return (*(int(c) for c in np.clip(colour * rng.uniform(0.9, 1.1, 3) * 255, 0, 255)), 255)

    if kind in ('bush', 'branch'):
        for k in range(420):
            spread, rise = rng.normal(0, 0.17), rng.beta(1.3, 1.4)
            x = size * (0.5 + spread * (0.5 + rise if kind == 'bush' else 1.3 - rise))
            length = rng.uniform(7, 17) if kind == 'bush' else rng.uniform(10, 22)
            leaf = _leaf(x, size * (0.96 - 0.85 * rise), length, length * 0.45, rng.uniform(0, 6.3))
            draw.polygon(leaf, fill=green(0.35 * rng.random() + 0.35 * rise + 0.3 * k / 420))
    elif kind == 'grass':
        for _ in range(90):
            x, tip = size * (0.5 + 0.09 * rng.normal()), size * rng.normal(0.5, 0.26)
            top, foot, half = *(size * rng.uniform((0.05, 0.93), (0.75, 1))), rng.uniform(1, 2.4)
            bend_x, bend_y = (x + tip) / 2 - (tip - x) * 0.2, (foot + top) / 2
            blade = [(x - half, foot), (bend_x, bend_y), (tip, top), (bend_x + half, bend_y)]
            draw.polygon([*blade, (x + half, foot)], fill=green(0.25 + 0.6 * rng.random()))
    else:
        for _ in range(13 if kind == 'fern' else 9):
            angle, reach = np.pi * rng.uniform(0.08, 0.92), size * rng.uniform(0.42, 0.62)
            steps, light = np.linspace(0, 1, 16), rng.uniform(0.2, 0.8)
            xs = size / 2 + reach * steps * np.cos(angle)
            ys = size * 0.98 - reach * 1.5 * (steps * np.sin(angle) - 0.45 * steps**2)
            for step, x, y in zip(steps, xs, ys, strict=True):
                length = (26 if kind == 'fern' else 46) * (1.05 - step)
                for turn in (-1, 1):
                    leaf = _leaf(x, y, length, 7, -angle + turn + 0.5 * step)
                    draw.polygon(leaf, fill=green(light + 0.2 * step))
            draw.line(list(zip(xs, ys, strict=True)), fill=green(0.15), width=2)
    return image


# ---------------------------------------------------------------- the still picture, without light


@dataclass(frozen=True)
class Layers:
    """What a site looks like before light."""

    albedo: np.ndarray
    distance_m: np.ndarray  # of the surface seen at each pixel, for haze and infrared light
    occluder_m: np.ndarray  # z of the trunk or plant at each pixel, infinite where there is none
    sun: np.ndarray  # share of direct light, 0..1
    glow: np.ndarray  # sky light that comes through


def render_layers(site: Site) -> Layers:
    """Paints a site from far to near."""
    sideways, upward = (slopes.astype(np.float32) for slopes in rays(site.camera))
    shape = sideways.shape
    shift = np.random.default_rng(site.texture_seed).uniform(0, 1, 8).astype(np.float32)
    layers = Layers(
        albedo=np.tile(site.leaf_tint * np.float32([0.28, 0.34, 0.2]), (*shape, 1)),
        distance_m=np.full(shape, FAR_M, np.float32),
        occluder_m=np.full(shape, np.inf, np.float32),
        sun=np.full(shape, 0.4, np.float32),
        glow=np.empty(shape, np.float32),
    )
    cloud = sample(noise_tile(2.0), sideways * 0.3 + shift[0], upward * 0.3 + shift[1])
    high = np.clip(upward * 2.2 + 0.35, 0, 1)
    layers.glow[:] = site.openness * high * np.clip(0.6 + 0.4 * cloud, 0.1, 1.3)
    _paint_ground(site, layers, sideways, upward, shift)
    for z_m in BACKDROP_M:
        _paint_backdrop(site, layers, sideways, upward, z_m, shift)
    for thing in sorted((*site.trunks, *site.plants), key=lambda thing: -thing.z_m):
        if isinstance(thing, Trunk):
            _paint_trunk(site, layers, upward[:, 0], thing, shift)
        else:
            _paint_plant(site, layers, thing)
    return layers


def _paint_ground(site, layers, sideways, upward, shift):
    height_m = site.camera.height_m
    rows = slice(int(np.searchsorted(-upward[:, 0], height_m / FAR_M)), len(upward))
    z_m = np.broadcast_to(-height_m / upward[rows], sideways[rows].shape)
    x_m = sideways[rows] * z_m
    layers.distance_m[rows] = np.hypot(x_m, z_m)
    layers.glow[rows] = 0
    footprint_m = z_m / site.camera.focal_px * np.sqrt(np.maximum(1, z_m / height_m))
    x_m, z_m = x_m + 50 * shift[2], z_m + 50 * shift[3]
    patch = sample(noise_tile(1.6), x_m / 19, z_m / 19)[..., None]
    near = sample_strewn(site.ground, x_m, z_m, footprint_m)
    turned_x, turned_z = z_m * 0.9 + x_m * 0.44, x_m * 0.9 - z_m * 0.44
    other = sample_strewn(site.ground, turned_x, turned_z, footprint_m, 1.7)
    second = 'litter' if site.ground != 'litter' else 'soil'
    colour = np.where(np.abs(patch) < 0.7, near, other)
    strewn = sample_strewn(second, x_m, z_m, footprint_m, 1.3)
    colour += (strewn - colour) * np.clip(patch - 0.9, 0, 0.8)
    foot, shadow = _ground_shadows(site)
    layers.albedo[rows] = colour * site.ground_tint * (1 + 0.16 * patch)
    layers.albedo[rows] *= (1 - 0.55 * foot[rows])[..., None]
    dapple = sample(noise_tile(1.3), x_m / 9, z_m / 9)
    dapple = dapple + 0.5 * sample(noise_tile(0.9), x_m / 5, z_m / 5)
    layers.sun[rows] = np.clip(0.16 + 0.9 * dapple, 0, 1) * (1 - shadow[rows])


def _ground_shadows(site):
    """The dark foot of each trunk and plant, and the trunks' long shadows: two [H, W] in 0..1."""
    images = [Image.new('L', CANVAS_PX, 0) for _ in range(2)]
    turn = np.linspace(0, 2 * np.pi, 18)
    for thing in (*site.trunks, *site.plants):
        if thing.z_m > 24 or getattr(thing, 'kind', '') == 'branch':
            continue
        trunk = isinstance(thing, Trunk)
        x, z, r = thing.x_m, thing.z_m, thing.radius_m if trunk else thing.width_m * 0.3
        x_to, z_to = x - site.sun_side * 7, z + 1.5
        outlines = [list(zip(x + 2 * r * np.cos(turn), z + 2 * r * np.sin(turn), strict=True))]
        outlines += [[(x, z - r), (x, z + r), (x_to, z_to + r), (x_to, z_to - r)]] if trunk else []
        for image, outline in zip(images, outlines, strict=False):
            u_px, v_px, depth = project(site.camera, [(x, 0, z) for x, z in outline])
            if depth.min() > 0.3:
                ImageDraw.Draw(image).polygon(list(zip(u_px, v_px, strict=True)), fill=255)
    soft = (image.filter(ImageFilter.GaussianBlur(2.5)) for image in images)
    return [np.asarray(image, np.float32) / 255 for image in soft]


def _paint_backdrop(site, layers, sideways, upward, z_m, shift):
    rows = slice(0, int(np.searchsorted(-upward[:, 0], site.camera.height_m / z_m)))
    x_m = sideways[rows] * z_m
    y_m = site.camera.height_m + upward[rows] * z_m + 0 * x_m
    cloud = sample(noise_tile(1.5), x_m / 26 + shift[4] * z_m, y_m / 26 + shift[5])
    cloud = cloud + 0.7 * sample(noise_tile(0.9), x_m / 12 + shift[5], y_m / 12)
    # dense near the ground and in the crowns, open between: there the light comes through
    gap = np.exp(-(((y_m - 6) / 5) ** 2)) * (0.3 + 1.5 * site.openness)
    alpha = np.clip((cloud + 0.9 - 1.6 * gap) * 3, 0, 1)
    footprint_m = np.full(x_m.shape, z_m / site.camera.focal_px)
    colour = sample_strewn('canopy', x_m + 9 * shift[6], y_m, footprint_m, 2.5) * site.leaf_tint
    colour *= (0.7 + 0.35 * np.clip(cloud, -1.5, 1.5))[..., None]
    _blend(layers, rows, slice(None), colour, alpha, z_m, occludes=False)


def _paint_trunk(site, layers, upward, trunk, shift):
    camera, tilt = site.camera, np.radians(site.camera.tilt_deg)
    y_m = camera.height_m + upward * trunk.z_m
    rows = slice(0, int(np.searchsorted(-y_m, 0.0)))  # rows go down, so the heights come first
    y_m = y_m[rows]
    depth = trunk.z_m * np.cos(tilt) + (camera.height_m - y_m) * np.sin(tilt)
    half_m = trunk.radius_m * (1 + 0.8 * np.exp(-y_m / 0.22) - 0.03 * np.minimum(y_m, 12))
    half_px = np.maximum(half_m, 0.02) * camera.focal_px / depth
    middle_px = camera.width_px / 2 + camera.focal_px * (trunk.x_m + trunk.lean * y_m) / depth
    left = max(0, int((middle_px - half_px).min(initial=camera.width_px)) - 1)
    right = min(camera.width_px, int((middle_px + half_px).max(initial=0)) + 2)
    if left >= right:
        return
    across = (np.arange(left, right) + 0.5 - middle_px[:, None]) / half_px[:, None]
    alpha = np.clip((1 - np.abs(across)) * half_px[:, None] + 0.5, 0, 1)
    across = np.clip(across, -1, 1)
    along, y_m = np.arcsin(across) * trunk.radius_m, y_m[:, None]
    bark = sample(noise_tile(1.1, 0.22), along / 0.8 + trunk.x_m, y_m / 2.4 + shift[7])
    moss = sample(noise_tile(1.6), along / 2 + trunk.z_m, y_m / 5)[..., None]
    light = 0.42 + 0.4 * np.sqrt(1 - across**2) + 0.35 * site.sun_side * across
    colour = site.bark_tint * trunk.shade * (1 + 0.3 * np.clip(bark, -2, 2))[..., None]
    green = site.leaf_tint * np.float32([0.2, 0.27, 0.1])
    colour = colour + 0.7 * np.clip(moss - 0.5, 0, 1) * (green - colour)
    colour = colour * 1.25 * np.clip(light, 0.15, 1)[..., None]
    _blend(layers, rows, slice(left, right), colour, alpha, trunk.z_m)


def _paint_plant(site, layers, plant):
    camera = site.camera
    u_px, v_px, depth = project(camera, [(plant.x_m, 0, plant.z_m)])
    size = int(np.clip(camera.focal_px * plant.width_m / depth[0], 3, 600))
    left, top = int(u_px[0]) - size // 2, int(v_px[0]) - size
    if plant.kind == 'branch':
        top = -size // 4
    look = int(abs(plant.x_m) * 1000)
    sprite = plant_sprite(plant.kind, look % 3)
    sprite = sprite.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(sprite, np.float32)[:, :: -1 if look % 2 else 1] / 255
    rows = slice(max(0, top), min(camera.height_px, top + size))
    columns = slice(max(0, left), min(camera.width_px, left + size))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    pixels = pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    colour = pixels[..., :3] * (site.leaf_tint * np.float32(1.15 * plant.shade))
    _blend(layers, rows, columns, colour, pixels[..., 3], plant.z_m)


def _blend(layers, rows, columns, colour, alpha, z_m, occludes=True):
    """Paints onto all layers in place."""
    albedo = layers.albedo[rows, columns]
    albedo += (colour.astype(np.float32) - albedo) * alpha[..., None].astype(np.float32)
    layers.glow[rows, columns] *= 1 - 0.9 * alpha
    solid = alpha > 0.5
    layers.distance_m[rows, columns][solid] = z_m
    layers.sun[rows, columns][solid] = 0.45
    if occludes:
        layers.occluder_m[rows, columns][solid] = z_m


# ---------------------------------------------------------------- light


@dataclass(frozen=True)
class Light:
    """Light of one clip: day with sun and haze, or the camera's own infrared lamp at night."""

    night: bool
    ambient: float
    sun: float
    tint: np.ndarray
    exposure: float
    reach_m: float  # of the lamp: how far a grey surface is still well lit
    grain: float  # deviation of the noise, grey levels


def draw_light(rng, night: bool) -> Light:
    sunny = rng.random() < 0.6
    return Light(
        night=night,
        ambient=float(rng.uniform(0.45, 0.7) if sunny else rng.uniform(0.7, 0.9)),
        sun=float(rng.uniform(0.7, 1.5)) if sunny else 0.15,
        tint=np.float32([rng.uniform(0.92, 1.12), 1.0, rng.uniform(0.85, 1.12)]),
        exposure=float(rng.uniform(0.95, 1.4)),
        reach_m=float(rng.uniform(4.5, 8)),
        grain=float(rng.uniform(2.5, 4.0) if night else rng.uniform(1.0, 2.2)),
    )


def shine(site: Site, light: Light, albedo, distance_m, sun, glow, bearing):
    """Reflectance [..., 3] at distances [...] -> picture values [..., 3] in 0..1.

    By day through haze; at night by the lamp, which fades with distance and away from its axis
    (bearing [...], radians). sun and glow [...] as in Layers.
    """
    distance_m, sun, glow, bearing = (np.asarray(values)[..., None] for values in (distance_m, sun, glow, bearing))
    if light.night:
        # leaves shine in infrared, so green counts for more than the eye would say
        grey = 1.5 * (albedo @ np.float32([0.3, 0.55, 0.15]))[..., None] + 0.03
        beam = np.exp(-0.65 * (bearing / np.radians(site.camera.view_deg / 2)) ** 2)
        lit = grey * beam * (light.reach_m / (0.8 + distance_m)) ** 1.7
        return np.repeat(0.8 * (1 - np.exp(-1.2 * light.exposure * lit)), 3, -1)
    clear = np.exp(-distance_m / site.haze_m)
    seen = albedo * (light.ambient + light.sun * sun) * 1.45 * clear
    seen = seen + site.haze_colour * (0.75 + 0.25 * light.sun) * (1 - clear) + 1.7 * glow
    picture = 1 - np.exp(-1.25 * light.exposure * seen * light.tint)
    return picture * 0.78 + 0.22 * picture.mean(-1, keepdims=True)


def light_up(site: Site, layers: Layers, light: Light) -> np.ndarray:
    """The background as the camera sees it: [H, W, 3] float32 in 0..1, darker in the corners."""
    bearing = np.arctan(rays(site.camera)[0]).astype(np.float32)
    picture = shine(site, light, layers.albedo, layers.distance_m, layers.sun, layers.glow, bearing)
    rows = np.linspace(-1, 1, picture.shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)[None]
    return picture * (1 - 0.13 * (rows**2 + columns**2))[..., None]
