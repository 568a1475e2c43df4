"""An evaluation in lines for the screen."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from chimp_jax.field.measured.matching import ALONE, BY_BOX, BY_NAME

_SCOPES = (('animals', 'animals'), ('band', 'true distance'), ('site', 'site'))


def screen_lines(table: pd.DataFrame) -> list[str]:
    """Returns the table of evaluate as lines: a sentence, the animals in view, the bands, the sites."""
    total = table.iloc[0]
    lines = [
        f'{total["n"]} known distances. The estimates are wrong by {total["mae"]:.2f} m on average (MAE). The mean '
        f'error is {abs(total["bias"]):.2f} m {bias_direction(total["bias"])} (bias).'
    ]
    for scope, title in _SCOPES:
        part = table[table['scope'] == scope]
        if len(part):
            lines += ['', *_error_lines(title, part)]
    return lines


def matched_lines(how: pd.Series) -> list[str]:
    """Returns lines that tell how known distances were matched; none if each was alone in its second.

    how: of match_animals.
    """
    counts = how.value_counts()
    if not counts.reindex([BY_BOX, BY_NAME]).any():
        return []
    found = [f'{counts[word]} {word}' for word in (BY_BOX, BY_NAME, ALONE) if word in counts]
    lines = [f'Matched with the estimates: {", ".join(found)}.']
    if BY_NAME in counts:
        lines.append(f'Make sure that the names of these {counts[BY_NAME]} are those of distances.csv.')
    return lines


def detection_lines(table: pd.DataFrame) -> list[str]:
    """Returns the table of detection_table as lines; none without measured animals."""
    total = table.iloc[0]
    if not total['seconds']:
        return []
    text = f'Not detected: {total["not_detected"]} of {total["seconds"]} measured animals in their second'
    if total['animals']:
        text += f'; {total["never_detected"]} of {total["animals"]} animals with a name in none of their seconds'
    shown = [('true distance', 'n', 'not detected', 'animals', 'never')]
    shown += [
        (row['name'], str(row['seconds']), _share(row['share']), str(row['animals']), _share(row['share_never']))
        for row in table[table['scope'] == 'band'].to_dict('records')
    ]
    return [f'{text}.', *_aligned([cells if total['animals'] else cells[:3] for cells in shown])]


def bias_direction(bias_m: float) -> str:
    """Returns whether estimates are too far or too near, in words."""
    return 'too far' if bias_m > 0 else 'too near'


def _error_lines(title: str, part: pd.DataFrame) -> list[str]:
    shown = [(title, 'n', 'MAE, m', 'bias, m', '', 'right bin', 'covered', 'interval, m')]
    for row in part.to_dict('records'):
        shares = [_share(row[name]) for name in ('right_bin', 'coverage')]
        width = '' if np.isnan(row['width']) else f'{row["width"]:.1f}'
        errors = f'{row["mae"]:.2f}', f'{row["bias"]:+.2f}', bias_direction(row['bias'])
        shown.append((row['name'], str(row['n']), *errors, *shares, width))
    return _aligned(shown, (0, 4))


def _aligned(shown: Sequence[Sequence[str]], of_text: Collection[int] = (0,)) -> list[str]:
    """Returns rows of cells as lines. of_text: the columns that are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        '  '.join(
            cell.ljust(width) if i in of_text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in shown
    ]


def _share(value: float) -> str:
    return '' if np.isnan(value) else f'{100 * value:.0f} %'
