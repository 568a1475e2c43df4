"""The pictures of a simulated clip, with what is noted of the animals in them."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_prep.simulator import scene
from data_prep.simulator.herd import LUMA, View, draw_herd, look_at
from data_prep.simulator.notes import Notes, Seen
from data_prep.simulator.plan import ClipPlan, down_width_px
from data_prep.simulator.site import CANVAS_PX, draw_site
from data_prep.simulator.textures import noise_tile

GRAIN_VARIANTS = 4  # noisy copies of a still picture, one per second: codecs freeze the grain
STRIP_SHARE = 1 / 15  # of the picture's height: 48 of 720 rows, 12 of 180
# Black in an overexposed clip, as a share of the brightest value after gamma correction: luma 234 of 255, so that the
# whole picture is white in RGB.
OVEREXPOSED_FLOOR = 0.43


@lru_cache(maxsize=2)
def _site_and_layers(seed, site_index, site_id, difficulty):
    site = draw_site(seed, site_index, site_id, difficulty)
    return site, scene.render_layers(site)


def frames(plan: ClipPlan) -> Iterator[tuple[np.ndarray, np.ndarray, Seen]]:
    """Yields the clip's pictures, full and down, each packed yuv420p [3H/2, W], and what is noted of them.

    A sighting belongs to the last picture at or before an even second. If the camera repeats a picture, the same array
    comes twice.
    """
    site, layers = _site_and_layers(plan.seed, plan.site_index, plan.site_id, plan.difficulty)
    rng = np.random.default_rng([plan.seed, 3, plan.number])
    light = scene.draw_light(rng, plan.night)
    herd = draw_herd(rng, plan, site.camera.view_deg)
    stage = Scenery(plan, light, scene.light_up(site, layers, light), rng)
    strip = Strip(plan, site.strip, rng)
    notes = Notes(plan)
    for k in range(plan.n_frames):
        seen = Seen([], [])
        if notes.is_new_picture(k):
            second = int(k / plan.frame_rate)
            noise, full, down = stage.still(second % GRAIN_VARIANTS)
            views = look_at(site, light, herd, k / float(plan.frame_rate), layers.occluder_m)
            grey = stage.grey.copy()
            changed = [stage.paint(grey, full, noise, view) for view in views[::-1] if view.sprite is not None]
            changed.append(strip.paint(full, second))
            for box in changed:
                refresh_down(full, down, box, plan.overexposed)
            seen = notes.take(k, views, stage.grey)
        yield full, down, seen


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
        down_width = down_width_px(width)
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

    def paint(self, grey, full, noise, view: View):
        """Paints an animal in place, into the grey picture and the full one.

        grey: a copy of self.grey, with the animals behind this one. Returns the box (rows, columns) of the full picture
        that changed.
        """
        pixels, canvas_box = view.sprite.pixels, (view.sprite.rows, view.sprite.columns)
        box = tuple(slice(int(s.start * self.scale), int(s.stop * self.scale)) for s in canvas_box)
        if self.scale < 1:
            pixels = np.asarray(Image.fromarray(pixels).reduce(round(1 / self.scale)))
        shade, cover, shadow = np.moveaxis(pixels, -1, 0)
        cover = cover.astype(np.float32) / 255
        place = box if self.scale < 1 else canvas_box
        ground = grey[place] * (1 - np.float32(self.shadow / 255) * shadow)
        fur = view.tones[shade] * _fur()[: shade.shape[0], : shade.shape[1]]
        grey[place] = np.clip(ground + (fur - ground) * cover, 0, 255).astype(np.uint8)
        luma, *chroma = split_planes(full)
        luma[box] = self._noisy(grey[place], noise[box])
        half = tuple(slice(s.start // 2, s.stop // 2) for s in box)
        cover = cover if self.scale > 1 else cover[::2, ::2]
        codes = chroma_codes(view.colour, self.plan.codec, self.plan.overexposed)
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
