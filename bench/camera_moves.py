"""How often a move of the camera is found, and how often one is reported that was none, by the size of the shift.

    python -m bench.camera_moves --clips ../shared/data/clips --json OUT

Stations of the simulator have clips by day and in infrared night, with other exposure, shadows elsewhere, noise, moving
leaves, animals that walk or stand, and JPEG compression. Real clips have known pictures of one place only: the first
half of a clip's frames stands for the clips before the move, the second half for those after it, each with another
gamma, noise and compression. Real clips narrower than 640 px are enlarged first, so they have little detail. A shift is
a part of the picture that is cut out elsewhere. The info bar is drawn last and stays in its place.
"""

import argparse
import functools
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from chimp_jax.stations.movement import COUNTS_FROM_PX, Moves, background, find_moves
from chimp_jax.stations.picture_shift import COMPARABLE, Look, Shift
from data_prep.archive import is_clip, is_photo
from data_prep.decoding.decode import decode_seconds
from data_prep.files import write_json
from data_prep.progress import Progress
from data_prep.simulator import scene
from data_prep.simulator.animal import draw_animal, draw_sprite, draw_walk
from data_prep.simulator.herd import animal_tones
from data_prep.simulator.site import draw_site

SHIFTS_PX = (0, 2, 4, 8, 12, 20, 40)  # at a width of 640
CLIPS = 4  # of a station before the move, and as many after it
WIDTHS_PX = (320, 640, 1280)  # of the clips
_FRAMES = 5  # of a clip
_KEPT = 0.84  # share of the width and of the height that is cut out, so that there is room for 51 and 28 px
_MOST_DOWN_PX = 26
_BARS = {'white': ((235, 235, 235), (20, 20, 20)), 'black': ((15, 15, 15), (225, 225, 225)), 'text': (None, (230,) * 3)}

Draw = Callable[[np.random.Generator, bool], list[np.ndarray]]  # (rng, after the move) -> frames of a clip


class Place(NamedTuple):
    """The backgrounds of a station's clips before the move and, for each shift, after it."""

    name: str
    before: list[np.ndarray]
    after: dict[float, list[np.ndarray]]


def simulated_station(index: int) -> Draw:
    """Returns a way to draw the clips of one simulated station. Every other one is of the hard kind."""
    site = draw_site(7, index, f's{index}', 'hard' if index % 2 else 'easy')
    layers = scene.render_layers(site)

    def draw(rng, _) -> list[np.ndarray]:
        night = bool(rng.random() < 0.5)
        light = scene.draw_light(rng, night)
        sunny = replace(layers, sun=np.roll(layers.sun, rng.integers(-60, 61), axis=1))  # at another hour
        still = (255 * scene.light_up(site, sunny, light)).astype(np.float32)
        animal = draw_animal(rng, 'hard')
        walk = draw_walk(rng, 20, site.camera.view_deg, animal.height_m, 14.0 if night else 25.0)
        step_s = 0.0 if rng.random() < 0.5 else 8 / _FRAMES  # half of the animals stand, so they are in the background
        start_s, frames = rng.uniform(0, 10), []
        for k in range(_FRAMES):
            picture = _leaves_move(rng, still)
            pose = walk.pose(start_s + step_s * k)
            sprite = draw_sprite(site.camera, animal, pose, layers.occluder_m)
            if sprite is not None:
                tones, _ = animal_tones(site, light, animal, pose)
                behind = picture[sprite.rows, sprite.columns]
                behind += (tones[sprite.pixels[..., :1]] - behind) * (sprite.pixels[..., 1:2] / np.float32(255))
            frames.append(picture + rng.normal(0, light.grain, (*picture.shape[:2], 1)).astype(np.float32))
        return frames

    return draw


