"""Writes the R script for a flat file, from distance.R beside this module: package Distance (>= 1.0.5), points."""

import importlib.resources

from chimp_jax.field.exports.completeness import Completeness

_UNDER = '\n' + ' ' * len('completeness <- data.frame(')
REDRAWS = 'distance_redraws'  # the folder of the tables with redraws of the true distances


def distance_script(
    flatfile: str,
    theta_deg: float,
    cutpoints=None,
    truncation: float | None = None,
    completeness: Completeness | None = None,
) -> str:
    """Returns R code that loads the flat file, fits and judges two detection functions and prints densities.

    flatfile: its file name. cutpoints [K]: metres, ascending, or None. truncation: metres; if it is None, the last
    cutpoint, or without cutpoints the largest distance. completeness: of the detector; None: not accounted for.
    """
    if cutpoints is not None:
        left, right = f'{cutpoints[0]:.10g}', f'{cutpoints[-1]:.10g}'
    else:
        left, right = '0', 'max(flatfile$distance, na.rm = TRUE)' if truncation is None else f'{truncation:.10g}'
    values = {  # between double at signs in distance.R
        'flatfile': flatfile,
        'redraws': REDRAWS,
        'cutpoints': 'NULL' if cutpoints is None else f'c({", ".join(f"{point:.10g}" for point in cutpoints)})',
        'left': left,
        'right': right,
        'theta': f'{theta_deg:.10g}',
        'completeness': 'NULL' if completeness is None else _data_frame(completeness),
    }
    script = importlib.resources.files(__package__).joinpath('distance.R').read_text(encoding='utf-8')
    for name, value in values.items():
        script = script.replace(f'@@{name}@@', value)
    return script


def _data_frame(completeness: Completeness) -> str:
    """Returns R code of a data frame with the columns that are known."""
    columns = (
        f'{name} = c({", ".join(f"{value:.10g}" for value in values)})'
        for name, values in completeness.columns().items()
    )
    return 'data.frame(' + f',{_UNDER}'.join(columns) + ')'
