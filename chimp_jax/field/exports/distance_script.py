"""Writes the R script for a flat file, from distance.R beside this module: package Distance (>= 1.0.5), points."""

import importlib.resources

REDRAWS = 'distance_redraws'  # the folder of the tables with redraws of the true distances
_SETTINGS = (
    'flatfile',
    'cutpoints',
    'left',
    'right',
    'theta',
    'redraws',
)  # written between double at signs in distance.R


def distance_script(flatfile: str, theta_deg: float, cutpoints=None, truncation: float | None = None) -> str:
    """Returns R code that loads the flat file, fits and judges two detection functions and prints densities.

    flatfile: its file name. cutpoints [K]: metres, ascending, or None. truncation: metres; if it is None, the last
    cutpoint, or without cutpoints the largest distance.
    """
    if cutpoints is not None:
        left, right = f'{cutpoints[0]:.10g}', f'{cutpoints[-1]:.10g}'
    else:
        left, right = '0', 'max(flatfile$distance, na.rm = TRUE)' if truncation is None else f'{truncation:.10g}'
    values = {
        'flatfile': flatfile,
        'redraws': REDRAWS,
        'cutpoints': 'NULL' if cutpoints is None else f'c({", ".join(f"{point:.10g}" for point in cutpoints)})',
        'left': left,
        'right': right,
        'theta': f'{theta_deg:.10g}',
    }
    script = importlib.resources.files(__package__).joinpath('distance.R').read_text(encoding='utf-8')
    for name in _SETTINGS:
        script = script.replace(f'@@{name}@@', values[name])
    return script
