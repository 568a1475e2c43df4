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
    found = read_estimates(folder)
    clips_folder = clips_folder or found.options.get('clips')
    wanted = thumbnails.doubtful_first(found.rows).head(n_frames)
    frames, no_frames = {}, ''
    if not clips_folder:
        no_frames = 'options.json does not name the folder of the clips.'
    elif len(wanted):
        try:
            frames = thumbnails.frames_of(wanted, str(clips_folder))
        except (ValueError, OSError) as error:
            no_frames = f'The clips cannot be read: {error}.'
    path = epath.Path(folder) / 'report.html'
    write_whole(path, render(found, wanted, frames, no_frames, cutpoints).encode())
    return path


def render(
    found: Estimates,
    wanted: pd.DataFrame,
    frames: dict[tuple[str, int], bytes | str],
    no_frames: str = '',
    cutpoints: Sequence[float] | None = None,
) -> str:
    """Returns the HTML of the page.

    wanted: the rows of the contact sheet, in order. frames: (video_id, time) -> JPEG, or the reason why it is missing.
    no_frames: the reason why all frames are missing, or ''.
    """
    rows, clips = found.rows, found.clips
    known = rows[rows['distance'].notna()]
    corrected = (known['status'] == 'corrected').to_numpy()
    histogram = count(known['distance'].to_numpy(), corrected, cutpoints)
    problems = clips[clips['status'].isin(['failed', 'partly'])]
    per_clip = known.groupby('video_id')['distance'].agg(['size', 'min', 'median', 'max']).reset_index()
    shown = {(row.video_id, row.time) for row in wanted.itertuples()}
    return _template().render(
        found=found,
        summary=found.summary,
        known=known,
        n_clips=len(clips),
        n_corrected=int(corrected.sum()),
        n_flagged=int((known['flags'] != '').sum()),
        has_intervals=bool(known['distance_lower'].notna().any()),
        has_spread=bool(known['spread'].notna().any()),
        no_interval=_sentence(found.summary.get('no_interval') or 'summary.json gives no reason'),
        coverage=_coverage(found),
        members=_members(found),
        histogram=histogram,
        draw=lambda width_px, height_px: Markup(
            draw_histogram(histogram, width_px, height_px, 'Histogram of the distances')
        ),
        cards=[_card(row, frames, found) for row in wanted.itertuples()],
        has_boxes=bool(len(wanted) and wanted[BOX].notna().all(axis=1).any()),
        no_frames=no_frames,
        problems=problems.head(_MOST_PROBLEMS),
        n_problems=len(problems),
        clip_status=clips['status'].value_counts().to_dict(),
        row_status=rows['status'].value_counts().to_dict(),
        flags=FLAG_TEXTS,
        n_by_flag=known['flags'].str.split().explode().value_counts().to_dict(),
        per_clip=per_clip,
        data=_json({'clips': clip_series(found), 'kept': _kept(found, shown)}),
        facts={**_flat(found.options, 'options.json: '), **_flat(found.summary, 'summary.json: ')},
        css=Markup(_file('page.css')),
        js=Markup(_file('page.js')),
    )


def clip_series(found: Estimates) -> list[dict]:
    """Returns the data of page.js: one dict per clip with rows. Numbers have 2 decimals; empty columns are left out.

    Keys are short because the page repeats them for each clip: n name, g group (site, else folder), d duration in s;
    per row t second, v distance, lo and hi interval, s spread (all metres), f flags, c 1 if a person corrected it.
    """
    about = found.clips.set_index('video_id')[['duration_s', 'site']]
    series = []
    for video_id, rows in found.rows.groupby('video_id', sort=True):
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
            'c': (rows['status'] == 'corrected').astype(int).tolist(),
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


def _card(row, frames: dict[tuple[str, int], bytes | str], found: Estimates) -> dict:
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
        'corrected': row.status == 'corrected',
        'typed': found.corrections.get((row.video_id, row.time), ''),
        'image': base64.b64encode(frame).decode() if isinstance(frame, bytes) else '',
        'reason': frame if isinstance(frame, str) else '',
        'box': '' if np.isnan(box).any() else _box_style(*box),
    }


def _box_style(x: float, y: float, width: float, height: float) -> str:
    return f'left:{x:.2%};top:{y:.2%};width:{width:.2%};height:{height:.2%}'


def _coverage(found: Estimates) -> str:
    """Returns the coverage of the intervals, e.g. '90 %', or '' if it is unknown."""
    value = found.summary.get('coverage', found.options.get('coverage'))
    return f'{100 * value:g} %' if isinstance(value, int | float) and 0 < value < 1 else ''


def _sentence(text) -> str:
    text = str(text).strip()
    return text[:1].upper() + text[1:] + ('' if text.endswith(('.', '!', '?')) else '.')


def _members(found: Estimates) -> str:
    counts = found.rows['members'].dropna().unique()
    return ' to '.join(f'{n:g}' for n in sorted({counts.min(), counts.max()})) if len(counts) else ''


def _kept(found: Estimates, shown: set[tuple[str, int]]) -> list[list]:
    """Returns the corrections without a card on the page, so that a new corrections.csv includes them."""
    return [[*key, text] for key, text in sorted(found.corrections.items()) if key not in shown]


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
