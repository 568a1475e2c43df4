"""Distances of one clip, second by second, as a table and a picture:

    python predict.py --clip X.MP4 --members RUNS --out DIR

DIR gets distances.csv and clip.png: the distance over time, how far the members differ, and frames of the clip.
"""

import argparse
import os

import numpy as np
from etils import epath

from chimp_jax import members
from chimp_jax.clip_stream import stream_clips
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache
from chimp_jax.ensemble import results
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.field.clip_figure import MOST_FRAMES, draw_clip, even_places
from chimp_jax.field.thumbnails import frames_of
from chimp_jax.scoring import Panel
from data_prep.progress import Progress
from data_prep.workers.clip_record import ClipTask


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='predict.py', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clip', required=True, help='a clip; local or gs://')
    parser.add_argument('--members', required=True, help='folder of train.py --workdir')
    parser.add_argument('--out', required=True, help='folder for the table and the picture')
    combining.add_flags(parser)
    add_compile_cache(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    path, out = epath.Path(options.clip), epath.Path(options.out)
    if not path.exists():
        raise ValueError(f'there is no clip {path}')
    found = members.find_members(options.members)
    combined = combining.choose_combination(options, found)
    task = ClipTask(path.name, None, str(path))
    progress = Progress('predict', 1, work=len(found))
    streamed = stream_clips([task], found, out / 'work', Panel(), workers=1, progress=progress)
    problem = streamed.clips['problem'].iloc[0]
    if streamed.rows.empty:
        raise ValueError(f'{path}: {problem}')
    table = streamed.answers()
    distance = combined.distance(table)
    results.write_table(out / 'distances.csv', results.result_rows(distance, table, recipe_means(table)))
    times_s = streamed.rows['time'].to_numpy()
    chosen = streamed.rows.iloc[even_places(len(times_s), MOST_FRAMES)][['video_id', 'time']]
    frames = {
        time_s: frame
        for (_, time_s), frame in frames_of(chosen, os.path.dirname(str(path)) or '.', 1).items()
        if isinstance(frame, bytes)
    }
    draw_clip(
        out / 'clip.png',
        times_s,
        distance.to_numpy(),
        np.maximum(table, 0),
        list(frames),
        list(frames.values()),
        path.name,
    )
    print('\n'.join(combined.describe()))
    print(f'{len(table)} distances in {out}/distances.csv, drawn in {out}/clip.png')
    if problem:
        print(f'partly: {path.name}: {problem}')
    return 3 if problem else 0
