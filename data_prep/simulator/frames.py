"""The pictures of a simulated clip, and the sightings of the animal in them."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_prep.simulator import scene, tables
from data_prep.simulator.animal import (
    COAT_GREY,
    EYE_GREY,
    Species,
    Sprite,
    draw_animal,
    draw_sprite,
    draw_walk,
    visible_share,
)
from data_prep.simulator.site import CANVAS_PX, draw_site
from data_prep.simulator.tables import ClipPlan, Sighting
from data_prep.simulator.textures import noise_tile

GRAIN_VARIANTS = 4  # noisy copies of a still picture, one per second: codecs freeze the grain
STRIP_SHARE = 1 / 15  # of the picture's height: 48 of 720 rows, 12 of 180
# Black in an overexposed clip, as a share of the brightest value after gamma correction: luma 234 of 255, so that the
# whole picture is white in RGB.
OVEREXPOSED_FLOOR = 0.43
# An animal counts as seen if this share of its body is visible, on this many pixels of the canvas, with this contrast
# in grey levels.
MIN_VISIBLE_SHARE, MIN_VISIBLE_PX, MIN_CONTRAST = 0.5, 200, 18.0
LUMA = np.float32([0.299, 0.587, 0.114])  # BT.601


@lru_cache(maxsize=2)
def _site_and_layers(seed, site_index, site_id, difficulty):
    site = draw_site(seed, site_index, site_id, difficulty)
    return site, scene.render_layers(site)


def frames(plan: ClipPlan) -> Iterator[tuple[np.ndarray, np.ndarray, Sighting | None]]:
    """Yields the clip's pictures, full and down, each packed yuv420p [3H/2, W], and the sighting or None.

    A sighting belongs to the last picture at or before an even second. If the camera repeats a picture, the same array
    comes twice.
    """
    site, layers = _site_and_layers(plan.seed, plan.site_index, plan.site_id, plan.difficulty)
    rng = np.random.default_rng([plan.seed, 3, plan.number])
    rate, duration_s = plan.frame_rate, plan.n_frames / float(plan.frame_rate)
    light = scene.draw_light(rng, plan.night)
    animal = draw_animal(rng, plan.difficulty)
    farthest_m = 14.0 if plan.night else 25.0
    walk = draw_walk(rng, duration_s, site.camera.view_deg, animal.height_m, farthest_m)
    stage = Scenery(plan, light, scene.light_up(site, layers, light), rng)
    strip = Strip(plan, site.strip, rng)
    noted = {int(t * rate): t for t in range(0, int((plan.n_frames - 1) / rate) + 1, 2)}
    # Cheap cameras pad their higher frame rates: each picture of the sensor is shown twice.
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
    """Returns the grey in the picture for each drawn grey, [256] float32, and the colour of the coat [3]."""
    reflectance = np.float32([animal.infrared] * 3 if light.night else animal.coat)
    coat = np.arange(256, dtype=np.float32)[:, None] / COAT_GREY * reflectance
    distance_m, bearing = np.hypot(pose[0], pose[1]), np.arctan2(pose[0], pose[1])
    picture = scene.shine(site, light, coat, distance_m, 0.5, 0.0, bearing)
    tones = (255 * picture @ LUMA).astype(np.float32)
    tones[EYE_GREY] = 230 if light.night else 15
    return tones, picture[COAT_GREY]


def note_sighting(rng, time_s, pose, sprite: Sprite, tones, grey, occluder_m) -> Sighting | None:
    """Returns the sighting of the animal, None if it is hidden, out of the picture or too dark.

    grey: the still picture without the animal [h, w], on the canvas or smaller. The detector's box is slightly off,
    and sometimes the detector finds none.
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
    """Returns the stored luma for each grey 0..255, uint8 [256].

    If overexposed, each code clips to white in RGB (luma 235 is white already), and gamma 0.1, which is
    (luma / 255) ** 10, restores the greys.
    """
    grey = np.arange(256)
    if overexposed:
        light = OVEREXPOSED_FLOOR + (1 - OVEREXPOSED_FLOOR) * np.clip((grey - 25) / 165, 0, 1)
        return np.round(255 * light**0.1).astype(np.uint8)
    return (grey if codec == 'mjpeg' else np.round(16 + 219 * grey / 255)).astype(np.uint8)


