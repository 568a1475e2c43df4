"""Distances of one clip, second by second, as a table and a picture:

    chimp-distance clip --clip X.MP4 --members RUNS --out DIR

DIR gets distances.csv and clip.png: the distance over time, how far the members differ, and frames of the clip. With
--detect or --detections a detector finds the animals, and each animal has a line of its own.
"""

import argparse
import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import members, predict
from chimp_jax.commands import combining
from chimp_jax.commands.arguments import add_compile_cache, add_memory, limit_memory
from chimp_jax.commands.estimating.flags import DETECT, ENHANCE, LEAST_CONFIDENCE, LEAST_OF_TRACK
from chimp_jax.commands.estimating.looking import detect_animals
from chimp_jax.ensemble import results
from chimp_jax.ensemble.prediction_tables import KEY, SECOND, recipe_means, without_empty_animal
from chimp_jax.field import status
from chimp_jax.field.pictures.clip_animals import targets_of_animals
from chimp_jax.field.pictures.clip_figure import MOST_FRAMES, draw_clip, even_places
from chimp_jax.panel import Panel
from chimp_jax.scoring import target_boxes, target_rows
from data_prep.enhance.spec import parse_enhancement
from data_prep.files import remove_unfinished, removed_text
from data_prep.lock import hold
from data_prep.progress import Progress
from data_prep.records import Record
from data_prep.sound.heard import SILENT
from data_prep.workers import frame_store, local
from data_prep.workers.background import in_background
from data_prep.workers.clip_record import ClipTask

log = logging.getLogger(__name__)

_DETECTOR_RATE = '2'  # frames per second of --detect, as by default of estimate
_LEAST_GIVEN = 0.2  # confidence of an animal of --detections, as by default of estimate


