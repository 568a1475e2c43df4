"""Textures of the simulated world, the same for all sites, which tint them."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

TILE_PX, TILE_M = 512, 2.0  # a tile of ground texture


@lru_cache(maxsize=8)
def noise_tile(power: float, stretch: float = 1.0) -> np.ndarray:
    """Returns tileable noise [256, 256] of mean 0 and deviation 1, with the spectrum frequency ** -power."""
    size = 256
    fy = np.fft.fftfreq(size)[:, None] * size * stretch
    fx = np.fft.rfftfreq(size)[None] * size
    falloff = np.maximum(np.hypot(fx, fy), 1) ** -power
    white = np.random.default_rng(7).normal(size=(size, size))
    tile = np.fft.irfft2(np.fft.rfft2(white) * falloff, (size, size))
    return ((tile - tile.mean()) / tile.std()).astype(np.float32)


def sample(tile, x, y):
    """Returns the nearest values of a tile. One tile spans 0..1 of x and y and repeats."""
    size = tile.shape[0]  # a power of 2, so that & also wraps negative numbers
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
    """Returns mip levels [512, 512, 3] ... [8, 8, 3] of a tile strewn with leaves, blades or pebbles."""
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
    """Returns colours [..., 3] at x_m, y_m from the mip level with pixels as large as the footprint."""
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
    """Returns RGBA [192, 192] with the foot at the bottom centre. A branch hangs from the top."""
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
