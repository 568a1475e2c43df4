"""The picture of one clip: the distance over time of each animal, how far the members differ, and some frames."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt  # noqa: E402  (the backend must be chosen first)
import numpy as np  # noqa: E402
from matplotlib.patches import ConnectionPatch, Rectangle  # noqa: E402
from matplotlib.patheffects import withStroke  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402
from PIL import Image  # noqa: E402

from chimp_jax.field.pictures.palette import ON_DARK, ON_LIGHT, STROKES, TrackStyle, track_styles  # noqa: E402
from data_prep.files import write_whole  # noqa: E402

MOST_FRAMES = 8
_LEAF, _OCHRE, _SOFT = '#2f6149', '#a8560f', '#5b6257'
_MOST_DOTS = 130  # with more seconds, the line alone is clearer
_MOST_LINES = 4  # of text above a frame
_LONGEST_NAME = 16  # letters


class Rows(NamedTuple):
    """The distances of a clip: one row per second, or one per animal of a second."""

    times_s: np.ndarray  # [n], rising; equal for the animals of a second
    distance_m: np.ndarray  # [n], NaN if missing
    member_m: np.ndarray  # [n, members]
    animal: np.ndarray  # [n] names, '' for the second as a whole
    box: np.ndarray  # [n, 4] x1, y1, x2, y2 in 0..1 of the picture, NaN without one

    def of(self, chosen: np.ndarray) -> 'Rows':
        return Rows(*(values[chosen] for values in self))


def draw_clip(
    path,
    times_s: np.ndarray,
    distance_m: np.ndarray,
    member_m: np.ndarray,
    frame_time_s: Sequence[int],
    frames: Sequence[bytes | np.ndarray],
    title: str,
    animal: Sequence[str] | None = None,
    box: np.ndarray | None = None,
    note: str = '',
) -> None:
    """Writes a PNG: the distance of every second, the members' range and standard deviation, and below them frames.

    times_s, distance_m: [n], rising seconds, and metres, NaN if missing; member_m: [n, members] metres.
    frame_time_s: [k] seconds; frames: [k, H, W, 3] uint8, or k JPEGs. At most MOST_FRAMES of them are drawn, evenly
    spaced. animal: [n] names; rows of one second may differ by the animal, and each animal has a line. box: [n, 4] x1,
    y1, x2, y2 in 0..1 of the picture, NaN without one. note: below the title. Raises ValueError if there is no second
    or the shapes do not fit.
    """
    times_s, distance_m, member_m = np.asarray(times_s), np.asarray(distance_m, float), np.asarray(member_m, float)
    if not len(times_s) or distance_m.shape != times_s.shape or member_m.shape[:-1] != times_s.shape:
        raise ValueError(
            f'the picture requires one distance per second and [seconds, members] values; got {times_s.shape} seconds, '
            f'{distance_m.shape} distances and {member_m.shape} values of members'
        )
    if len(frame_time_s) != len(frames):
        raise ValueError(f'got {len(frame_time_s)} seconds for {len(frames)} frames')
    n = len(times_s)
    animal = np.array([''] * n if animal is None else animal, object)
    box = np.full((n, 4), np.nan) if box is None else np.asarray(box, float)
    if animal.shape != (n,) or box.shape != (n, 4):
        raise ValueError(f'got {animal.shape} animals and {box.shape} boxes for {n} distances')
    chosen = even_places(len(frames), MOST_FRAMES)
    pictures = [_picture(frames[i]) for i in chosen]
    seconds = [int(frame_time_s[i]) for i in chosen]
    rows = Rows(times_s, distance_m, member_m, animal, box)
    content = io.BytesIO()
    with plt.rc_context({'font.size': 10, 'axes.edgecolor': '#b9b4a6', 'text.color': '#22281f'}):
        figure = _draw(rows, seconds, pictures, title, note)
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


def _draw(rows: Rows, seconds: Sequence[int], pictures: Sequence[np.ndarray], title: str, note: str) -> plt.Figure:
    styles = track_styles(rows.animal)
    n = max(len(pictures), 1)
    headings = [_heading(rows.of(rows.times_s == second), styles) for second in seconds]
    n_lines = max((len(lines) for lines in headings), default=1)
    higher = 0.17 * (n_lines - 1)  # inches
    height = (5.8 if pictures else 4.2) + higher
    figure = plt.figure(figsize=(11, height))
    bottom = (0.36 * 5.8 + higher) / height if pictures else 0.14
    right = 0.86 if styles else 0.98  # the names of the animals stand beside the lines
    axes = figure.add_axes((0.065, bottom, right - 0.065, 0.9 - bottom))
    figure.text(0.065, 0.945, title, fontsize=13, fontweight='bold')
    if note:
        figure.text(0.065, 0.915, note, fontsize=9.5, color=_OCHRE)
    _draw_distances(axes, rows, styles)
    width = min(0.915 / n, 0.2)
    lefts = [0.065 + 0.915 * (i + 0.5) / n - width / 2 for i in range(n)]
    for left, second, picture, lines in zip(lefts, seconds, pictures, headings, strict=False):
        below = figure.add_axes((left + 0.003, 0.045 * 5.8 / height, width - 0.006, 0.17 * 5.8 / height), anchor='N')
        below.imshow(picture)
        below.set(xticks=[], yticks=[])
        below.set_title('\n'.join(lines), fontsize=10, fontweight='bold')
        below.set_xlabel(f'{second} s', fontsize=9, color=_SOFT, labelpad=2)
        _draw_boxes(below, rows.of(rows.times_s == second), styles, picture.shape)
        start, stop = axes.get_xlim()
        picture_in = min(0.17 * 5.8, 11 * (width - 0.006) * picture.shape[0] / picture.shape[1])
        top = 1.2 + 0.175 * (len(lines) - 1) / picture_in
        to_frame = ConnectionPatch(
            (second, 0), (0.5, top), axes.get_xaxis_transform(), below.transAxes, color='#b9b4a6', linewidth=0.8
        )
        if start <= second <= stop:
            axes.axvline(second, color='#b9b4a6', linewidth=0.8, zorder=0)
            figure.add_artist(to_frame)
    return figure


def _heading(rows: Rows, styles: Mapping[str, TrackStyle]) -> list[str]:
    """Returns the lines above the frame of a second."""
    lines, distances_m = [], dict(zip(rows.animal, rows.distance_m, strict=True))
    for name in (one for one in ['', *styles] if one in distances_m):
        distance_m = distances_m[name]
        metres = 'no distance' if np.isnan(distance_m) else f'{distance_m:.1f} m'
        lines.append(f'{_short(name)}: {metres}' if name else metres)
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f'and {len(lines) - _MOST_LINES + 1} more']
    return [line.replace('$', r'\$') for line in lines] or ['no distance']


def _draw_boxes(axes: plt.Axes, rows: Rows, styles: Mapping[str, TrackStyle], shape: tuple[int, ...]) -> None:
    """Draws the boxes of a second over its frame, with the names of the animals."""
    height, width = shape[:2]
    for name, box in zip(rows.animal, rows.box, strict=True):
        if np.isnan(box).any():
            continue
        x1, y1, x2, y2 = box * [width, height, width, height]
        style = styles.get(name)
        colour = ON_DARK[style.colour] if style else '#ffd23f'
        outline = [withStroke(linewidth=2.6, foreground='#000000b0')]
        dashes = _dashes(style)
        axes.add_patch(
            Rectangle(
                (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.3, linestyle=dashes,
                path_effects=outline,
            )
        )  # fmt: skip
        if name:
            axes.annotate(
                _short(name).replace('$', r'\$'), (x1, y1), (1, 1), textcoords='offset points', fontsize=7.5,
                fontweight='bold', color='white', path_effects=outline, va='bottom' if y1 > height / 5 else 'top',
            )  # fmt: skip


def _draw_distances(axes: plt.Axes, rows: Rows, styles: Mapping[str, TrackStyle]) -> None:
    times_s = np.unique(rows.times_s)
    half = 0.5 * float(np.diff(times_s).min()) if len(times_s) > 1 else 0.5  # a single second gets a bar, too
    names = [*styles, *([''] if (rows.animal == '').any() else [])]
    known = _known(rows)
    for name in names:
        _draw_track(axes, rows.of(rows.animal == name), name, styles.get(name), half, len(styles))
    without = np.isnan(rows.distance_m)
    axes.plot(
        rows.times_s[without], np.zeros(without.sum()), '|', color=_OCHRE, markersize=9, clip_on=False,
        label='no distance' if without.any() else None,
    )  # fmt: skip
    tops = np.concatenate([rows.distance_m[~without], rows.member_m[known].ravel(), [1.0]])
    axes.set(ylim=(0, 1.08 * tops.max()), xlim=(times_s[0] - half, times_s[-1] + half), ylabel='distance, m')
    if len(times_s) > 1:
        axes.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    else:
        axes.set_xticks(times_s)
    axes.set_xlabel('second of the clip', color=_SOFT, labelpad=1)
    axes.grid(axis='y', color='#e6e1d5', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    _name_ends(axes, rows, list(styles))
    _draw_legends(axes, [_label(name) for name in styles])


def _draw_legends(axes: plt.Axes, names: Sequence[str]) -> None:
    """Draws the names of the animals beside the lines, and the other entries above them."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))  # an entry of several tracks stands once
    others = {label: handle for label, handle in entries.items() if label not in names}
    if names:
        beside = axes.legend(
            [entries[name] for name in names], names, loc='upper left', bbox_to_anchor=(1.0, 1.02), frameon=False,
            fontsize=9 if len(names) <= 12 else 7.5, handlelength=2.6, borderaxespad=0.2, labelspacing=0.3,
        )  # fmt: skip
        axes.add_artist(beside)
    if others:
        axes.legend(
            [*others.values()], [*others], loc='lower right', bbox_to_anchor=(1, 1), ncols=len(others), frameon=False,
            fontsize=9, borderaxespad=0.2,
        )  # fmt: skip


