"""The list of simulated clips."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from data_prep.simulator.site import draw_site

NAMES = ('a', 'b', 'c')  # of the animals of a clip


@dataclass(frozen=True)
class Size:
    """Numbers of sites and clips (train, test), and lengths of the clips (least, most)."""

    sites: tuple[int, int]
    clips: tuple[int, int]
    big_clips: tuple[int, int]
    seconds: tuple[float, float]
    big_seconds: tuple[float, float]
    frame_rates: tuple[int, ...] = (4, 4, 5, 6, 8)  # one of them is drawn for each small clip


SIZES = {
    'full': Size((40, 16), (199, 57), (4, 2), (15, 27), (40, 43), (2, 2, 3, 3, 4)),
    # Many sites with few clips each, for comparisons whose evidence is the number of sites.
    'sites': Size((36, 2), (108, 4), (0, 0), (8, 8.5), (8, 8.5), (2, 2, 3, 3, 4)),
    'short': Size((12, 10), (60, 30), (0, 0), (8, 8.5), (8, 8.5)),
    'quick': Size((12, 6), (26, 10), (1, 1), (8, 10), (10, 10)),
    'tiny': Size((4, 3), (12, 6), (0, 0), (8, 8.5), (8, 8.5)),
}


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
    n_animals: int = 1
    tracked: bool = False  # the truth about each animal is noted
    sound: str = ''  # of the full copy: 'animals', 'noise' (sound.py), or '' for none


def plan_clips(
    seed: int, difficulty: str, size: Size, most_animals: int | None = None, sound: str = ''
) -> list[ClipPlan]:
    """Returns the clips of a seed: train first, the big clips last in each split.

    most_animals: in a clip, 1 to 3; each number of animals has an equal share of the clips. None: one animal a clip,
    which is not tracked. sound: of ClipPlan. The other settings depend on neither.
    """
    rng = np.random.default_rng([seed, 2])
    stems = _words(rng, sum(size.clips) + sum(size.big_clips), 4)
    site_ids = _words(rng, sum(size.sites), 3)
    plans = []
    for part, split in enumerate(('train', 'test')):
        first_site, n_sites = part * size.sites[0], size.sites[part]
        n_clips = size.clips[part] + size.big_clips[part]
        numbers = np.random.default_rng([seed, 6, part]).permutation(np.arange(n_clips) % (most_animals or 1) + 1)
        for k in range(n_clips):
            big = k >= size.clips[part]
            # Steps of 7 reach both parks, and faulty as well as sound cameras.
            place = (7 * (k - size.clips[part]) + 1) % n_sites if big else k % n_sites
            site_index, turn = first_site + place, 1 if big else k // n_sites
            site = draw_site(seed, site_index, site_ids[site_index], difficulty)
            codec = 'libx264' if site.park != 'tai' else 'mpeg4'
            overexposed = site.overexposes and turn in (1, 3)
            if codec == 'mpeg4' and turn == 2:
                codec = 'mjpeg'  # never overexposed: its luma ends at white
            small_rate = Fraction(int(rng.choice(size.frame_rates)))
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
                    n_animals=int(numbers[k]),
                    tracked=most_animals is not None,
                    sound=sound,
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