def real_station(path: Path) -> Draw:
    """Returns a way to draw clips from the halves of one real clip, without its own info bar."""
    frames = list(decode_seconds(path, None)[1].values())

    def draw(rng, after: bool) -> list[np.ndarray]:
        middle = len(frames) // 2
        half = frames[middle:] if after else frames[:middle]
        chosen = np.linspace(0, len(half) - 1, min(len(half), _FRAMES)).round().astype(int)
        gamma, gain, grain = rng.uniform(0.65, 1.5), rng.uniform(0.8, 1.2), rng.uniform(1, 4)
        drawn = []
        for i in chosen:
            height, width = half[i].shape[:2]
            inner = Image.fromarray(half[i][round(0.03 * height) : round(0.87 * height)])
            if width < 640:
                inner = inner.resize((640, round(640 * inner.height / width)), Image.Resampling.BICUBIC)
            lit = 255 * gain * (np.asarray(inner, np.float32) / 255) ** gamma
            drawn.append(lit + rng.normal(0, grain, (*lit.shape[:2], 1)).astype(np.float32))
        return drawn

    return draw


def _leaves_move(rng, still: np.ndarray) -> np.ndarray:
    """Returns a copy in which twelve patches of the upper half lie up to 2 px elsewhere."""
    picture = still.copy()
    for _ in range(12):
        y, x = rng.integers(2, still.shape[0] // 2), rng.integers(2, still.shape[1] - 82)
        dy, dx = rng.integers(-2, 3, 2)
        picture[y : y + 60, x : x + 80] = still[y + dy : y + dy + 60, x + dx : x + dx + 80]
    return picture


def draw_shift(rng, size_px: float) -> tuple[float, float]:
    """Returns a shift of this size in a random direction: pixels to the right and down."""
    angle = rng.uniform(0, 2 * np.pi)
    down_px = float(np.clip(size_px * np.sin(angle), -_MOST_DOWN_PX, _MOST_DOWN_PX))
    return float(np.sign(np.cos(angle)) * np.sqrt(size_px**2 - down_px**2)), down_px


def photograph(rng, frames: Sequence[np.ndarray], shift: tuple[float, float], width_px: int, bar: str) -> np.ndarray:
    """Returns the background of a clip [h, 640] that a camera shifted by (right, down) pixels at 640 records."""
    height, width = frames[0].shape[:2]
    kept = _KEPT * width, _KEPT * height
    left, top = ((1 - _KEPT) * n / 2 - s * kept[0] / 640 for n, s in zip((width, height), shift, strict=True))
    size_px = (width_px, round(width_px * height / width))
    quality, recorded = int(rng.integers(45, 90)), []
    for frame in frames:
        picture = Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8))
        box = (left, top, left + kept[0], top + kept[1])
        picture = picture.resize(size_px, Image.Resampling.BICUBIC, box=box)
        _draw_bar(picture, bar, rng)
        file = io.BytesIO()
        picture.save(file, 'JPEG', quality=quality)
        recorded.append(np.asarray(Image.open(file).convert('RGB')))
    return background(np.stack(recorded))


def _draw_bar(picture: Image.Image, bar: str, rng) -> None:
    (paper, ink), (width, height), draw = _BARS[bar], picture.size, ImageDraw.Draw(picture)
    tall = round(height / 15)
    if paper:
        draw.rectangle((0, height - tall, width, height), fill=paper)
    draw.rectangle((0, height - round(1.5 * tall), round(1.6 * tall), height), fill=(220, 90, 30))  # the maker's mark
    font = _font(max(8, round(0.72 * tall)))
    draw.text((0.1 * width, height - tall / 2), 'CAM 07  23°C', fill=ink, font=font, anchor='lm')
    clock = f'2021-03-{rng.integers(10, 29)}  {rng.integers(10, 24)}:{rng.integers(10, 60)}'
    draw.text((0.97 * width, height - tall / 2), clock, fill=ink, font=font, anchor='rm')


_font = functools.lru_cache(ImageFont.load_default)


def record(
    rng, name: str, draw: Draw, shifts_px: Sequence[float], n_clips: int = CLIPS, widths_px: Sequence[int] = WIDTHS_PX
) -> Place:
    """Returns a station's backgrounds: n_clips before the move, and for each shift n_clips after it.

    widths_px: of the clips, from which the station draws one.
    """
    width_px, bar = int(rng.choice(widths_px)), str(rng.choice(sorted(_BARS)))
    before = [photograph(rng, draw(rng, False), (0, 0), width_px, bar) for _ in range(n_clips)]
    after = {}
    for size_px in shifts_px:
        shift = draw_shift(rng, size_px)
        after[size_px] = [photograph(rng, draw(rng, True), shift, width_px, bar) for _ in range(n_clips)]
    return Place(name, before, after)


