"""The content of stations.json: the ground of each station, its known points and notes. Its reader and its writer.

The names of the fields are the names in the file. A missing number is None here and null there.
"""

import dataclasses
import json
import math
import types
import typing

from etils import epath

from data_prep.files import write_json

_REMEDY = 'run the same chimp-distance estimate command again to write it'


@dataclasses.dataclass(frozen=True)
class MeasuredPoint:
    """A point of known distance. x, y: its foot as shares of the picture from the left and the top; y may exceed 1."""

    video_id: str
    time: int  # s
    distance: float  # measured, metres
    x: float | None  # None, as y, if the point has no place in the picture
    y: float | None
    estimate: float | None  # leave-one-out, metres; None if the other points give no distance
    residual_sd: float | None  # of y, in standard deviations
    off: bool  # the point does not fit the others
    row: str  # 'file:line' of the table of known distances


@dataclasses.dataclass(frozen=True)
class CameraEpoch:
    """The clips of a station between two moves of its camera. y = mean[1] + mean[2] (x - 0.5) + mean[0] / distance."""

    clips: tuple[str, ...]
    picture: str  # the video_id of the clip of the picture
    second: int  # of the picture
    mean: tuple[float, float, float]  # b1 (metres), b2, b3
    covariance: tuple[tuple[float, ...], ...]  # [3, 3] of b1, b2, b3
    noise: float  # sd of y, a share of the picture's height
    n: int  # known points that the fit uses
    known: tuple[MeasuredPoint, ...]
    mae_m: float | None  # leave-one-out
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CameraStation:
    station: str
    epochs: tuple[CameraEpoch, ...]
    notes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class PriorOrigin:
    """Where the prior over stations comes from, and from how many of the user's stations; 0: the bundled prior."""

    source: str
    n_stations: int


@dataclasses.dataclass(frozen=True)
class StationsFile:
    prior: PriorOrigin
    theta_deg: float | None  # the horizontal field of view
    stations: tuple[CameraStation, ...]


def write_stations(path, content: StationsFile) -> None:
    """Writes stations.json, whole or not at all. NaN and infinity become null.

    NumPy's numbers and arrays may stand for numbers and tuples. Raises ValueError if a value has another type than its
    field, or a number that must not be missing is missing.
    """
    plain = _plain(dataclasses.asdict(content))
    _typed(StationsFile, plain, str(path), 'correct the value')
    write_json(path, plain)


def read_stations(path) -> StationsFile:
    """Reads stations.json. Raises ValueError, in one line, if the file is damaged; OSError if it cannot be read."""
    try:
        content = json.loads(epath.Path(path).read_bytes(), parse_constant=lambda _: None)
    except ValueError as error:
        raise ValueError(f'{path} is not JSON ({error}); {_REMEDY}') from None
    return _typed(StationsFile, content, str(path), _REMEDY)


def _plain(value):
    """Returns what JSON can hold: lists for arrays and tuples, Python's numbers for NumPy's, None for NaN."""
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _typed(kind, value, place: str, remedy: str):
    """Returns a JSON value as an instance of a field's type. Raises ValueError with its place in the file."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ValueError(f'{place}: {_short(value)} must hold names and values; {remedy}')
        kinds = typing.get_type_hints(kind)
        missing = [name for name in kinds if name not in value]
        if missing:
            raise ValueError(f'{place}: {", ".join(missing)} is missing; {remedy}')
        return kind(**{name: _typed(part, value[name], f'{place}: {name}', remedy) for name, part in kinds.items()})
    if isinstance(kind, types.UnionType):  # X | None
        return None if value is None else _typed(typing.get_args(kind)[0], value, place, remedy)
    if typing.get_origin(kind) is tuple:
        return _tuple(typing.get_args(kind), value, place, remedy)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number and math.isfinite(value):
        return float(value)
    if kind is not float and isinstance(value, kind) and (kind is not int or number):
        return value
    name = {float: 'a number', int: 'a whole number', str: 'a text', bool: 'true or false'}[kind]
    raise ValueError(f'{place}: {_short(value)} must be {name}; {remedy}')


def _tuple(kinds: tuple, value, place: str, remedy: str) -> tuple:
    if not isinstance(value, list):
        raise ValueError(f'{place}: {_short(value)} must be a list; {remedy}')
    if kinds[-1] is ...:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise ValueError(f'{place}: has {len(value)} values and must have {len(kinds)}; {remedy}')
    return tuple(
        _typed(kind, part, f'{place} {i + 1}', remedy) for i, (kind, part) in enumerate(zip(kinds, value, strict=True))
    )


def _short(value) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f'{text[:37]}...'
