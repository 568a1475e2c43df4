"""Distances of one clip, second by second, as a table and a picture:

    chimp-distance clip --clip X.MP4 --members RUNS --out DIR

DIR gets distances.csv and clip.png: the distance over time, how far the members differ, and frames of the clip.
"""

import argparse
import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import members
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache
from chimp_jax.ensemble import results
from chimp_jax.ensemble.prediction_tables import recipe_means
from chimp_jax.field import status
from chimp_jax.field.clip_figure import MOST_FRAMES, draw_clip, even_places
from chimp_jax.scoring import Panel
from data_prep.lock import hold
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.workers import frame_store, local
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClipRequest:
    """The flags of `clip`."""

    clip: str  # local or gs://
    members: str  # folder of train.py --workdir
    out: str
    weights: str
    round: str | None
    compile_cache: str | None


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance clip', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clip', required=True, help='a clip; local or gs://')
    parser.add_argument('--members', required=True, help='folder of train.py --workdir')
    parser.add_argument('--out', required=True, help='folder for the table and the picture')
    combining.add_combination_flags(parser)
    add_compile_cache(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    request = ClipRequest(**vars(options))
    path, out = epath.Path(request.clip), epath.Path(request.out)
    if not path.exists():
        raise ValueError(f'there is no clip {path}')
    found = members.find_members(request.members)
    combined = combining.choose_combination(found, request.weights, request.round)
    with hold(out):
        table, record, problem = predict_clip(path, found, out / 'work')
        distance = combined.distance(table)
        results.write_table(out / status.DISTANCES, results.result_rows(distance, table, recipe_means(table)))
        draw_predictions(out / 'clip.png', distance, table, record)
    log.debug('\n'.join(combined.describe()))
    print(f'{len(table)} distances in {out / status.DISTANCES}, drawn in {out}/clip.png')
    if problem:
        print(f'{status.PARTLY}: {path.name}: {problem}')
    return 3 if problem else 0


def predict_clip(
    path: epath.Path, found: Sequence[members.Member], work: epath.Path
) -> tuple[pd.DataFrame, Record, str]:
    """Decodes the clip once and predicts every second.

    work: folder for the frames, which are deleted afterwards, and for the predictions, which are kept. Returns the
    predictions [seconds, members] in metres, indexed by (video_id, time); the record of frames that they were made
    from, the full copy's if a member reads it; and a problem, '' if there is none. Raises ValueError if nothing of the
    clip can be decoded.
    """
    task = ClipTask(video_id=path.name, down_path=None, full_path=str(path))
    frames = work / 'frames'
    if frames.exists():  # an interrupted run left them, perhaps of another clip
        frames.rmtree()
    decoded = in_background(lambda one: local.store_clips([one], str(frames), workers=1), [task], overlap=False)
    from chimp_jax import predict  # the import of TensorFlow takes seconds: the clip is decoded meanwhile

    next(decoded)
    outcome = frame_store.read_outcomes(frames)[task.video_id]
    problem = outcome.problem[1] if outcome.problem else ''
    if outcome.row is None:
        frames.rmtree()
        raise ValueError(f'{path}: {problem}')

    def read(stream: str) -> list[Record]:
        return [frame_store.load(frames, stream, task.video_id)]

    progress = Progress('', 1, work=len(found))
    predictions = predict.predict_records(found, read, work / 'parts', Panel(), progress)
    streams = {member.config.data.stream for member in found}
    (record,) = read('full' if 'full' in streams else 'down')
    frames.rmtree()
    return predictions.members(augmented=False), record, problem


def draw_predictions(path: epath.Path, distance: pd.Series, table: pd.DataFrame, record: Record) -> None:
    """Draws the distances [seconds] over the members' predictions [seconds, members], with frames of the record."""
    times_s = distance.index.get_level_values('time').to_numpy()
    shown_s = times_s[even_places(len(times_s), MOST_FRAMES)]
    places = np.searchsorted(record.frame_time_s, np.minimum(shown_s, record.frame_time_s[-1]))
    draw_clip(
        path,
        times_s=times_s,
        distance_m=distance.to_numpy(),
        member_m=np.maximum(table, 0),
        frame_time_s=shown_s,
        frames=[record.frame_jpeg[place] for place in places],
        title=record.video_id,
    )
