"""Writes the page of `chimp-distance report`: one HTML file, without network access, from a folder of estimates.

page.html has the text and page.css the style. page.js draws the charts of the clips and collects corrections.
"""

import base64
import importlib.resources
import json
from collections.abc import Sequence
from pathlib import PurePosixPath

import jinja2
import numpy as np
import pandas as pd
from etils import epath
from markupsafe import Markup

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field import thumbnails
from chimp_jax.field.bins import check_cutpoints
from chimp_jax.field.page.data import Estimates, read_estimates
from chimp_jax.field.page.histogram import count, draw_histogram, short
from chimp_jax.field.status import CORRECTED, NO_ANIMAL, PROBLEMS
from data_prep.files import write_whole

FLAG_TEXTS = {
    'outside_training': 'The estimate is nearer or farther than every training distance, so it is not reliable.',
    'overexposed': 'The clip has nearly white frames, for example from a close flash; they were darkened (gamma).',
    'dark': 'The frame is very dark, so little is visible.',
    'wide_spread': 'The members disagree more than on 95 % of the training seconds.',
}
_MOST_PROBLEMS = 1000  # rows of the table of problems


def write_report(
    folder, clips_folder: str | None = None, n_frames: int = 200, cutpoints: Sequence[float] | None = None
) -> epath.Path:
    """Writes folder/report.html and returns its path.

    folder: the output folder of chimp-distance estimate, local or gs://. clips_folder: the folder of the clips, if they
    have moved. n_frames: number of pictures, the most doubtful first. cutpoints: edges of the histogram's bins,
    metres; None uses default_cutpoints.
    Raises ValueError, in one line, if a file of the folder is missing or damaged, or an argument is wrong.
    """
    if n_frames < 0:
        raise ValueError(f'the number of pictures must be 0 or more; got {n_frames}')
    if cutpoints is not None:
        check_cutpoints(cutpoints)  # fail before reading the clips
    estimates = read_estimates(folder)
    wanted = thumbnails.doubtful_first(estimates.rows).head(n_frames)
    frames, no_frames = _read_frames(wanted, clips_folder or estimates.options.get('clips'))
    path = epath.Path(folder) / 'report.html'
    write_whole(path, render(estimates, wanted, frames, no_frames, cutpoints).encode())
    return path


def render(
    estimates: Estimates,
    wanted: pd.DataFrame,
    frames: dict[tuple[str, int], bytes | str],
    no_frames: str = '',
    cutpoints: Sequence[float] | None = None,
) -> str:
    """Returns the HTML of the page.

    wanted: the rows of the contact sheet, in order. frames: (video_id, time) -> JPEG, or the reason why it is missing.
    no_frames: the reason why all frames are missing, or ''.
    """
    known = estimates.rows[estimates.rows['distance'].notna()]
    histogram = count(known['distance'].to_numpy(), (known['status'] == CORRECTED).to_numpy(), cutpoints)
    shown = {(row.video_id, row.time) for row in wanted.itertuples()}
    return _template().render(
        estimates=estimates,
        known=known,
        **_overview(estimates, known),
        histogram=histogram,
        draw=lambda width_px, height_px: Markup(
            draw_histogram(histogram, width_px, height_px, 'Histogram of the distances')
        ),
        cards=[_card(row, frames, estimates) for row in wanted.itertuples()],
        has_boxes=bool(len(wanted) and wanted[BOX].notna().all(axis=1).any()),
        no_frames=no_frames,
        **_problems(estimates),
        flags=FLAG_TEXTS,
        n_by_flag=known['flags'].str.split().explode().value_counts().to_dict(),
        per_clip=known.groupby('video_id')['distance'].agg(['size', 'min', 'median', 'max']).reset_index(),
        data=_json({'clips': clip_series(estimates), 'kept': _kept(estimates, shown)}),
        facts={**_flat(estimates.options, 'options.json: '), **_flat(estimates.summary, 'summary.json: ')},
        css=Markup(_file('page.css')),
        js=Markup(_file('page.js')),
    )


def clip_series(estimates: Estimates) -> list[dict]:
    """Returns the data of page.js: one dict per clip with rows. Numbers have 2 decimals; empty columns are left out.

    Keys are short because the page repeats them for each clip: n name, g group (site, else folder), d duration in s;
    per row t second, v distance, lo and hi interval, s spread (all metres), f flags, c 1 if a person corrected it.
    """
    about = estimates.clips.set_index('video_id')[['duration_s', 'site']]
    series = []
    for video_id, rows in estimates.rows.groupby('video_id', sort=True):
        duration_s, site = about.loc[video_id] if video_id in about.index else (np.nan, '')
        clip = {
            'n': video_id,
            'g': site or str(PurePosixPath(video_id).parent).removeprefix('.'),
            'd': None if np.isnan(duration_s) else round(duration_s, 1),
            't': rows['time'].tolist(),
            'v': _rounded(rows['distance']),
            'lo': _rounded(rows['distance_lower']),
            'hi': _rounded(rows['distance_upper']),
            's': _rounded(rows['spread']),
            'f': rows['flags'].tolist(),
            'c': (rows['status'] == CORRECTED).astype(int).tolist(),
        }
        always = ('n', 'g', 't', 'v')
        empty = (None, '', 0)
        full = {name for name, values in clip.items() if isinstance(values, list) and set(values) - set(empty)}
        series.append({k: v for k, v in clip.items() if k in always or k in full or (k == 'd' and v is not None)})
    return series