def measure(places: Sequence[Place]) -> dict[str, dict]:
    """Returns for each shift: the shares of clip pairs that are comparable and moved, and of stations with a move.

    stations_exact: the share of stations whose clips have exactly the right epochs.
    """
    shifts: dict[float, list[Shift]] = {}
    moves: dict[float, list[tuple[Moves, bool]]] = {}
    for place in places:
        before = [Look(picture) for picture in place.before]
        for size_px, pictures in place.after.items():
            pairs = itertools.product(map(Look, pictures), before)
            shifts.setdefault(size_px, []).extend(after.shift_from(one) for after, one in pairs)
            found = find_moves([*place.before, *pictures])
            expected = [0] * len(before) + [int(size_px >= COUNTS_FROM_PX)] * len(pictures)
            moves.setdefault(size_px, []).append((found, found.epochs == expected))
    return {
        f'{size_px:g}': {
            'pairs': len(own),
            'pairs_comparable': _share(shift.confidence >= COMPARABLE for shift in own),
            'pairs_moved': _share(map(_moved, own)),
            'stations': len(moves[size_px]),
            'stations_moved': _share(len(found.starts) > 1 for found, _ in moves[size_px]),
            'stations_exact': _share(exact for _, exact in moves[size_px]),
            'clips_doubtful': sum(len(found.doubtful) for found, _ in moves[size_px]),
            'least_confidence': round(min(shift.confidence for shift in own), 1),
        }
        for size_px, own in shifts.items()
    }


def other_scenes(places: Sequence[Place]) -> dict:
    """Compares the first clip of each station with that of all others of its shape: a check of COMPARABLE."""
    firsts = [Look(place.before[0]) for place in places]
    found = [
        one.shift_from(other).confidence
        for i, one in enumerate(firsts)
        for other in firsts[:i]
        if one.shape == other.shape
    ]
    return {'pairs': len(found), 'comparable': _share(c >= COMPARABLE for c in found), 'most': round(max(found), 1)}


def _moved(shift: Shift) -> bool:
    return shift.confidence >= COMPARABLE and shift.size_px >= COUNTS_FROM_PX


def _share(values) -> float:
    values = list(values)
    return round(sum(map(bool, values)) / len(values), 4)


def stations(n_simulated: int, clips: Path | None) -> Iterator[tuple[str, str, Callable[[], Draw]]]:
    """Yields the kind and name of each station, and what makes its way to draw."""
    for index in range(n_simulated):
        yield 'simulated', f's{index}', functools.partial(simulated_station, index)
    for path in sorted(clips.iterdir()) if clips else ():
        if is_clip(path.name) and not is_photo(path.name):
            yield 'real', path.name, functools.partial(real_station, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clips', type=Path, help='folder of real clips, one a place')
    parser.add_argument('--stations', type=int, default=20, help='simulated stations (default: 20)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--json', type=Path, help='write the rates here')
    options = parser.parse_args()
    if options.clips is not None and not options.clips.is_dir():
        raise SystemExit(f'camera_moves: there is no folder {options.clips}; give a folder of clips with --clips')
    chosen = list(stations(options.stations, options.clips))
    places: dict[str, list[Place]] = {}
    with Progress('camera_moves', len(chosen)) as progress:
        for number, (kind, name, make) in enumerate(chosen):
            rng = np.random.default_rng([options.seed, number])
            places.setdefault(kind, []).append(record(rng, name, make(), SHIFTS_PX))
            progress.advance(1)
    result = {kind: {'shifts': measure(own), 'other_scenes': other_scenes(own)} for kind, own in places.items()}
    for kind, figures in result.items():
        print(f'{kind}: shift px, {", ".join(figures["shifts"]["0"])}')
        for size_px, row in figures['shifts'].items():
            print(f'{size_px:>5}', *(f'{value:>9}' for value in row.values()))
        print('other scenes:', json.dumps(figures['other_scenes']))
    if options.json:
        write_json(options.json, result)


if __name__ == '__main__':
    main()