@dataclasses.dataclass(frozen=True)
class ClipRequest:
    """The flags of `clip`."""

    clip: str  # local or gs://
    members: str  # folder of train.py --workdir
    out: str
    detect: bool
    detections: str | None
    weights: str | None  # None: the default of combining.choose_combination
    round: str | None
    enhance: str | None  # None: as the records of the members
    compile_cache: str | None
    memory: str | None  # None: the default of memory.limit_to


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance clip', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--clip', required=True, help='a clip; local or gs://')
    parser.add_argument('--members', required=True, help='folder of train.py --workdir')
    parser.add_argument('--out', required=True, help='folder for the table and the picture')
    parser.add_argument('--detect', action='store_true', help=DETECT)
    parser.add_argument('--detections', help='JSON of MegaDetector or PyTorch-Wildlife with the animals of the clip')
    combining.add_combination_flags(parser)
    parser.add_argument('--enhance', help=ENHANCE)
    add_compile_cache(parser)
    add_memory(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    request = ClipRequest(**vars(options))
    limit_memory(request.memory, on_one_machine=True)
    path, out = epath.Path(request.clip), epath.Path(request.out)
    if request.detect and request.detections:
        raise ValueError('--detect finds the animals itself, and --detections gives them; use one of the two')
    if not path.exists():
        raise ValueError(f'there is no clip {path}')
    found = members.find_members(request.members)
    combined = combining.choose_combination(found, request.weights, request.round)
    enhancement = parse_enhancement(members.choose_enhancement(found, request.enhance))
    cut = {'gamma': members.choose_gamma(found), 'sampling': members.choose_sampling(found)}
    hears = any(member.hears for member in found)
    with hold(out):
        task = plan_clip(request, out)._replace(enhance=enhancement, audio=hears, **cut)
        table, record, problem = predict_clip(path, task, found, out / 'work')
        distance = combined.distance(table)
        rows = results.result_rows(distance, table, recipe_means(table))
        if task.target_time_s is not None:
            boxes = target_boxes([record]).assign(**target_rows([record])[KEY])
            rows = rows.merge(boxes, on=KEY, validate='1:1')
        results.write_table(out / status.DISTANCES, without_empty_animal(rows))
        note = shared_distances(rows, found)
        draw_predictions(out / 'clip.png', distance, table, record, note)
        n_removed = remove_unfinished(out, deep=False) + remove_unfinished(out / 'work')
    log.debug('\n'.join(combined.describe()))
    n_animals = len(set(rows['animal']) - {''})
    removed = removed_text(n_removed)
    of_animals = f' of {n_animals} animal{"s" if n_animals > 1 else ""}' if n_animals else ''
    print(f'{len(table)} distances{of_animals} in {out / status.DISTANCES}, drawn in {out}/clip.png{removed}')
    if note:
        print(f'note: {note} For a distance of each animal, train members with --config.model.regions=True.')
    if hears and not len(record.sound):
        print(f'note: the clip has no sound: {SILENT}')
    if problem:
        print(f'{status.PARTLY}: {path.name}: {problem}')
    return 3 if problem else 0


def plan_clip(request: ClipRequest, out: epath.Path) -> ClipTask:
    """Returns what to decode: every second of the clip, or the seconds with an animal if there are boxes.

    Runs the detector if it is asked for. Raises ValueError if the boxes do not fit the clip.
    """
    name = epath.Path(request.clip).name
    if not (request.detect or request.detections):
        return ClipTask(video_id=name, down_path=None, full_path=request.clip)
    file = request.detections or str(out / status.DETECTIONS)
    if request.detect:
        (look,) = detect_animals({name: request.clip}, out / 'work' / 'looks', _DETECTOR_RATE, 1, file).values()
        if look.problem:
            raise ValueError(f'{request.clip}: {look.problem}')
    least = LEAST_CONFIDENCE if request.detect else _LEAST_GIVEN
    return targets_of_animals(request.clip, file, least, LEAST_OF_TRACK)


def shared_distances(rows: pd.DataFrame, found: Sequence[members.Member]) -> str:
    """Returns a sentence if a member gives one distance to several animals of a second, else ''."""
    whole = [member.name for member in found if not member.config.model.regions]
    if not whole or not rows.duplicated(SECOND).any():
        return ''
    which = 'The members' if len(whole) == len(found) else f'{len(whole)} of {len(found)} members'
    return f'{which} give one distance to all animals of a second.'


def predict_clip(
    path: epath.Path, task: ClipTask, found: Sequence[members.Member], work: epath.Path
) -> tuple[pd.DataFrame, Record, str]:
    """Decodes the clip once and predicts the targets of the task.

    work: folder for the frames, which are deleted afterwards, and for the predictions, which are kept. Returns the
    predictions [targets, members] in metres, indexed by KEY; the record of frames that they were made
    from, the full copy's if a member reads it; and a problem, '' if there is none. Raises ValueError if nothing of the
    clip can be decoded.
    """
    frames = work / 'frames'
    if frames.exists():  # an interrupted run left them, perhaps of another clip
        frames.rmtree()
    decoded = in_background(lambda one: local.store_clips([one], str(frames), workers=1), [task], overlap=False)
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


def draw_predictions(path: epath.Path, distance: pd.Series, table: pd.DataFrame, record: Record, note: str) -> None:
    """Draws the distances [targets] over the members' predictions [targets, members], with frames of the record.

    distance and table are indexed by KEY. note: stands below the title.
    """
    times_s = distance.index.get_level_values('time').to_numpy()
    seconds = np.unique(times_s)
    shown_s = seconds[even_places(len(seconds), MOST_FRAMES)]
    places = np.searchsorted(record.frame_time_s, np.minimum(shown_s, record.frame_time_s[-1]))
    boxes = pd.DataFrame(record.target_box).set_index(pd.MultiIndex.from_frame(target_rows([record])[KEY]))
    draw_clip(
        path,
        times_s=times_s,
        distance_m=distance.to_numpy(),
        member_m=np.maximum(table, 0),
        frame_time_s=shown_s,
        frames=[record.frame_jpeg[place] for place in places],
        title=record.video_id,
        animal=distance.index.get_level_values('animal').to_numpy(),
        box=boxes.reindex(distance.index).to_numpy(),
        note=note,
    )
