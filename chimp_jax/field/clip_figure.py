"""The picture of one clip: the distance over time, how far the members differ, and some frames."""

import io
from collections.abc import Sequence

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt  # noqa: E402  (the backend must be chosen first)
import numpy as np  # noqa: E402
from matplotlib.patches import ConnectionPatch  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from PIL import Image  # noqa: E402

from data_prep.files import write_whole  # noqa: E402

MOST_FRAMES = 8
_LEAF, _OCHRE, _SOFT = '#2f6149', '#a8560f', '#5b6257'
_MOST_DOTS = 130  # with more seconds, the line alone is clearer


def draw_clip(
    path,
    times_s: np.ndarray,
    distance_m: np.ndarray,
    member_m: np.ndarray,
    frame_time_s: Sequence[int],
    frames: Sequence[bytes | np.ndarray],
    title: str,
) -> None:
    """Writes a PNG: the distance of every second, the members' range and standard deviation, and below them frames.

    times_s, distance_m: [n], rising seconds, and metres, NaN if missing; member_m: [n, members] metres.
    frame_time_s: [k] seconds; frames: [k, H, W, 3] uint8, or k JPEGs. At most MOST_FRAMES of them are drawn, evenly
    spaced. Raises ValueError if there is no second or the shapes do not fit.
    """
    times_s, distance_m, member_m = np.asarray(times_s), np.asarray(distance_m, float), np.asarray(member_m, float)
    if not len(times_s) or distance_m.shape != times_s.shape or member_m.shape[:-1] != times_s.shape:
        raise ValueError(
            f'the picture requires one distance per second and [seconds, members] values; got {times_s.shape} seconds, '
            f'{distance_m.shape} distances and {member_m.shape} values of members'
        )
    if len(frame_time_s) != len(frames):
        raise ValueError(f'got {len(frame_time_s)} seconds for {len(frames)} frames')
    chosen = even_places(len(frames), MOST_FRAMES)
    pictures = [_picture(frames[i]) for i in chosen]
    seconds = [int(frame_time_s[i]) for i in chosen]
    content = io.BytesIO()
    with plt.rc_context({'font.size': 10, 'axes.edgecolor': '#b9b4a6', 'text.color': '#22281f'}):
        figure = _draw(times_s, distance_m, member_m, seconds, pictures, title)
        figure.savefig(content, format='png', dpi=130, facecolor='white')
    plt.close(figure)
    write_whole(path, content.getvalue())


def even_places(n: int, most: int) -> list[int]:
    """Returns at most `most` of the places 0..n-1, evenly spaced, with both ends."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int).tolist()


def _picture(frame: bytes | np.ndarray) -> np.ndarray:
    """Returns the frame as uint8 [H, W, 3], scaled down to at most 480 pixels."""
    picture = Image.open(io.BytesIO(frame)).convert('RGB') if isinstance(frame, bytes) else Image.fromarray(frame)
    picture.thumbnail((480, 480), Image.Resampling.BOX)
    return np.asarray(picture)


def _draw(times_s, distance_m, member_m, seconds, pictures, title) -> plt.Figure:
    n = max(len(pictures), 1)
    figure = plt.figure(figsize=(11, 5.8 if pictures else 4.2))
    bottom = 0.36 if pictures else 0.14
    axes = figure.add_axes((0.065, bottom, 0.915, 0.9 - bottom))
    figure.text(0.065, 0.945, title, fontsize=13, fontweight='bold')
    _draw_distances(axes, times_s, distance_m, member_m)
    distance_at = dict(zip(times_s.tolist(), distance_m.tolist(), strict=True))
    width = min(0.915 / n, 0.2)
    lefts = [0.065 + 0.915 * (i + 0.5) / n - width / 2 for i in range(n)]
    for left, second, picture in zip(lefts, seconds, pictures, strict=False):
        below = figure.add_axes((left + 0.003, 0.045, width - 0.006, 0.17), anchor='N')
        below.imshow(picture)
        below.set(xticks=[], yticks=[])
        distance = distance_at.get(second, np.nan)
        below.set_title('no distance' if np.isnan(distance) else f'{distance:.1f} m', fontsize=10, fontweight='bold')
        below.set_xlabel(f'{second} s', fontsize=9, color=_SOFT, labelpad=2)
        start, stop = axes.get_xlim()
        to_frame = ConnectionPatch(
            (second, 0), (0.5, 1.2), axes.get_xaxis_transform(), below.transAxes, color='#b9b4a6', linewidth=0.8
        )
        if start <= second <= stop:
            axes.axvline(second, color='#b9b4a6', linewidth=0.8, zorder=0)
            figure.add_artist(to_frame)
    return figure


def _draw_distances(axes: plt.Axes, times_s, distance_m, member_m) -> None:
    known = ~np.isnan(distance_m) & ~np.isnan(member_m).any(1)
    n_members = member_m.shape[1]
    half = 0.5 * float(np.diff(times_s).min()) if len(times_s) > 1 else 0.5  # a single second gets a bar, too
    if n_members > 1 and known.any():
        values = np.where(known[:, None], member_m, 0)
        mean, sd = values.mean(1), values.std(1)
        for lower, upper, alpha, label in (
            (values.min(1), values.max(1), 0.16, f'range of {n_members} members'),
            (mean - sd, mean + sd, 0.3, 'one standard deviation to each side'),
        ):
            _band(axes, times_s, lower, upper, known, half, color=_LEAF, alpha=alpha, linewidth=0, label=label)
    marker = 'o' if len(times_s) <= _MOST_DOTS else ''
    lone = known & ~np.r_[False, known[:-1]] & ~np.r_[known[1:], False]
    width = 1.8 if marker else 0.9
    axes.plot(times_s, distance_m, color=_LEAF, marker=marker, markersize=4, linewidth=width, label='distance')
    if not marker:
        axes.plot(times_s[lone], distance_m[lone], 'o', color=_LEAF, markersize=3)
    without = np.isnan(distance_m)
    axes.plot(
        times_s[without], np.zeros(without.sum()), '|', color=_OCHRE, markersize=9, clip_on=False,
        label='no distance' if without.any() else None,
    )  # fmt: skip
    tops = np.concatenate([distance_m[~without], member_m[known].ravel(), [1.0]])
    axes.set(ylim=(0, 1.08 * tops.max()), xlim=(times_s[0] - half, times_s[-1] + half), ylabel='distance, m')
    if len(times_s) > 1:
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    else:
        axes.set_xticks(times_s)
    axes.set_xlabel('second of the clip', color=_SOFT, labelpad=1)
    axes.grid(axis='y', color='#e6e1d5', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    handles = len(axes.get_legend_handles_labels()[0])
    axes.legend(loc='lower right', bbox_to_anchor=(1, 1), ncols=handles, frameon=False, fontsize=9, borderaxespad=0.2)


def _band(axes, times_s, lower, upper, known, half, **style) -> None:
    """Fills between lower and upper. A second between two missing ones gets a bar, which fill_between does not draw."""
    edges = np.flatnonzero(np.diff(np.r_[False, known, False]))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        at = times_s[start:stop]
        low, high = lower[start:stop], upper[start:stop]
        if stop - start == 1:
            at = [at[0] - 0.35 * half, at[0] + 0.35 * half]
            low, high = np.repeat(low, 2), np.repeat(high, 2)
        axes.fill_between(at, low, high, **style)
        style.pop('label', None)
