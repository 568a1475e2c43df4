"""The list of simulated clips, and their tables.

The tables are those of the challenge (train_labels, submission_format, train_metadata, test_metadata) and
test_distances.csv with the test distances, which a solver must not read.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from data_prep.decoding.decode import decode_seconds
from data_prep.files import write_whole
from data_prep.simulator.site import draw_site

SETTINGS = 'simulation.json'  # marks a folder of simulated clips
TAI_EDGES_M = (*range(9), 10, 12, 15)  # the park tai notes the midpoints of these intervals
LABEL = ['video_id', 'time', 'distance']
METADATA = ['video_id', 'time', 'x1', 'y1', 'x2', 'y2', 'probability', 'park', 'site_id']
SHEET_COLUMNS, SHEET_FRAMES, FRAME_PX, CAPTION_PX = 6, 36, (320, 180), 18


class FolderError(ValueError):
    """The folder holds clips of other settings."""


# ---------------------------------------------------------------- which clips


@dataclass(frozen=True)
class Size:
    """Numbers of sites and clips (train, test), and lengths of the clips (least, most)."""

    sites: tuple[int, int]
    clips: tuple[int, int]
    big_clips: tuple[int, int]
    seconds: tuple[float, float]
    big_seconds: tuple[float, float]


FULL_SIZE = Size((40, 16), (195, 55), (8, 4), (15, 27), (40, 43))
QUICK_SIZE = Size((12, 6), (26, 10), (1, 1), (8, 10), (10, 10))


@dataclass(frozen=True)
class ClipPlan:
    """All settings of one clip."""

    video_id: str
    split: str
    seed: int
    difficulty: str
    site_index: int
    site_id: str
    number: int  # index among all clips; fixes walk, light and noise together with the seed
    width_px: int
    height_px: int
    frame_rate: Fraction
    n_frames: int
    codec: str
    night: bool
    overexposed: bool


def plan_clips(seed: int, difficulty: str, size: Size) -> list[ClipPlan]:
    """Returns the clips of a seed: train first, the big clips last in each split."""
    rng = np.random.default_rng([seed, 2])
    stems = _words(rng, sum(size.clips) + sum(size.big_clips), 4)
    site_ids = _words(rng, sum(size.sites), 3)
    plans = []
    for part, split in enumerate(('train', 'test')):
        first_site, n_sites = part * size.sites[0], size.sites[part]
        for k in range(size.clips[part] + size.big_clips[part]):
            big = k >= size.clips[part]
            # Steps of 7 reach both parks, and faulty as well as sound cameras.
            place = (7 * (k - size.clips[part]) + 1) % n_sites if big else k % n_sites
            site_index, turn = first_site + place, 1 if big else k // n_sites
            site = draw_site(seed, site_index, site_ids[site_index], difficulty)
            codec = 'libx264' if site.park != 'tai' else 'mpeg4'
            overexposed = site.overexposes and turn in (1, 3)
            if codec == 'mpeg4' and turn == 2:
                codec = 'mjpeg'  # never overexposed: its luma ends at white
            small_rate = Fraction(int(rng.choice([4, 4, 5, 6, 8])))
            rate = (Fraction(25), Fraction(30000, 1001), Fraction(30))[k % 3] if big else small_rate
            seconds = rng.uniform(*(size.big_seconds if big else size.seconds))
            plans.append(
                ClipPlan(
                    video_id=stems[len(plans)] + ('.mp4' if codec == 'libx264' else '.avi'),
                    split=split,
                    seed=seed,
                    difficulty=difficulty,
                    site_index=site_index,
                    site_id=site.site_id,
                    number=len(plans),
                    width_px=1280 if big else 320,
                    height_px=720 if big else 180,
                    frame_rate=rate,
                    n_frames=int(seconds * rate),
                    codec=codec,
                    night=bool(rng.random() < 0.3 and not overexposed),
                    overexposed=overexposed,
                )
            )
    return plans


def _words(rng, count, length) -> list[str]:
    """Returns distinct words of lowercase letters, like the clip and site names of the challenge."""
    numbers = rng.choice(26**length, size=count, replace=False).tolist()
    return [''.join(chr(97 + n // 26**k % 26) for k in range(length)) for n in numbers]


def down_width_px(width_px: int) -> int:
    """Returns the width of the downsampled copy: a quarter of a big clip's width, half of a small clip's."""
    return width_px // (4 if width_px > 640 else 2)


# ---------------------------------------------------------------- what was seen


@dataclass(frozen=True)
class Sighting:
    """A second with a visible animal, and its true distance.

    box: x1, y1, x2, y2 in 0..1 as a detector gives them, None if it misses the animal.
    """

    time_s: int
    distance_m: float
    box: tuple[float, float, float, float] | None
    probability: float | None


def write_sightings(path: Path, sightings: list[Sighting]):
    write_whole(path, json.dumps([asdict(sighting) for sighting in sightings]))


def read_sightings(path: Path) -> list[Sighting]:
    rows = json.loads(path.read_text())
    return [Sighting(**{**row, 'box': row['box'] and tuple(row['box'])}) for row in rows]


def round_label(distance_m: float, park: str) -> float:
    """Returns the distance in metres as observers of the park note it.

    tai: interval midpoints 0.5 ... 7.5, 9, 11, 13.5, then whole metres from 16.
    moyen_bafing: whole metres 1 ... 25.
    """
    whole_m = np.floor(distance_m + 0.5)
    if park != 'tai':
        return float(np.clip(whole_m, 1, 25))
    if distance_m >= TAI_EDGES_M[-1]:
        return float(np.clip(whole_m, 16, 25))
    k = int(np.searchsorted(TAI_EDGES_M, distance_m, side='right'))
    return (TAI_EDGES_M[k - 1] + TAI_EDGES_M[k]) / 2


# ---------------------------------------------------------------- files


def are_simulated(folders: Iterable) -> bool:
    """Returns whether there are folders, and each is a folder of data_prep.simulate or one of its streams."""
    folders = [epath.Path(folder) for folder in folders]
    return bool(folders) and all(
        (folder / SETTINGS).exists() or (folder.parent / SETTINGS).exists() for folder in folders
    )


def claim_folder(out: Path, settings: dict):
    """Writes the settings into the folder, and deletes unfinished files of a run that was killed.

    Raises FolderError if the folder holds clips of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        raise FolderError(f'{path} has other settings; choose another --out or delete the folder')
    write_whole(path, json.dumps(settings))
    for unfinished in (*out.rglob('*.part'), *out.rglob('*.tmp')):
        unfinished.unlink()


