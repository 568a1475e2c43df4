"""The places of the simulated cameras: pinhole geometry, and sites drawn from a seed.

World axes in metres: x to the right, y up, z forward along the ground. The camera is at (0, height, 0) and looks along
+z, tilted down.
"""

from dataclasses import dataclass

import numpy as np

CANVAS_PX = (640, 360)  # width, height; clips are this picture, reduced or enlarged


@dataclass(frozen=True)
class Camera:
    """A pinhole camera. A tilt above 0 looks down. The field of view is horizontal."""

    height_m: float
    tilt_deg: float
    view_deg: float
    width_px: int = CANVAS_PX[0]
    height_px: int = CANVAS_PX[1]

    @property
    def focal_px(self) -> float:
        return self.width_px / 2 / np.tan(np.radians(self.view_deg) / 2)


def project(camera: Camera, points_m):
    """Returns columns [N], rows [N] in pixels, depth [N] along the optical axis of world points [N, 3]."""
    x, y, z = np.asarray(points_m, float).T
    sin, cos = np.sin(np.radians(camera.tilt_deg)), np.cos(np.radians(camera.tilt_deg))
    above = y - camera.height_m
    depth = z * cos - above * sin
    safe = np.maximum(depth, 1e-3)
    u_px = camera.width_px / 2 + camera.focal_px * x / safe
    v_px = camera.height_px / 2 - camera.focal_px * (above * cos + z * sin) / safe
    return u_px, v_px, depth


def rays(camera: Camera):
    """Returns metres sideways [H, W] and up [H, 1] for each metre along the ground, at pixel centres."""
    rows = (camera.height_px / 2 - np.arange(camera.height_px) - 0.5)[:, None] / camera.focal_px
    columns = (np.arange(camera.width_px) + 0.5 - camera.width_px / 2)[None] / camera.focal_px
    tilt = np.radians(camera.tilt_deg)
    forward = np.cos(tilt) + rows * np.sin(tilt)
    return columns / forward, (rows * np.cos(tilt) - np.sin(tilt)) / forward


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
    haze_m: float  # the distance at which 37 % of an object's own light arrives
    haze_colour: np.ndarray
    sun_side: float  # -1: the light comes from the left; 1: from the right
    openness: float  # share of bright sky through the foliage
    trunks: tuple[Trunk, ...]
    plants: tuple[Plant, ...]
    overexposes: bool
    strip: str
    texture_seed: int


def draw_site(seed: int, index: int, site_id: str, difficulty: str) -> Site:
    """Returns site number `index` of a seed. The difficulty sets the spread of cameras and trunks."""
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
        # Near trunks stand aside; otherwise one trunk could hide everything.
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
