"""Draws one second of a clip before and after gamma correction, its luma, and the decision about the clip.

python -m data_prep.inspect_clip CLIP --second 12 --out picture.png
"""

import argparse
import os
import sys
from pathlib import PurePosixPath
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402

from data_prep.archive import local_copy  # noqa: E402
from data_prep.buckets import s3_paths  # noqa: E402
from data_prep.decoding import exposure  # noqa: E402
from data_prep.decoding.container import ClipError  # noqa: E402
from data_prep.decoding.decode import ClipInfo, decode_seconds  # noqa: E402
from data_prep.workers import stopping  # noqa: E402


class Inspection(NamedTuple):
    info: ClipInfo
    second: int  # the second that is shown: the last one if the clip is shorter
    standard: np.ndarray  # RGB uint8 [H, W, 3]
    corrected: np.ndarray  # RGB uint8 [H, W, 3], after gamma
    white_fraction: float  # of the standard picture
    judged: dict[int, float]  # white fraction of each of the clip's fixed seconds

    @property
    def overexposed(self) -> bool:
        """Returns the decision for a clip without labels: one white frame among the fixed seconds is enough."""
        return exposure.clip_is_overexposed(self.judged.values())


def inspect_clip(path: str, second: int) -> Inspection:
    """Returns one second of a clip and its exposure. path: local or gs://.

    Raises ClipError if the clip cannot be decoded.
    """
    with local_copy(path) as copy:
        info, standard = decode_seconds(copy, [second])
        _, corrected = decode_seconds(copy, [second], gamma=True)
        _, judged = decode_seconds(copy, exposure.fixed_seconds, convert=lambda rgb, _: exposure.white_fraction(rgb))
    (second,) = standard
    return Inspection(
        info, second, standard[second], corrected[second], exposure.white_fraction(standard[second]), judged
    )


def draw(name: str, found: Inspection) -> plt.Figure:
    figure, ((left, right), (below_left, below_right)) = plt.subplots(
        2, 2, figsize=(12, 8), height_ratios=(3, 2), layout='constrained'
    )
    rate = f'{found.info.frame_rate:.4g} pictures/s'
    figure.suptitle(f'{name}: second {found.second} of {found.info.duration_s:.1f}, {rate}')
    for axes, picture, title in (
        (
            left,
            found.standard,
            f'standard: {found.white_fraction:.1%} of the channel values above {exposure.WHITE_LEVEL}',
        ),
        (right, found.corrected, 'after gamma correction of the luma'),
    ):
        axes.imshow(picture)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
    for picture, label, colour in (
        (found.standard, 'standard', 'tab:gray'),
        (found.corrected, 'after gamma', 'tab:orange'),
    ):
        luma = picture @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
        below_left.hist(
            luma.ravel(), bins=64, range=(0, 255), histtype='stepfilled', alpha=0.5, label=label, color=colour
        )
    below_left.axvline(exposure.WHITE_LEVEL, color='k', linewidth=0.8, linestyle=':')
    below_left.set(
        xlabel='luma of the picture above, 0 to 255', ylabel='pixels', yscale='log', title='histogram of luma'
    )
    below_left.legend(frameon=False)
    seconds, fractions = list(found.judged), list(found.judged.values())
    below_right.bar(seconds, fractions, width=max(0.8, found.info.last_s / 40), color='tab:gray')
    below_right.axhline(exposure.WHITE_SHARE, color='tab:red', linewidth=1)
    decision = (
        'overexposed: `full` frames are corrected' if found.overexposed else 'not overexposed: frames are not changed'
    )
    below_right.set(xlabel='second', ylabel='white share', title=f'{decision} (limit {exposure.WHITE_SHARE:.0%})')
    below_right.set_ylim(0, max(0.25, *fractions) * 1.1)
    return figure


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='python -m data_prep.inspect_clip',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('clip', help='video file, local, gs:// or s3://')
    parser.add_argument('--second', type=int, default=0, help='whole second to draw, from 0')
    parser.add_argument('--out', help='picture to write (.png, .jpg, .pdf, .svg), by default STEM-second-N.png')
    options = parser.parse_args(arguments)
    out = options.out or f'{PurePosixPath(options.clip).stem}-second-{options.second}.png'
    try:
        s3_paths.connect([options.clip])
        with s3_paths.as_os_errors():
            found = inspect_clip(options.clip, options.second)
        draw(os.path.basename(options.clip), found).savefig(out, dpi=100)
    except (ClipError, OSError, ValueError) as error:
        print(f'inspect failed: {options.clip}: {error}', file=sys.stderr)
        return 1
    if found.second != options.second:
        print(f'the clip has no second {options.second}; the picture shows its last second')
    whitest = max(found.judged.values())
    decision = 'overexposed, gamma correction' if found.overexposed else 'not overexposed'
    print(f'{decision}: the whitest of {len(found.judged)} seconds has {whitest:.1%} white (limit 20%); see {out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(stopping.run('inspect', main))
