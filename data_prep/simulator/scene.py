"""The still picture of a site: surfaces painted from far to near, then light.

Pictures are [H, W] or [H, W, 3] float32 on a canvas of 640 x 360.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_prep.simulator.site import CANVAS_PX, Site, Trunk, project, rays
from data_prep.simulator.textures import noise_tile, plant_sprite, sample, sample_strewn

BACKDROP_M = (60.0, 44.0, 31.0)  # distances of the walls of foliage behind the farthest animal
FAR_M = 80.0


@dataclass(frozen=True)
class Layers:
    """The surfaces of a site before light."""

    albedo: np.ndarray
    distance_m: np.ndarray  # of the surface seen at each pixel, for haze and infrared light
    occluder_m: np.ndarray  # z of the trunk or plant at each pixel, infinite without one
    sun: np.ndarray  # share of direct light, 0..1
    glow: np.ndarray  # sky light through the foliage


def render_layers(site: Site) -> Layers:
    """Returns the surfaces of a site, painted from far to near."""
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
    """Returns the dark foot of each trunk and plant, and the trunks' long shadows: two [H, W] in 0..1."""
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
    # Dense near the ground and in the crowns. Light comes through between them.
    gap = np.exp(-(((y_m - 6) / 5) ** 2)) * (0.3 + 1.5 * site.openness)
    alpha = np.clip((cloud + 0.9 - 1.6 * gap) * 3, 0, 1)
    footprint_m = np.full(x_m.shape, z_m / site.camera.focal_px)
    colour = sample_strewn('canopy', x_m + 9 * shift[6], y_m, footprint_m, 2.5) * site.leaf_tint
    colour *= (0.7 + 0.35 * np.clip(cloud, -1.5, 1.5))[..., None]
    _blend(layers, rows, slice(None), colour, alpha, z_m, occludes=False)


def _paint_trunk(site, layers, upward, trunk, shift):
    camera, tilt = site.camera, np.radians(site.camera.tilt_deg)
    y_m = camera.height_m + upward * trunk.z_m
    rows = slice(0, int(np.searchsorted(-y_m, 0.0)))  # rows go down, so the upper ones come first
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


@dataclass(frozen=True)
class Light:
    """Light of one clip: day with sun and haze, or the camera's own infrared lamp at night."""

    night: bool
    ambient: float
    sun: float
    tint: np.ndarray
    exposure: float
    reach_m: float  # of the lamp: the distance up to which a grey surface is well lit
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
    """Returns picture values [..., 3] in 0..1 of the reflectance `albedo` [..., 3] at distances [...].

    By day the light passes haze. At night it comes from the lamp, which fades with distance and away from its axis
    (bearing [...], radians). sun and glow [...] as in Layers.
    """
    distance_m, sun, glow, bearing = (np.asarray(values)[..., None] for values in (distance_m, sun, glow, bearing))
    if light.night:
        # Leaves are bright in infrared, so green has a larger weight than for the eye.
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
    """Returns the background as the camera sees it: [H, W, 3] float32 in 0..1, darker in the corners."""
    bearing = np.arctan(rays(site.camera)[0]).astype(np.float32)
    picture = shine(site, light, layers.albedo, layers.distance_m, layers.sun, layers.glow, bearing)
    rows = np.linspace(-1, 1, picture.shape[0], dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, picture.shape[1], dtype=np.float32)[None]
    return picture * (1 - 0.13 * (rows**2 + columns**2))[..., None]
