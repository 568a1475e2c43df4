"""Writes the page of `chimp-distance report`: one HTML file, without network access, from a folder of estimates.

page.html has the text and page.css the style. charts.js draws the charts of the clips. cards.js enlarges pictures,
lists the other seconds of a card's clip, and collects corrections. ground.html has the stations, without a script.
palette.py has the colours of the tracks.
"""

import importlib.resources
import json
from collections.abc import Sequence

import jinja2
from etils import epath
from markupsafe import Markup

from chimp_jax.field.bins import check_cutpoints
from chimp_jax.field.evaluate import bias_text
from chimp_jax.field.flags import ONE_FOR_ALL
from chimp_jax.field.page.cards import format_metres, make_cards
from chimp_jax.field.page.choice import Choice, Key, Second, choose_cards, choose_others
from chimp_jax.field.page.data import Estimates, read_estimates, shown_clips
from chimp_jax.field.page.ground import PICTURE_PX, drawn_figures, station_section
from chimp_jax.field.page.histogram import Histogram, count, draw_histogram, short
from chimp_jax.field.page.known import known_distances, nearest_known
from chimp_jax.field.page.series import clip_series
from chimp_jax.field.pictures import thumbnails
from chimp_jax.field.pictures.palette import ON_DARK, ON_LIGHT, STROKES
from chimp_jax.field.status import NO_ANIMAL, PROBLEMS
from data_prep.files import write_whole

FLAG_TEXTS = {  # words on a picture, and what they mean
    'outside_training': (
        'beyond the training distances',
        'The estimate is nearer or farther than every training distance, so it is not reliable.',
    ),
    'overexposed': (
        'overexposed',
        'The clip has nearly white frames, for example from a close flash. The models see it darkened.',
    ),
    'dark': ('dark', 'The frame is very dark, so little is visible.'),
    'wide_spread': ('models disagree', 'The models disagree more than on 95 % of the training seconds.'),
    ONE_FOR_ALL: (
        'one distance for all',
        'The models give one distance for the whole picture, so all animals of this second have the same distance.',
    ),
    'no_known_point': (
        'station without a known point',
        'The distance assumes a camera like those of another survey. Measure three or more points at the station.',
    ),
    'camera_moved': ('camera moved', 'The known points of the station are of before or after a move of its camera.'),
    'camera_unsure': (
        'camera moved?',
        'The picture fits no other clip of the station: the camera may have been moved, or the picture is too dark.',
    ),
    'ground_unfit': ('ground uncertain', 'The known points of the station do not fit a plane.'),
    'feet_cut': ('feet cut off', 'The feet are outside of the picture, so the ground gives no distance.'),
    'above_horizon': ('above the horizon', 'The feet are above the horizon, so the ground gives no distance.'),
}
OPEN_CARDS = 24  # the other cards are folded
_MOST_PROBLEMS = 1000  # rows of the table of problems


def write_report(
    folder, clips_folder: str | None = None, n_frames: int = 200, cutpoints: Sequence[float] | None = None
) -> epath.Path:
    """Writes folder/report.html and returns its path.

    folder: the output folder of chimp-distance estimate, local or gs://. clips_folder: the folder of the clips, if they
    have moved. n_frames: number of pictures, the most doubtful first. cutpoints: edges of the histogram's bins,
    metres; None takes those of the run, else default_cutpoints.
    Raises ValueError, in one line, if a file of the folder is missing or damaged, or an argument is wrong.
    """
    if n_frames < 0:
        raise ValueError(f'the number of pictures must be 0 or more; got {n_frames}')
    if cutpoints is not None:
        check_cutpoints(cutpoints)  # fail before reading the clips
    estimates = read_estimates(folder)
    overview = estimates.overview
    histogram = count(overview.estimated, overview.corrected, cutpoints or estimates.options.get('cutpoints'))
    cards = choose_cards(estimates.animals, histogram.edges_m, n_frames)
    known_m, known_note = known_distances(estimates)
    estimates = shown_clips(estimates, {name for name, *_ in [*cards, *known_m]})
    choice = Choice(cards, choose_others(estimates.rows, cards, n_frames))
    known = nearest_known(choice.cards[:OPEN_CARDS], estimates, known_m)
    stations = [(figure.epoch.picture, figure.epoch.second) for figure in drawn_figures(estimates.stations)]
    clips_folder = clips_folder or estimates.options.get('clips')
    frames, no_frames = _read_frames(estimates, choice, known, stations if n_frames else [], clips_folder)
    path = epath.Path(folder) / 'report.html'
    write_whole(path, render(estimates, histogram, choice, known, frames, no_frames, known_note).encode())
    return path