def chroma_codes(rgb, codec: str, overexposed: bool):
    """Returns blue and red difference of RGB [..., 3] in 0..1. A saturated sensor keeps almost no colour."""
    scale = (255 if codec == 'mjpeg' else 224) * (0.03 if overexposed else 1)
    red, green, blue = np.moveaxis(np.asarray(rgb, np.float32), -1, 0)
    blue_difference = 128 + scale * (-0.1687 * red - 0.3313 * green + 0.5 * blue)
    return blue_difference, 128 + scale * (0.5 * red - 0.4187 * green - 0.0813 * blue)


def split_planes(packed: np.ndarray):
    """Returns luma [H, W], blue and red difference [H/2, W/2]: views of a packed picture [3H/2, W]."""
    height, width = packed.shape[0] * 2 // 3, packed.shape[1]
    return packed[:height], *packed[height:].reshape(2, height // 2, width // 2)


def refresh_down(full, down, box, overexposed: bool):
    """Downsamples a box (rows, columns) of the full picture into the down picture, in place.

    An overexposed clip is downsampled from the displayed picture, clipped to white: the detail in the brightest luma is
    lost.
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
    """Returns sensor noise of deviation 1, slightly soft, larger than the picture so that it can shift."""
    noise = np.random.default_rng(5).normal(size=(height_px + 64, width_px + 64))
    soft = noise + 0.5 * (np.roll(noise, 1, 0) + np.roll(noise, 1, 1))
    return (soft / soft.std()).astype(np.float32)


@lru_cache(maxsize=1)
def _fur() -> np.ndarray:
    """Returns uneven brightness around 1, as large as any sprite."""
    return 1 + 0.07 * np.tile(noise_tile(0.9), (2, 3))


class Scenery:
    """The still pictures of a clip, and the brush that paints a sprite into a copy of one."""

    def __init__(self, plan: ClipPlan, light: scene.Light, background: np.ndarray, rng):
        self.plan, self.shadow = plan, 0.25 if light.night else 0.5
        self.codes = luma_codes(plan.codec, plan.overexposed)
        self.scale = plan.width_px / CANVAS_PX[0]
        picture = (background * 255).astype(np.uint8)
        if self.scale < 1:
            picture = np.asarray(Image.fromarray(picture).reduce(round(1 / self.scale)))
        # Large clips are painted at the canvas' size and enlarged last: 4 times faster.
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
        down_width = tables.down_width_px(width)
        down = np.empty((full.shape[0] * down_width // width, down_width), np.uint8)
        refresh_down(full, down, (slice(0, height), slice(0, width)), self.plan.overexposed)
        return noise, full, down

    def still(self, k: int):
        """Returns the noise of a still picture, and copies of the picture, full and down."""
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
        """Paints in place. Returns the box (rows, columns) of the full picture that changed."""
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
    """The bar at the bottom of the picture with site, temperature, date and time."""

    def __init__(self, plan: ClipPlan, style: str, rng):
        self.plan = plan
        self.paper, self.ink = {'white': (235, 20), 'black': (18, 225), 'overlay': (0, 235)}[style]
        self.note = f'CAM {plan.site_id.upper()}  {rng.integers(18, 33)}°C'
        self.date = f'2021-{rng.integers(1, 13):02d}-{rng.integers(1, 28):02d}'
        hour = int(rng.integers(19, 28) if plan.night else rng.integers(6, 18)) % 24
        self.start_s = hour * 3600 + int(rng.integers(0, 3600))
        self.drawn = (None, None)

    def paint(self, full, second: int):
        """Paints the bar of a second in place. Returns its box (rows, columns)."""
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
