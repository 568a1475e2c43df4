"""The ground of the stations in words, for the screen."""

from chimp_jax.field.flags import GROUND_FLAGS

_MOST_NAMED = 20  # stations or rows that the screen names; summary.json has all


def ground_lines(summary: dict) -> list[str]:
    """Returns lines about the known distances and the ground of the stations. summary: the content of summary.json."""
    lines = _shortened(summary.get('known_problems', []), 'rows of known distances are left out; see summary.json')
    if 'ground' not in summary:
        return lines
    ground = summary['ground']
    measured = [station for station in ground['stations'] if station['known']]
    lines += _shortened([_station_line(station) for station in measured], 'stations; see summary.json')
    lines += _shortened([_combined_line(check) for check in summary.get('combined', [])], 'stations; see summary.json')
    noted = [f'warning: {name_of(station)}: {note}.' for station in ground['stations'] for note in station['notes']]
    lines += _shortened(noted, 'warnings about stations; see summary.json')
    cameras = [f'warning: {note}' if note.endswith('?') else f'warning: {note}.' for note in ground['cameras']]
    lines += _shortened(cameras, 'notes on cameras; see summary.json')
    flags = summary['flags']
    if n := flags.get('no_known_point', 0):
        lines.append(
            f'warning: {n} rows are from stations without a known point. They assume a camera like those of '
            f'{ground["prior"]["source"]}; measure three or more points at each station and give them with --calibrate.'
        )
    if n := flags.get('camera_moved', 0):
        lines.append(
            f'warning: {n} rows are from clips after or before a move of the camera, without a known point. '
            'Measure points for these clips too.'
        )
    return lines


def ground_is_doubtful(summary: dict) -> bool:
    """Returns whether a station's ground, a move of a camera or a missing calibration makes distances doubtful."""
    ground = summary.get('ground', {'stations': [], 'cameras': []})
    flagged = any(summary.get('flags', {}).get(name) for name in GROUND_FLAGS)
    return flagged or bool(ground['cameras']) or any(station['notes'] for station in ground['stations'])


def name_of(station: dict) -> str:
    """Returns the name of a station; after a move of its camera with the number of the move."""
    return station['station'] if not station['epoch'] else f'{station["station"]} (move {station["epoch"]})'


def _station_line(station: dict) -> str:
    points = '1 known point' if station['known'] == 1 else f'{station["known"]} known points'
    error = ''
    if station['mae_m'] is not None and station['known'] > 1:
        error = f'; each predicted from the others is wrong by {station["mae_m"]:.2f} m on average'
    return f'{name_of(station)}: the ground is calibrated by {points}{error}.'


def _combined_line(check: dict) -> str:
    errors = ''
    if check['mae_combined_m'] is not None:
        errors = (
            f' on {check["n"]} known distances the mean error is {check["mae_members_m"]:.2f} m without and '
            f'{check["mae_combined_m"]:.2f} m with the ground;'
        )
    how = 'are combined with those from the ground' if check['applied'] else f'stay alone: {check["reason"]}'
    return f'{name_of(check)}:{errors} the distances of the models {how}.'


def _shortened(lines: list[str], what: str) -> list[str]:
    more = len(lines) - _MOST_NAMED
    return lines[:_MOST_NAMED] + ([f'{more} more {what}'] if more > 0 else [])
