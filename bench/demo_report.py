"""Writes the report of the demo: one HTML file that contains its pictures."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the backend)
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from data_prep.inputs.tables import numbers_of, read_table  # noqa: E402
from data_prep.records import Record, read_records  # noqa: E402

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ccc }
td:first-child, th:first-child { text-align: left } img { max-width: 100% }
figure { display: inline-block; max-width: 44rem; margin: 0 .5rem 1rem 0; vertical-align: top }
figcaption { font-size: .85rem; max-width: 20rem }
"""


def write(path: Path, folder: Path, summary: dict, rows: pd.DataFrame, recipes: Sequence[str]) -> None:
    """Writes the report of a demo folder. rows: video_id, time, distance, true, overexposed, one column per recipe."""
    records = {record.video_id: record for record in read_records(folder / 'data', 'full', 'test')}
    plain = {record.video_id: record for record in read_records(folder / 'data', 'down', 'test')}
    ratio = summary['mae_ensemble'] / summary['mae_constant']
    body = [
        '<h1>How far from the camera was the animal?</h1>',
        f'<p>{rows["video_id"].nunique()} simulated test clips of held-out sites. The mean absolute error (MAE) of the '
        f'ensemble is {summary["mae_ensemble"]:.2f} m, {ratio:.2f} times the {summary["mae_constant"]:.2f} m of the '
        'best constant (the median training distance).</p>',
        _table(summary),
        '<h2>Predicted and true distance</h2>',
        _figure(_scatter(rows)),
        '<h2>Learning curves</h2>',
        _figure(_curves(folder / 'runs', recipes)),
        '<h2>Six targets: middle frame, true and predicted distance</h2>',
        *(_target(records[row.video_id], row) for row in _six(rows).itertuples()),
        '<h2>Overexposed clips: frame of the down stream, and of the full stream after gamma correction</h2>',
        *(
            _target(plain[row.video_id], row, 'down') + _target(records[row.video_id], row, 'full, gamma')
            for row in rows[rows['overexposed']].drop_duplicates('video_id').head(2).itertuples()
        ),
        '<h2>The distance of each animal, on other clips with one to three</h2>',
        *_animals(folder / 'animals', summary['animals']),
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>chimp_jax demo</title><style>{STYLE}</style>'
    path.write_text(page + '<body>' + '\n'.join(body) + '</body></html>\n')


def middle_frame(record: Record, time_s: int) -> Image.Image:
    """Returns the stored frame of a second. A second past the end shows the last frame."""
    second = min(time_s, int(record.frame_time_s[-1]))
    return Image.open(io.BytesIO(record.frame_jpeg[int(np.searchsorted(record.frame_time_s, second))]))


def _table(summary: dict) -> str:
    over = summary['overexposed']
    lines = [('best constant', summary['mae_constant'], None, over['mae_constant'])]
    for recipe, scores in summary['recipes'].items():
        lines.append((recipe, scores['mae'], scores['rmse'], over[f'mae_{recipe.split("-")[0]}']))
    lines.append(('ensemble', summary['mae_ensemble'], summary['rmse_ensemble'], None))
    cells = ''.join(
        f'<tr><td>{html.escape(name)}</td>' + ''.join(f'<td>{"" if v is None else f"{v:.2f}"}</td>' for v in values)
        for name, *values in lines
    )
    return f'<table><tr><th></th><th>MAE, m</th><th>RMSE, m</th><th>MAE, overexposed clips, m</th></tr>{cells}</table>'


def _scatter(rows: pd.DataFrame) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(6, 5.5))
    for white, label in ((False, 'other clips'), (True, 'overexposed clips')):
        part = rows[rows['overexposed'] == white]
        axes.scatter(part['true'], part['distance'], s=14, alpha=0.6, label=label)
    limit = max(rows['true'].max(), rows['distance'].max()) * 1.05
    axes.plot([0, limit], [0, limit], color='0.6', linewidth=1)
    axes.set(xlabel='true distance, m', ylabel='predicted distance, m', xlim=(0, limit), ylim=(0, limit))
    axes.legend()
    return figure