def render(
    estimates: Estimates,
    histogram: Histogram,
    choice: Choice,
    known: dict[Second, tuple[Key, float]],
    frames: dict[Second, bytes | str],
    no_frames: str = '',
    known_note: str = '',
) -> str:
    """Returns the HTML of the page.

    known: of nearest_known. frames: second -> JPEG, or the reason why it is missing. no_frames: the reason
    why all frames are missing, or ''. known_note: why known distances are missing, or ''.
    """
    rows = estimates.rows[estimates.rows['distance'].notna()]
    cards = make_cards(estimates, choice, known, frames)
    unit = 'observation' if estimates.by_animal else 'second'
    return _template().render(
        estimates=estimates,
        **_overview(estimates),
        errors=_errors(estimates.summary),
        histogram=histogram,
        draw=lambda width_px, height_px: Markup(
            draw_histogram(histogram, width_px, height_px, 'Histogram of the distances', f'{unit}s')
        ),
        cards=cards[:OPEN_CARDS],
        folded=cards[OPEN_CARDS:],
        n_cards=len(cards),
        n_not_drawn=len(estimates.overview.names) - estimates.rows['video_id'].nunique(),
        has_boxes=any(animal['box'] for card in cards for animal in card['animals']),
        by_animal=estimates.by_animal,
        unit=unit,
        no_frames=no_frames,
        known_note=_sentence(known_note) if known_note else '',
        stations=station_section(estimates.stations, frames),
        **_problems(estimates),
        flags=FLAG_TEXTS,
        flag_words={name: words for name, (words, _) in FLAG_TEXTS.items()},
        per_clip=rows.groupby(['video_id', 'animal'])['distance'].agg(['size', 'min', 'median', 'max']).reset_index(),
        data=_json(
            {
                'clips': clip_series(estimates),
                'words': {name: words for name, (words, _) in FLAG_TEXTS.items()},
                'typed': [
                    [video_id, time, text, *filter(None, [animal])]
                    for (video_id, time, animal), text in sorted(estimates.corrections.items())
                ],
            }
        ),
        facts={**_flat(estimates.options, 'options.json: '), **_flat(estimates.summary, 'summary.json: ')},
        css=Markup(_file('page.css') + _track_css()),
        js=Markup(_file('charts.js') + _file('cards.js')),
    )


def _track_css() -> str:
    """Returns the classes c0, c1, ... of the colours and s0, s1, ... of the strokes of tracks."""
    light, dark = (''.join(f'--c{k}: {c}; ' for k, c in enumerate(colours)) for colours in (ON_LIGHT, ON_DARK))
    css = f':root {{ {light}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark}}} }}\n'
    css += f'.picture {{ {dark}}}\n@media print {{ :root {{ {light}}} .picture {{ {dark}}} }}\n'
    css += ' '.join(f'.c{k} {{ --track: var(--c{k}) }}' for k in range(len(ON_LIGHT))) + '\n'
    return (
        css + ' '.join(f'.s{k} {{ stroke-dasharray: {stroke or "none"} }}' for k, stroke in enumerate(STROKES)) + '\n'
    )