def write_tables(out: Path, plans: list[ClipPlan], seen: dict[str, list[Sighting]]):
    """Writes five CSV files, sorted by clip and time. seen: {video_id: sightings}."""
    rows = []
    for plan in plans:
        park = 'moyen_bafing' if plan.codec == 'libx264' else 'tai'
        for sighting in seen[plan.video_id]:
            place = (*(sighting.box or [None] * 4), sighting.probability, park, plan.site_id)
            noted_m = round_label(sighting.distance_m, park)
            rows.append((plan.split, plan.video_id, sighting.time_s, noted_m, *place))
    table = pd.DataFrame(rows, columns=['split', *LABEL, *METADATA[2:]])
    table = table.sort_values(['video_id', 'time'])
    train, test = (table[table.split == split] for split in ('train', 'test'))
    files = {
        'train_labels': train[LABEL],
        'train_metadata': train[METADATA],
        'submission_format': test[LABEL].assign(distance=1.0),
        'test_metadata': test[METADATA],
        'test_distances': test[LABEL],
    }
    for name, part in files.items():
        write_whole(out / f'{name}.csv', part.to_csv(index=False))


def write_contact_sheet(out: Path, plans: list[ClipPlan], seen: dict[str, list[Sighting]]):
    """Writes OUT/contact_sheet.png: one frame per site with its true distance.

    Overexposed frames appear twice: as stored, and after gamma correction.
    """
    with_labels = [plan for plan in plans if seen[plan.video_id]]
    white = [plan for plan in with_labels if plan.overexposed][:3]
    by_site = {plan.site_id: plan for plan in with_labels[::-1] if not plan.overexposed}
    sites = sorted(by_site.values(), key=lambda plan: plan.number)
    n_sites = min(len(sites), SHEET_FRAMES - 2 * len(white))
    chosen = np.linspace(0, len(sites) - 1, n_sites).round().astype(int)
    shown = [(sites[k], False) for k in chosen] + [(p, gamma) for p in white for gamma in (0, 1)]
    (width, height), n_rows = FRAME_PX, -(-len(shown) // SHEET_COLUMNS)
    size = (SHEET_COLUMNS * width, n_rows * (height + CAPTION_PX))
    sheet = Image.new('RGB', size, (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for k, (plan, gamma) in enumerate(shown):
        sighting = seen[plan.video_id][plan.number % len(seen[plan.video_id])]
        path = str(out / 'full' / plan.video_id)
        _, pictures = decode_seconds(path, [sighting.time_s], gamma=bool(gamma))
        picture = Image.fromarray(pictures[sighting.time_s])
        x, y = k % SHEET_COLUMNS * width, k // SHEET_COLUMNS * (height + CAPTION_PX)
        sheet.paste(picture.resize(FRAME_PX, Image.Resampling.BILINEAR, reducing_gap=2.0), (x, y))
        note = f'{plan.site_id}  {plan.video_id}  {sighting.distance_m:.1f} m'
        note += ', after gamma' if gamma else ', overexposed' if plan.overexposed else ''
        draw.text((x + 6, y + height + 1), note, fill=(230, 230, 230), font=font)
    part = out / 'contact_sheet.png.part'
    sheet.save(part, format='PNG')
    os.replace(part, out / 'contact_sheet.png')
