"""The ground of each station for `estimate`: from known points and backgrounds to the distances of the boxes."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.commands.estimating.animals import read_detected
from chimp_jax.commands.estimating.flags import EstimateRequest
from chimp_jax.commands.estimating.inputs import Inputs
from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.field.calibration import boxes, ground_rows, grounds, known_points
from chimp_jax.looks import ClipLook
from chimp_jax.stations import movement
from chimp_jax.streamed.results import Streamed
from data_prep.inputs.labels import Problem
from data_prep.plan import Plan

log = logging.getLogger(__name__)


class GroundEstimates(NamedTuple):
    """What the ground tells about the boxes."""

    boxes: pd.DataFrame  # of ground_rows.locate_boxes: a row for each box of an animal
    grounds: grounds.Grounds
    problems: list[Problem]  # of the known points
    notes: dict[str, list[str]]  # by station

    def best(self) -> pd.DataFrame:
        """Returns the best box of each animal in each second, indexed by KEY."""
        return ground_rows.best_located(self.boxes)


def find_ground(
    request: EstimateRequest,
    inputs: Inputs,
    plan: Plan,
    looks: Mapping[str, ClipLook],
    followed: pd.DataFrame,
) -> GroundEstimates:
    """Fits the ground of each station and locates all boxes of tracks. followed: of animals.follow_animals."""
    size_px = {name: (look.height_px, look.width_px) for name, look in looks.items() if not look.problem}
    cameras, notes, doubtful = find_cameras(inputs.stations(), looks)
    points, problems = pd.DataFrame(columns=known_points.COLUMNS), []
    if inputs.known is not None:
        inside = known_points.in_shares(inputs.known.points, size_px)
        headers = plan.headers | inputs.known.seconds.headers
        wanted = set(inside.rows['video_id'])
        clips = [clip for clip in read_detected(request, inputs, with_persons=True) if clip.video_id in wanted]
        with_boxes = boxes.add_feet(boxes.timed_boxes(clips, headers), size_px)
        known = known_points.with_feet(inside, boxes.best_feet(with_boxes))
        contradicting = grounds.contradictions(cameras, known.rows) + grounds.of_shifted_clips(
            known.rows, [clip for clip, shifted in doubtful.items() if shifted]
        )
        points = grounds.without_problems(known.rows, contradicting)
        # The members need no foot point.
        problems = known_points.table_order((known if inputs.trained is None else inside).problems + contradicting)
    fitted = grounds.fit_grounds(cameras, points)
    animals = boxes.add_feet(followed[followed['confidence'] >= request.least_confidence], size_px)
    located = ground_rows.locate_boxes(animals, fitted, request.coverage, request.theta_deg, doubtful)
    return GroundEstimates(located, fitted, problems, notes)


def find_cameras(
    station: pd.Series, looks: Mapping[str, ClipLook]
) -> tuple[list[grounds.CameraClips], dict[str, list[str]], dict[str, bool]]:
    """Returns the clips of each station between moves of its camera, notes on moves by station, and the doubtful clips.

    station: of each clip, indexed by video_id. doubtful: {video_id: whether its picture is shifted}; a clip is doubtful
    if its picture fits no epoch of its station, because it is shifted or because it cannot be compared.
    """
    epoch, notes, doubtful = {}, {}, {}
    for name, clips in station.groupby(station):
        in_order = sorted((clip for clip in clips.index if clip in looks), key=grounds.clip_order)
        backgrounds = [looks[clip].background_grey() for clip in in_order]
        moves = movement.find_moves(backgrounds, [looks[clip].infrared for clip in in_order])
        epochs = list(moves.epochs)
        told = [
            f'the camera was moved between {in_order[first - 1]} and {in_order[first]} ({reason}); the calibration '
            'starts anew there'
            for first, reason in ((moves.epochs.index(number), why) for number, why in enumerate(moves.starts) if why)
        ]
        for i, reason in moves.doubtful.items():
            if looks[in_order[i]].problem:
                continue
            # Names do not always follow the time: a clip of known points may belong to an earlier epoch.
            found = movement.fitting_epoch(backgrounds, moves, i)
            if found is None:
                doubtful[in_order[i]] = i in moves.shifted
                told.append(f'{in_order[i]}: {reason}')
            else:
                epochs[i] = found
        epoch |= dict(zip(in_order, epochs, strict=True))
        if told:
            notes[name] = told
    return grounds.camera_clips(station, epoch), notes, doubtful


def looked_targets(plan: Plan, looks: Mapping[str, ClipLook], ground: GroundEstimates) -> Streamed:
    """Returns the targets and the clips as the members' stream does, without members."""
    targets = pd.concat([table.rows[['video_id', 'time_s', 'animal']] for table in plan.targets.values()])
    rows = targets.rename(columns={'time_s': 'time'}).astype({'time': int}).sort_values(KEY, ignore_index=True)
    x1, y1, x2, y2 = ground.best().reindex(pd.MultiIndex.from_frame(rows[KEY]))[boxes.CORNERS].to_numpy(float).T
    brightness = [
        _brightness(looks.get(video_id), second)
        for video_id, second in zip(rows['video_id'], rows['time'], strict=True)
    ]
    box = dict(zip(BOX, (x1, y1, x2 - x1, y2 - y1), strict=True))
    rows = rows.assign(**box, brightness=brightness, shared=False)
    clips = [
        {'video_id': name, 'site': '', 'duration_s': look.duration_s, 'gamma': None, 'white_fraction': np.nan}
        | {'problem': look.problem or look.doubt}
        for name in rows['video_id'].unique()
        if (look := looks.get(name))
    ]
    columns = ['video_id', 'site', 'duration_s', 'gamma', 'white_fraction', 'problem']
    return Streamed(rows, pd.DataFrame(clips, columns=columns))


def _brightness(look: ClipLook | None, second: int) -> float:
    """Returns the mean luma of the frame that was looked at nearest to a second, NaN if the clip was not decoded."""
    if look is None or not look.times_s:
        return np.nan
    return look.brightness[int(np.argmin(np.abs(np.asarray(look.times_s) - second)))]


def pictures(looks: Mapping[str, ClipLook]) -> dict[str, int]:
    """Returns {video_id: a second in the middle of the clip} of the clips that can be decoded."""
    return {name: int(np.median(look.times_s)) for name, look in looks.items() if not look.problem and look.times_s}
