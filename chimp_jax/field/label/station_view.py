"""What helps a person at a station: lines of equal distance, known points, and pictures with a known distance."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from chimp_jax.field.calibration.grounds import CameraClips, fit_grounds
from chimp_jax.field.label.answers import DISTANCE, GroundClick, Joint
from chimp_jax.field.label.survey import LabelSurvey
from chimp_jax.field.page.ground import LINES_M
from chimp_jax.stations.ground_plane import equal_distance_line

MOST_REFERENCES = 40  # of a station; a person leafs through them


class Reference(NamedTuple):
    """A second of the station in which something is at a known distance."""

    clip: str
    second: int
    distance_m: float
    x: float | None  # foot point in shares of the picture
    y: float | None
    what: str  # 'known point' or 'label'


def station_points(survey: LabelSurvey, read: pd.DataFrame, clicks: Iterable[GroundClick]) -> pd.DataFrame:
    """Returns all known points: of the estimates' stations, of the user's table and those that were clicked.

    read: of known_points.in_shares; rows without a foot point count only as references. Columns: video_id, time,
    distance, x, y, row; a point that is in several of them appears once.
    """
    rows = [*read[['video_id', 'time', 'distance', 'x', 'y', 'row']].itertuples(index=False, name=None)]
    given = {(row[0], row[1], row[2]) for row in rows if row[3] == row[3]}
    for point in survey.points:
        if (point.video_id, point.time, point.distance) not in given and point.x is not None:
            rows.append((point.video_id, point.time, point.distance, point.x, point.y, point.row))
    rows += [(click.clip, click.second, click.distance_m, click.x, click.y, f'click {click.id}') for click in clicks]
    columns = ['video_id', 'time', 'distance', 'x', 'y', 'row']
    return pd.DataFrame(rows, columns=columns).astype({'distance': float, 'x': float, 'y': float})


def station_lines(survey: LabelSurvey, points: pd.DataFrame, camera: str) -> list[dict]:
    """Returns the lines of equal distance, none without a known point at the camera.

    Each line: metres, left and right: its ends at the edges of the picture as shares of its height. points: of
    station_points.
    """
    clips = tuple(clip.video_id for clip in survey.clips if clip.camera == camera)
    here = points[points['video_id'].isin(clips)].dropna(subset=['x', 'y'])
    if here.empty:
        return []
    (fitted,) = fit_grounds([CameraClips(camera, 0, clips)], here).fitted
    ends = {metres: equal_distance_line(fitted.ground, metres)[:, 1].tolist() for metres in LINES_M}
    return [{'metres': metres, 'left': left, 'right': right} for metres, (left, right) in ends.items()]


def references(
    survey: LabelSurvey, points: pd.DataFrame, labels: Sequence[Joint], camera: str, shown: tuple[str, int]
) -> list[Reference]:
    """Returns the pictures of a camera with a known distance, the nearest first, without the shown second.

    points: of station_points. labels: of joint_answers.
    """
    clips = {clip.video_id for clip in survey.clips if clip.camera == camera}
    found = {}
    for row in points[points['video_id'].isin(clips)].itertuples():
        x, y = (None if value != value else value for value in (row.x, row.y))
        found[row.video_id, row.time, row.distance] = Reference(
            row.video_id, int(row.time), row.distance, x, y, 'known point'
        )
    for label in labels:
        clip, second, animal = label.target
        if label.kind == DISTANCE and clip in clips:
            box = next((box for box in survey.boxes.get((clip, second), ()) if box.animal == animal), None)
            x, y = (box and box.foot()) or (None, None)
            found.setdefault((clip, second, label.distance_m), Reference(clip, second, label.distance_m, x, y, 'label'))
    others = [one for one in found.values() if (one.clip, one.second) != shown]
    others.sort(key=lambda one: (one.distance_m, one.clip, one.second))
    step = max(1, -(-len(others) // MOST_REFERENCES))
    return others[::step]
