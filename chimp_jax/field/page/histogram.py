"""Counts distances in bins and draws the histogram of the page as SVG inside HTML."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from chimp_jax.field.bins import bin_of, check_cutpoints
from chimp_jax.field.page.distance_counts import DistanceCounts

_MOST_BINS = 14  # of default_cutpoints
_ROOM = {'left': 46, 'right': 12, 'top': 22, 'bottom': 42}  # px around the plot


class Bin(NamedTuple):
    lower_m: float
    upper_m: float
    n_estimated: int
    n_corrected: int

    @property
    def n(self) -> int:
        return self.n_estimated + self.n_corrected


class Histogram(NamedTuple):
    bins: list[Bin]
    n_nearer: int  # below the first cutpoint
    n_farther: int  # above the last cutpoint

    @property
    def edges_m(self) -> list[float]:
        return [self.bins[0].lower_m, *(b.upper_m for b in self.bins)]

    @property
    def unequal(self) -> bool:
        widths = [b.upper_m - b.lower_m for b in self.bins]
        return max(widths) - min(widths) > 1e-6 * max(widths)


def count(estimated: DistanceCounts, corrected: DistanceCounts, cutpoints: Sequence[float] | None = None) -> Histogram:
    """Returns the counts of distances in bins.

    Bins are (lower, upper]; the first bin includes its lower end, as in R's cut(..., include.lowest = TRUE) and the
    package Distance. Raises ValueError if the cutpoints do not rise or are fewer than two.
    """
    both = estimated.merged(corrected)
    edges = default_cutpoints(both) if cutpoints is None else check_cutpoints(cutpoints).tolist()
    by_kind = []
    for kind in (estimated, corrected):
        place = bin_of(kind.values, edges)
        by_kind.append([int(kind.counts[place == number].sum()) for number in range(len(edges) - 1)])
    bins = [Bin(*b) for b in zip(edges[:-1], edges[1:], *by_kind, strict=True)]
    return Histogram(
        bins, int(both.counts[both.values < edges[0]].sum()), int(both.counts[both.values > edges[-1]].sum())
    )


def default_cutpoints(distances: DistanceCounts) -> list[float]:
    """Returns equal steps of 1, 2, 5, 10, ... m from 0 (or the step below a negative distance) to the largest distance.

    The 99th percentile sets the step, so that a few huge distances do not squeeze all others into one bin. Distances
    beyond twice the 99th percentile are above the last cutpoint.
    """
    if not distances.n:
        return [0.0, 1.0]
    bulk = max(distances.quantile(0.99), 1e-9)
    farthest = min(float(distances.values[-1]), 2 * bulk)
    step = max(1.0, nice_step(bulk, _MOST_BINS))
    lowest = min(0, math.floor(float(distances.values[0]) / step))
    lowest = max(lowest, -_MOST_BINS)
    return [step * k for k in range(lowest, max(math.ceil(farthest / step - 1e-9), lowest + 1) + 1)]


def nice_step(span: float, most: int) -> float:
    """Returns the smallest step of 1, 2 or 5 times a power of ten such that at most `most` steps cover the span."""
    power = math.floor(math.log10(span / most))
    steps = (factor * 10.0**exponent for exponent in range(power, power + 3) for factor in (1, 2, 5))
    return next(step for step in steps if span / step <= most + 1e-9)


def draw_histogram(histogram: Histogram, width_px: int, height_px: int, label: str, unit: str = 'seconds') -> str:
    """Returns SVG. unit: what is counted.

    Heights are counts, or counts per metre if the bins differ in width, so that areas compare.
    """
    bins = histogram.bins
    start, stop = bins[0].lower_m, bins[-1].upper_m
    heights = [b.n / (b.upper_m - b.lower_m) if histogram.unequal else b.n for b in bins]
    step = nice_step(max([*heights, 1e-9]), 4)
    if not histogram.unequal:
        step = max(1.0, step)
    top = step * max(1, math.ceil(max(heights) / step - 1e-9))
    plot_w = width_px - _ROOM['left'] - _ROOM['right']
    plot_h = height_px - _ROOM['top'] - _ROOM['bottom']

    def x(metres: float) -> float:
        return _ROOM['left'] + (metres - start) / (stop - start) * plot_w

    def y(height: float) -> float:
        return _ROOM['top'] + (1 - height / top) * plot_h

    parts = [_grid(step, top, y, width_px)]
    for b, height in zip(bins, heights, strict=True):
        left, right, estimated = x(b.lower_m) + 1, x(b.upper_m) - 1, height * b.n_estimated / max(b.n, 1)
        parts.append(_bar('estimated', left, right, y(estimated), y(0)))
        parts.append(_bar('corrected', left, right, y(height), y(estimated)))
        if b.n and right - left >= 8 * len(str(b.n)):
            parts.append(_text('n', (left + right) / 2, y(height) - 5, str(b.n)))
    parts += _marks(bins, x, y(0) + 18)
    parts.append(_text('name', _ROOM['left'] + plot_w / 2, height_px - 6, 'distance, m'))
    parts.append(_text('name start', 2, 12, f'{unit} per metre' if histogram.unequal else unit))
    return (
        f'<svg class="histogram" viewBox="0 0 {width_px} {height_px}" role="img" aria-label="{label}">'
        f'{"".join(parts)}</svg>'
    )


def _grid(step: float, top: float, y, width_px: int) -> str:
    levels = [step * k for k in range(round(top / step) + 1)]
    lines = (
        f'<path class="grid" d="M{_ROOM["left"]} {y(level):.1f}H{width_px - _ROOM["right"]}"/>'
        + _text('tick end', _ROOM['left'] - 6, y(level) + 4, short(level))
        for level in levels
    )
    return ''.join(lines)


def _marks(bins: list[Bin], x, y_px: float) -> list[str]:
    """Returns labels for the cutpoints that have room."""
    marks, free_from = [], -math.inf
    for cutpoint in (bins[0].lower_m, *(b.upper_m for b in bins)):
        half = 4 * len(short(cutpoint))
        if x(cutpoint) - half >= free_from:
            marks.append(_text('tick', x(cutpoint), y_px, short(cutpoint)))
            free_from = x(cutpoint) + half + 4
    return marks


def _bar(kind: str, left: float, right: float, top: float, bottom: float) -> str:
    if bottom - top < 0.05:
        return ''
    return f'<path class="{kind}" d="M{left:.1f} {bottom:.1f}V{top:.1f}H{right:.1f}V{bottom:.1f}Z"/>'


def _text(kind: str, x_px: float, y_px: float, text: str) -> str:
    return f'<text class="{kind}" x="{x_px:.1f}" y="{y_px:.1f}">{text}</text>'


def short(value: float) -> str:
    """Returns a number as an axis label: 0, 2.5, 12000, 3e+07."""
    return f'{value:.6g}'