def _curves(runs: Path, recipes: Sequence[str]) -> plt.Figure:
    figure, axes = plt.subplots(figsize=(7, 4))
    for recipe in recipes:
        for path in sorted((runs / recipe).glob('fold_*/metrics.csv')):
            table = read_table(path)
            epoch, validation, training = (numbers_of(table, name, path) for name in ('epoch', 'val_mae', 'train_mae'))
            label = f'{recipe}, {path.parent.name.replace("_", " ")}'
            (line,) = axes.plot(epoch, validation, marker='o', label=f'{label}, validation')
            axes.plot(epoch, training, linestyle=':', marker='.', color=line.get_color())
    axes.set(xlabel='epoch', ylabel='MAE, m (dotted: training)')
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(fontsize=8)
    return figure


def _six(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns targets of six clips, spread evenly over the true distances."""
    one_a_clip = rows[~rows['overexposed']].drop_duplicates('video_id').sort_values('true')
    places = np.linspace(0, len(one_a_clip) - 1, min(6, len(one_a_clip))).round().astype(int)
    return one_a_clip.iloc[places]


def _target(record: Record, row, note: str = '') -> str:
    caption = f'{row.video_id}, {row.time} s: true {row.true:g} m, predicted {row.distance:.1f} m'
    picture = io.BytesIO()
    middle_frame(record, row.time).resize((320, 180)).save(picture, 'JPEG', quality=85)
    return _image(picture.getvalue(), 'jpeg', f'{note}: {caption}' if note else caption)


def _animals(folder: Path, scores: dict) -> list[str]:
    """Returns the table of errors per animal, and three seconds with several animals."""
    lines = [
        ('error per animal, one in view', 'mae_one_m', '{:.2f} m'),
        ('error per animal, two or three in view', 'mae_many_m', '{:.2f} m'),
        ('the same, if one distance is copied to all', 'mae_copied_m', '{:.2f} m'),
        ('distances that follow an exchange of two boxes', 'swap_share', '{:.0%}'),
        ('IDF1 of the tracks', 'idf1', '{:.2f}'),
        ('median relative error of the speed', 'speed_error', '{:.0%}'),
    ]
    cells = ''.join(f'<tr><td>{text}</td><td>{shown.format(scores[name])}</td></tr>' for text, name, shown in lines)
    path = folder / 'scores.csv'
    rows = read_table(path, required=('video_id', 'time', 'animal', 'distance', 'true', 'has_box'))
    rows = rows.assign(**{name: numbers_of(rows, name, path) for name in ('time', 'distance', 'true')})
    rows = rows[rows['has_box'] == 'True']
    seconds = [part for _, part in rows.groupby(['video_id', 'time']) if len(part) > 1]
    chosen = {part['video_id'].iloc[0]: part for part in sorted(seconds, key=lambda part: np.ptp(part['true']))}
    shown = list(chosen.values())[-3:]
    records = {record.video_id: record for record in read_records(folder / 'data', 'full', 'test')}
    return [f'<table>{cells}</table>', *(_several(records[part['video_id'].iloc[0]], part) for part in shown)]


def _several(record: Record, rows: pd.DataFrame) -> str:
    """Returns one second of a clip, with the boxes of its animals. rows: animal, time, distance and true of each."""
    second = int(rows['time'].iloc[0])
    picture = middle_frame(record, second).convert('RGB').resize((640, 360))
    draw, said = ImageDraw.Draw(picture), []
    targets = list(zip(record.target_time_s.tolist(), record.target_animal, strict=True))
    for row, colour in zip(rows.itertuples(), ('#ffd200', '#00dcff', '#ff5aa0'), strict=False):
        box = record.target_box[targets.index((second, row.animal))] * [640, 360, 640, 360]
        draw.rectangle(box.tolist(), outline=colour, width=3)
        draw.text((box[0] + 5, box[1] + 3), f'{row.animal} {row.distance:.1f} m', fill=colour, font_size=18)
        said.append(f'{row.animal} true {row.true:.1f} m, predicted {row.distance:.1f} m')
    content = io.BytesIO()
    picture.save(content, 'JPEG', quality=85)
    return _image(content.getvalue(), 'jpeg', f'{record.video_id}, {second} s: {"; ".join(said)}')


def _figure(figure: plt.Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format='png', dpi=110, bbox_inches='tight')
    plt.close(figure)
    return _image(picture.getvalue(), 'png', '')


def _image(content: bytes, kind: str, caption: str) -> str:
    data = base64.b64encode(content).decode()
    text = html.escape(caption)
    return f'<figure><img src="data:image/{kind};base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'