def _draw_track(axes: plt.Axes, rows: Rows, name: str, style: TrackStyle | None, half: float, n_tracks: int) -> None:
    """Draws the bands and the line of one animal; both have gaps where the animal has no row."""
    colour = ON_LIGHT[style.colour] if style else _LEAF
    known, n_members = _known(rows), rows.member_m.shape[1]
    ends = np.diff(rows.times_s) > 2.5 * half if style else np.zeros(len(rows.times_s) - 1, bool)
    runs = _runs(known, ends)
    if n_members > 1 and known.any():
        values = np.where(known[:, None], rows.member_m, 0)
        mean, sd = values.mean(1), values.std(1)
        bands = [
            (values.min(1), values.max(1), 0.16, f'range of {n_members} members'),
            (mean - sd, mean + sd, 0.3, 'one standard deviation to each side'),
        ]
        for lower, upper, alpha, label in bands if n_tracks <= 1 else bands[1:]:
            pale = 1 if n_tracks <= 1 else 2 if n_tracks <= 4 else 5
            _band(
                axes, rows.times_s, lower, upper, runs, half, color=colour, alpha=alpha / pale, linewidth=0, label=label
            )
    marker = 'o' if len(rows.times_s) <= _MOST_DOTS else ''
    gaps = np.flatnonzero(ends) + 1
    axes.plot(
        np.insert(rows.times_s.astype(float), gaps, np.nan), np.insert(rows.distance_m, gaps, np.nan), color=colour,
        marker=marker, markersize=4, linewidth=1.8 if marker else 0.9, linestyle=_dashes(style),
        label=_label(name) if name else 'distance',
    )  # fmt: skip
    if not marker:
        lone = [start for start, stop in runs if stop - start == 1]
        axes.plot(rows.times_s[lone], rows.distance_m[lone], 'o', color=colour, markersize=3)


