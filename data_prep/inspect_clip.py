"""Draws one second of a clip before and after gamma correction, its luma, and the decision about the clip.

    python -m data_prep.inspect_clip CLIP --second 12 --out picture.png

With --enhance the picture also shows the second before and after the enhancement of clips of low resolution.
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

from data_prep.archive import is_photo, local_copy  # noqa: E402
from data_prep.buckets import s3_paths  # noqa: E402
from data_prep.decoding import exposure  # noqa: E402
from data_prep.decoding.container import ClipError  # noqa: E402
from data_prep.decoding.decode import ClipInfo, decode_seconds  # noqa: E402
from data_prep.enhance.clip import make_enhancer  # noqa: E402
from data_prep.enhance.spec import FORM, OFF, Enhancement, parse_enhancement  # noqa: E402
from data_prep.workers import stopping  # noqa: E402


class Inspection(NamedTuple):
    info: ClipInfo
    second: int  # the second that is shown: the last one if the clip is shorter
    standard: np.ndarray  # RGB uint8 [H, W, 3]
    corrected: np.ndarray  # RGB uint8 [H, W, 3], after gamma
    white_fraction: float  # of the standard picture
    judged: dict[int, float]  # white fraction of each of the clip's fixed seconds
    enhanced: np.ndarray | None = None  # RGB uint8, what data_prep.build would store; None: the clip is not enhanced

    @property
    def overexposed(self) -> bool:
        """Returns the decision for a clip without labels: one white frame among the fixed seconds is enough."""
        return exposure.clip_is_overexposed(self.judged.values())


def inspect_clip(path: str, second: int, enhancement: Enhancement | None = None) -> Inspection:
    """Returns one second of a clip and its exposure. path: local or gs://. enhancement: of clips of low resolution.

    Raises ClipError if the clip cannot be decoded.
    """
    with local_copy(path) as copy:
        info, standard = decode_seconds(copy, [second])
        _, corrected = decode_seconds(copy, [second], gamma=True)
        _, judged = decode_seconds(copy, exposure.fixed_seconds, convert=lambda rgb, _: exposure.white_fraction(rgb))
        overexposed = exposure.clip_is_overexposed(judged.values())
        enhanced = _enhanced(copy, second, info.width_px, enhancement, overexposed)
    (second,) = standard
    white_fraction = exposure.white_fraction(standard[second])
    return Inspection(info, second, standard[second], corrected[second], white_fraction, judged, enhanced)


def _enhanced(path, second: int, width_px: int, enhancement: Enhancement | None, gamma: bool) -> np.ndarray | None:
    """Returns the enhanced picture of a second, None if a clip of this width is not enhanced or is a photo."""
    if enhancement is None or is_photo(str(path)) or not enhancement.applies_to(width_px):
        return None
    enhancer = make_enhancer(path, lambda last_s: range(last_s + 1), enhancement, gamma)
    _, frames = decode_seconds(path, [second], gamma, lambda rgb, _: enhancer.improve(rgb), filters=enhancer.filters)
    (picture,) = frames.values()
    return picture


def draw(name: str, found: Inspection) -> plt.Figure:
    """Returns the figure of an inspection, with a third row of pictures if the clip is enhanced."""
    taller = found.enhanced is not None
    figure, axes = plt.subplots(
        3 if taller else 2,
        2,
        figsize=(12, 12.5 if taller else 8),
        height_ratios=(3, 2, 3) if taller else (3, 2),
        layout='constrained',
    )
    rate = f'{found.info.frame_rate:.4g} pictures/s'
    figure.suptitle(f'{name}: second {found.second} of {found.info.duration_s:.1f}, {rate}')
    share = f'standard: {found.white_fraction:.1%} of the channel values above {exposure.WHITE_LEVEL}'
    _show(axes[0, 0], found.standard, share)
    _show(axes[0, 1], found.corrected, 'after gamma correction of the luma')
    _draw_luma(axes[1, 0], found)
    _draw_seconds(axes[1, 1], found)
    if taller:
        before = found.corrected if found.overexposed else found.standard
        for place, picture, title in ((0, before, 'before'), (1, found.enhanced, 'after the enhancement')):
            height, width = picture.shape[:2]
            _show(axes[2, place], picture, f'{title}: {width} x {height} px')
    return figure


def _show(axes: plt.Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])


def _draw_luma(axes: plt.Axes, found: Inspection) -> None:
    for picture, label, colour in (
        (found.standard, 'standard', 'tab:gray'),
        (found.corrected, 'after gamma', 'tab:orange'),
    ):
        luma = picture @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
        axes.hist(luma.ravel(), bins=64, range=(0, 255), histtype='stepfilled', alpha=0.5, label=label, color=colour)
    axes.axvline(exposure.WHITE_LEVEL, color='k', linewidth=0.8, linestyle=':')
    axes.set(xlabel='luma of the picture above, 0 to 255', ylabel='pixels', yscale='log', title='histogram of luma')
    axes.legend(frameon=False)


def _draw_seconds(axes: plt.Axes, found: Inspection) -> None:
    seconds, fractions = list(found.judged), list(found.judged.values())
    axes.bar(seconds, fractions, width=max(0.8, found.info.last_s / 40), color='tab:gray')
    axes.axhline(exposure.WHITE_SHARE, color='tab:red', linewidth=1)
    decision = (
        'overexposed: `full` frames are corrected' if found.overexposed else 'not overexposed: frames are not changed'
    )
    axes.set(xlabel='second', ylabel='white share', title=f'{decision} (limit {exposure.WHITE_SHARE:.0%})')
    axes.set_ylim(0, max(0.25, *fractions) * 1.1)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='python -m data_prep.inspect_clip',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('clip', help='video file, local, gs:// or s3://')
    parser.add_argument('--second', type=int, default=0, help='whole second to draw, from 0')
    parser.add_argument('--out', help='picture to write (.png, .jpg, .pdf, .svg), by default STEM-second-N.png')
    parser.add_argument('--enhance', default=OFF, help=f'also shows the enhancement: {FORM}')
    options = parser.parse_args(arguments)
    out = options.out or f'{PurePosixPath(options.clip).stem}-second-{options.second}.png'
    try:
        s3_paths.connect([options.clip])
        with s3_paths.as_os_errors():
            enhancement = parse_enhancement(options.enhance)
            found = inspect_clip(options.clip, options.second, enhancement)
        draw(os.path.basename(options.clip), found).savefig(out, dpi=100)
    except (ClipError, OSError, ValueError) as error:
        print(f'inspect failed: {options.clip}: {error}', file=sys.stderr)
        return 1
    if found.second != options.second:
        print(f'the clip has no second {options.second}; the picture shows its last second')
    if enhancement:
        width, limit = found.info.width_px, enhancement.below_px
        if found.enhanced is not None:
            print(f'enhanced: {width} px wide')
        elif is_photo(options.clip):
            print('not enhanced: photos stay as they are')
        else:
            print(f'not enhanced: {width} px wide, not below {limit} px')
    whitest = max(found.judged.values())
    decision = 'overexposed, gamma correction' if found.overexposed else 'not overexposed'
    print(f'{decision}: the whitest of {len(found.judged)} seconds has {whitest:.1%} white (limit 20%); see {out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(stopping.run('inspect', main))
