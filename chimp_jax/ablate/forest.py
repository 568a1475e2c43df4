"""Draws the differences of the variants with their intervals as SVG inside HTML."""

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from chimp_jax.field.page.histogram import nice_step, short

_ROW_PX, _TOP_PX, _BOTTOM_PX, _RIGHT_PX = 28, 10, 44, 16


def draw_forest(rows: Sequence, width_px: int, names_px: int, kind: str) -> Markup:
    """Returns SVG of rows with variant, difference_m, lower_m, upper_m and verdict. kind: its class, wide or narrow.

    A row without an interval (NaN) has its point alone. names_px: room for the names of the variants.
    """
    values = [value for row in rows for value in (row.difference_m, row.lower_m, row.upper_m) if math.isfinite(value)]
    low, high = min([0.0, *values]), max([0.0, *values])
    step = nice_step(max(high - low, 1e-3), 6 if width_px > 500 else 4)
    first, last = math.floor(low / step - 1e-9), math.ceil(high / step + 1e-9)
    plot_px = width_px - names_px - _RIGHT_PX
    bottom = _TOP_PX + _ROW_PX * len(rows)

    def x(metres: float) -> float:
        return names_px + (metres / step - first) / (last - first) * plot_px

    parts = []
    for k in range(first, last + 1):
        parts.append(f'<path class="grid" d="M{x(k * step):.1f} {_TOP_PX}V{bottom}"/>')
        label = short(round(k * step, 9)).replace('-', '−')  # as in the tables
        parts.append(f'<text x="{x(k * step):.1f}" y="{bottom + 16}">{label}</text>')
    parts.append(f'<path class="grid zero" d="M{x(0):.1f} {_TOP_PX}V{bottom}"/>')
    parts.append(f'<text x="{names_px + plot_px / 2:.1f}" y="{bottom + 36}">difference of the MAE, m</text>')
    for k, row in enumerate(rows):
        y = _TOP_PX + _ROW_PX * (k + 0.5)
        whisker = ''
        if math.isfinite(row.lower_m):
            whisker = f'<path class="whisker" d="M{x(row.lower_m):.1f} {y:.1f}H{x(row.upper_m):.1f}"/>'
        parts.append(
            f'<g class="{row.verdict.split()[0]}"><title>{escape(row.variant)}: {row.verdict}</title>'
            f'<text class="row" x="4" y="{y + 4:.1f}">{escape(row.variant)}</text>{whisker}'
            f'<circle cx="{x(row.difference_m):.1f}" cy="{y:.1f}" r="5"/></g>'
        )
    return Markup(
        f'<svg class="forest {kind}" viewBox="0 0 {width_px} {bottom + _BOTTOM_PX}" role="img" '
        f'aria-label="Difference of each variant from the base, with its interval">{"".join(parts)}</svg>'
    )