def format_metres(value: float, digits: int = 1) -> str:
    """Returns a distance as text, '' if it is missing."""
    if value is None or np.isnan(value):
        return ''
    return f'{value:.{digits}f}' if abs(value) < 10_000 else f'{value:.3g}'


def _read_frames(wanted: pd.DataFrame, clips_folder) -> tuple[dict[tuple[str, int], bytes | str], str]:
    """Returns the frames of the wanted rows, and the reason why all are missing, or ''."""
    if not clips_folder:
        return {}, 'options.json does not name the folder of the clips.'
    if not len(wanted):
        return {}, ''
    try:
        return thumbnails.frames_of(wanted, str(clips_folder)), ''
    except (ValueError, OSError) as error:
        return {}, f'The clips cannot be read: {error}.'


def _overview(estimates: Estimates, known: pd.DataFrame) -> dict:
    """Returns the figures at the top of the page, and what is known about the intervals."""
    summary, options = estimates.summary, estimates.options
    coverage = summary.get('coverage', options.get('coverage'))
    n_members = estimates.rows['members'].dropna()
    return {
        'summary': summary,
        'n_clips': len(estimates.clips),
        'n_corrected': int((known['status'] == CORRECTED).sum()),
        'n_flagged': int((known['flags'] != '').sum()),
        'members': ' to '.join(f'{n:g}' for n in sorted({n_members.min(), n_members.max()})) if len(n_members) else '',
        'has_intervals': bool(known['distance_lower'].notna().any()),
        'has_spread': bool(known['spread'].notna().any()),
        'no_interval': _sentence(summary.get('no_interval') or 'summary.json gives no reason'),
        'coverage': f'{100 * coverage:g} %' if isinstance(coverage, int | float) and 0 < coverage < 1 else '',
    }


def _problems(estimates: Estimates) -> dict:
    """Returns the clips with problems, and the number of clips and of rows by status."""
    status = estimates.clips['status']
    problems = estimates.clips[status.isin(PROBLEMS)]
    return {
        'problems': problems.head(_MOST_PROBLEMS),
        'n_problems': len(problems),
        'n_no_animal': int((status == NO_ANIMAL).sum()),
        'clip_status': status.value_counts().to_dict(),
        'row_status': estimates.rows['status'].value_counts().to_dict(),
    }


def _card(row, frames: dict[tuple[str, int], bytes | str], estimates: Estimates) -> dict:
    frame = frames.get((row.video_id, row.time), '')
    box = [getattr(row, name) for name in BOX]
    interval = f'{format_metres(row.distance_lower)} to {format_metres(row.distance_upper)} m'
    return {
        'video_id': row.video_id,
        'time': row.time,
        'distance': format_metres(row.distance),
        'interval': '' if np.isnan(row.distance_lower) or np.isnan(row.distance_upper) else interval,
        'spread': format_metres(row.spread, 2),
        'flags': row.flags.split(),
        'corrected': row.status == CORRECTED,
        'typed': estimates.corrections.get((row.video_id, row.time), ''),
        'image': base64.b64encode(frame).decode() if isinstance(frame, bytes) else '',
        'reason': frame if isinstance(frame, str) else '',
        'box': '' if np.isnan(box).any() else _box_style(*box),
    }


def _box_style(x: float, y: float, width: float, height: float) -> str:
    return f'left:{x:.2%};top:{y:.2%};width:{width:.2%};height:{height:.2%}'


def _sentence(text) -> str:
    text = str(text).strip()
    return text[:1].upper() + text[1:] + ('' if text.endswith(('.', '!', '?')) else '.')


def _kept(estimates: Estimates, shown: set[tuple[str, int]]) -> list[list]:
    """Returns the corrections without a card on the page, so that a new corrections.csv includes them."""
    return [[*key, text] for key, text in sorted(estimates.corrections.items()) if key not in shown]


def _rounded(values: pd.Series) -> list:
    return [None if np.isnan(v) else round(v, 2) for v in values.tolist()]


def _flat(content: dict, prefix: str) -> dict[str, str]:
    flat = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f'{prefix}{name}.')
        else:
            flat[f'{prefix}{name}'] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _json(content) -> Markup:
    """Returns JSON for a script element. Its text cannot end the element or begin a comment."""
    text = json.dumps(content, separators=(',', ':'), allow_nan=False)  # ASCII: U+2028 is escaped too
    return Markup(text.replace('<', '\\u003c').replace('>', '\\u003e').replace('&', '\\u0026'))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, lstrip_blocks=True)
    environment.filters |= {'metres': format_metres, 'short': short}
    environment.filters['thousands'] = '{:,}'.format
    return environment.from_string(_file('page.html'))


def _file(name: str) -> str:
    return (importlib.resources.files('chimp_jax.field.page') / name).read_text('utf-8')