def _name_ends(axes: plt.Axes, rows: Rows, names: Sequence[str]) -> None:
    """Writes the name of each animal at the end of its line. Names at one place stand above each other."""
    (left, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    ends = []
    for name in names:
        places = np.flatnonzero((rows.animal == name) & ~np.isnan(rows.distance_m))
        if len(places):
            ends.append((float(rows.distance_m[places[-1]]), float(rows.times_s[places[-1]]), name))
    written: list[tuple[float, float]] = []
    for distance_m, time_s, name in sorted(ends):
        reach = (0.015 + 0.011 * len(_short(name))) * (right - left)
        near = [y for x, y in written if abs(x - time_s) < reach]
        y = max([distance_m, *(other + 0.05 * top for other in near)])
        written.append((time_s, y))
        axes.annotate(
            _short(name).replace('$', r'\$'), (time_s, y), (5, 0), textcoords='offset points', fontsize=8.5,
            fontweight='bold', va='center', annotation_clip=False,
            path_effects=[withStroke(linewidth=2.5, foreground='w')],
        )  # fmt: skip


def _known(rows: Rows) -> np.ndarray:
    return ~np.isnan(rows.distance_m) & ~np.isnan(rows.member_m).any(1)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f'{name[: _LONGEST_NAME - 1]}…'


def _label(name: str) -> str:
    return f'animal {_short(name)}'.replace('$', r'\$')


def _dashes(style: TrackStyle | None):
    stroke = STROKES[style.stroke] if style else ''
    return (0, tuple(map(float, stroke.split()))) if stroke else '-'


def _runs(known: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """Returns start and stop of each run of known rows [n]. ends [n - 1]: whether a run ends after the row."""
    starts = known & ~np.r_[False, known[:-1] & ~ends]
    last = known & ~np.r_[known[1:] & ~ends, False]
    return list(zip(np.flatnonzero(starts).tolist(), (np.flatnonzero(last) + 1).tolist(), strict=True))


def _band(axes, times_s, lower, upper, runs, half, **style) -> None:
    """Fills between lower and upper. A second between two missing ones gets a bar, which fill_between does not draw."""
    for start, stop in runs:
        at = times_s[start:stop]
        low, high = lower[start:stop], upper[start:stop]
        if stop - start == 1:
            at = [at[0] - 0.35 * half, at[0] + 0.35 * half]
            low, high = np.repeat(low, 2), np.repeat(high, 2)
        axes.fill_between(at, low, high, **style)
        style.pop('label', None)
