"""The section Stations of the page: lines of equal distance and known points over a frame of each station."""

import base64
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chimp_jax.field.calibration.station_file import CameraEpoch, CameraStation, MeasuredPoint, StationsFile
from chimp_jax.field.page.choice import Second
from chimp_jax.field.page.labels import LETTER_WIDTH, TEXT_HEIGHT, areas_around, first_free, label_area, size_px
from chimp_jax.stations.ground_plane import equal_distance_line

LINES_M = (2, 4, 6, 8, 10, 15)
MOST_STATIONS, MOST_EPOCHS = 30, 4  # with a picture; MOST_EPOCHS of each station
PICTURE_PX = 640  # width of the JPEG
WIDTH = 400  # of the drawing, in its own units; about the pixels of a figure on the page
_MOST_ROWS = 1000  # of the table of known points


class Figure(NamedTuple):
    """An epoch of a station with a picture, and its number of all epochs of the station."""

    station: CameraStation
    number: int
    epoch: CameraEpoch


def drawn_figures(content: StationsFile | None) -> list[Figure]:
    """Returns the epochs with a picture: of the first stations, those with notes and points that do not fit first."""
    stations = content.stations if content else ()
    chosen = sorted(stations, key=lambda station: not _doubtful(station))[:MOST_STATIONS]
    return [
        Figure(station, number, epoch)
        for station in chosen
        for number, epoch in enumerate(station.epochs[:MOST_EPOCHS], start=1)
    ]


def station_section(content: StationsFile | None, frames: Mapping[Second, bytes | str]) -> dict | None:
    """Returns the values of page.html for the section, None without stations.json.

    frames: (video_id, second) -> JPEG, or the reason why it is missing.
    """
    if content is None:
        return None
    figures = drawn_figures(content)
    rows = [
        _row(station, number, point)
        for station in content.stations
        for number, epoch in enumerate(station.epochs, start=1)
        for point in epoch.known
    ]
    n_epochs = sum(len(station.epochs) for station in content.stations)
    drawn = {figure.station.station for figure in figures}
    return {
        'prior': content.prior,
        'theta_deg': content.theta_deg,
        'n_stations': len(content.stations),
        'n_not_drawn': sum(station.station not in drawn for station in content.stations),
        'n_epochs_not_drawn': n_epochs - len(figures),
        'figures': [_figure(figure, frames.get((figure.epoch.picture, figure.epoch.second), '')) for figure in figures],
        'rows': rows[:_MOST_ROWS],
        'n_rows': len(rows),
        'n_off': sum(row['point'].off for row in rows),
    }


def lines_over(epoch: CameraEpoch, height: float) -> tuple[list[dict], list[int]]:
    """Returns the lines of equal distance over a drawing of WIDTH x height, and the metres of lines outside of it.

    A line has its ends, from the left to the right edge, and the place of its label.
    """
    lines, outside = [], []
    for number, metres in enumerate(LINES_M):
        (_, left), (_, right) = (equal_distance_line(epoch, metres) * height).tolist()
        # Far lines lie close together, so each label has its own column.
        columns = [0.06 + 0.11 * number, *(k / 20 for k in range(1, 20))]
        inside = [x for x in columns if TEXT_HEIGHT / 2 < left + (right - left) * x < height - TEXT_HEIGHT / 2]
        if inside:
            label = {'x': WIDTH * inside[0], 'y': left + (right - left) * inside[0]}
            lines.append({'metres': metres, 'left': left, 'right': right, 'label': label})
        else:
            outside.append(metres)
    return lines, outside


def points_over(known: Sequence[MeasuredPoint], height: float, lines: Sequence[dict] = ()) -> list[dict]:
    """Returns the known points that have a place, for a drawing of WIDTH x height, with labels that do not overlap.

    lines: of lines_over, whose labels stay free. A point outside of the picture is drawn hollow, at the edge. A point
    whose label has no room has the text ''.
    """
    placed = [point for point in known if point.x is not None and point.y is not None]
    points, taken = [], [label_area(line['label']['x'], line['label']['y'], LETTER_WIDTH * 4) for line in lines]
    for point in placed:
        x, y = (min(max(share, 0.0), 1.0) * size for share, size in ((point.x, WIDTH), (point.y, height)))
        inside = 0 <= point.x <= 1 and 0 <= point.y <= 1
        points.append({'x': x, 'y': y, 'outside': not inside, 'off': point.off, 'point': point})
        taken.append((x - 5, y - 5, x + 5, y + 5))
    for drawn in points:
        text = _label(drawn['point'])
        areas = areas_around(drawn['x'], drawn['y'], LETTER_WIDTH * len(text))
        free = first_free(areas, taken, WIDTH, height)
        if free:
            taken.append(free)
        drawn['text'] = text if free else ''
        drawn['text_x'], drawn['text_y'] = ((free[0] + free[2]) / 2, (free[1] + free[3]) / 2) if free else (0, 0)
    return points


def _doubtful(station: CameraStation) -> bool:
    epochs = station.epochs
    return bool(station.notes) or any(epoch.notes or any(point.off for point in epoch.known) for epoch in epochs)


def _figure(figure: Figure, frame: bytes | str) -> dict:
    station, number, epoch = figure
    width_px, height_px = size_px(frame) if isinstance(frame, bytes) else (16, 9)
    height = WIDTH * height_px / width_px
    lines, outside = lines_over(epoch, height)
    points = points_over(epoch.known, height, lines)
    return {
        'station': station.station,
        'number': number,
        'n_epochs': len(station.epochs),
        'epoch': epoch,
        # The notes of the station stand at its first picture.
        'notes': [*(station.notes if number == 1 else ()), *epoch.notes],
        'width': WIDTH,
        'height': height,
        'lines': lines,
        'outside': outside,
        'points': points,
        'n_without_place': len(epoch.known) - len(points),
        'n_without_label': sum(not point['text'] for point in points),
        'image': base64.b64encode(frame).decode() if isinstance(frame, bytes) else '',
        'reason': frame if isinstance(frame, str) else '',
    }


def _row(station: CameraStation, number: int, point: MeasuredPoint) -> dict:
    error_m = None if point.estimate is None else point.estimate - point.distance
    return {
        'station': station.station,
        'number': number if len(station.epochs) > 1 else None,
        'point': point,
        'error_m': error_m,
    }


def _label(point: MeasuredPoint) -> str:
    estimate = '?' if point.estimate is None else f'{point.estimate:.1f}'
    return f'{point.distance:.1f} → {estimate}'