def _read_frames(
    estimates: Estimates,
    choice: Choice,
    known: dict[Second, tuple[Key, float]],
    stations: Sequence[Second],
    clips_folder,
) -> tuple[dict[Second, bytes | str], str]:
    """Returns the frames of the page, and the reason why all are missing, or ''."""
    if not clips_folder:
        return {}, 'options.json does not name the folder of the clips.'
    small = [*choice.cards[OPEN_CARDS:], *choice.others, *(key[:2] for key, _ in known.values())]
    large = choice.cards[:OPEN_CARDS]
    width_px = dict.fromkeys(small, thumbnails.SMALL_PX) | dict.fromkeys(stations, PICTURE_PX)
    width_px |= dict.fromkeys(large, thumbnails.LARGE_PX)
    if not width_px:
        return {}, ''
    try:
        return thumbnails.frames_of(width_px, str(clips_folder), _darkened(estimates)), ''
    except (ValueError, OSError) as error:
        return {}, f'The clips cannot be read: {error}.'


def _darkened(estimates: Estimates) -> set[str]:
    """Returns the clips that the models saw gamma-corrected. Recipes of the stream `down` see no clip so."""
    recipes = estimates.summary.get('members') or ['']
    if all(str(name).startswith('down-') for name in recipes):
        return set()
    clips = estimates.clips
    return set(clips['video_id'][clips['gamma'] == 'True'])


def _overview(estimates: Estimates) -> dict:
    """Returns the figures at the top of the page, and what is known about the intervals."""
    summary, options, found = estimates.summary, estimates.options, estimates.overview
    coverage = summary.get('coverage', options.get('coverage'))
    distances = found.distances
    return {
        'simulated': summary.get('simulated') is True,
        'n_clips': len(estimates.clips),
        'n_clips_known': found.n_clips_known,
        'n_rows': found.n_rows,
        'n_seconds': found.n_seconds,
        'n_tracks': found.n_tracks,
        'n_known': found.n_known,
        'n_corrected': found.corrected.n,
        'n_flagged': found.n_flagged,
        'n_one_for_all': found.n_one_for_all,
        'n_by_flag': found.flags,
        'row_status': dict(found.status.most_common()),
        'median_m': distances.median(),
        'farthest_m': float(distances.values[-1]) if distances.n else None,
        'models': ' to '.join(f'{n:g}' for n in sorted({min(found.members), max(found.members)}))
        if found.members
        else '',
        'by_ground': 'ground' in summary,
        'has_intervals': found.has_intervals,
        'has_spread': found.has_spread,
        'no_interval': _sentence(summary.get('no_interval') or 'summary.json gives no reason'),
        'coverage': f'{100 * coverage:g} %' if isinstance(coverage, int | float) and 0 < coverage < 1 else '',
    }


def _problems(estimates: Estimates) -> dict:
    """Returns the clips with problems, and the number of clips by status."""
    status = estimates.clips['status']
    problems = estimates.clips[status.isin(PROBLEMS)]
    return {
        'problems': problems.head(_MOST_PROBLEMS),
        'n_problems': len(problems),
        'n_no_animal': int((status == NO_ANIMAL).sum()),
        'clip_status': status.value_counts().to_dict(),
    }


def _errors(summary: dict) -> dict:
    """Returns mae_m, bands and warning of the out-of-fold rows, as far as summary.json has them."""
    errors = summary.get('out_of_fold')
    if not isinstance(errors, dict) or not isinstance(errors.get('mae_m'), int | float):
        return {}
    bands = [band for band in errors.get('bands') or [] if band.get('n') and band.get('bias') is not None]
    return {'mae_m': errors['mae_m'], 'bands': bands, 'warning': _sentence(errors.get('warning') or '')}


def _sentence(text) -> str:
    text = str(text).strip()
    if not text:
        return ''
    return text[:1].upper() + text[1:] + ('' if text.endswith(('.', '!', '?')) else '.')


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
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file), autoescape=True, undefined=jinja2.StrictUndefined, lstrip_blocks=True
    )
    environment.filters |= {'metres': format_metres, 'short': short}
    environment.filters['bias'] = bias_text
    environment.filters['thousands'] = '{:,}'.format
    return environment.get_template('page.html')


def _file(name: str) -> str:
    return (importlib.resources.files('chimp_jax.field.page') / name).read_text('utf-8')
