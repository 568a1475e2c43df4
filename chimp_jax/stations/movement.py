"""Finds the clips before which the camera of a station moved, from the clips' backgrounds.

The clips between two moves are an epoch. Only a second clip with the same shift confirms a move, so that one clip with
a wrong shift does not start an epoch. If a move is not certain, the clip is doubtful.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from chimp_jax.stations.picture_shift import COMPARABLE, WIDTH_PX, Look, Shift

MOVED_PX = 8.0  # a camera whose picture shifted by this much has moved
COUNTS_FROM_PX = MOVED_PX - 1  # a measured shift counts as a move; the measurement errs by less than 1 px
MOST_FRAMES = 20  # of a clip; more do not make the background better
_MOST_REFERENCES = 6  # of an epoch: by day, by night, in different light
_ALIKE = 40.0  # with this confidence the reference serves, and the clip adds no new look
_LOOK_BACK = 6  # clips that are compared again when a later clip is located


class Moves(NamedTuple):
    """The epoch of each clip of a station.

    epochs: [n], 0, 0, 0, 1, 1, ... starts: for each epoch the reason why it begins, '' for the first. doubtful: clip
    number -> the reason why its epoch is not certain. The number counts the given backgrounds from 0. shifted: the
    doubtful clips whose picture is shifted by 8 px or more; the others cannot be compared.
    """

    epochs: list[int]
    starts: list[str]
    doubtful: dict[int, str]
    shifted: frozenset[int] = frozenset()


def background(frames: np.ndarray) -> np.ndarray:
    """Returns the background of a clip: the median over its frames, uint8 grey [h, 640].

    frames: uint8 [n, H, W, 3], RGB, or [n, H, W], grey. At most 20 of them are used, evenly spaced, with both ends.
    Raises ValueError if there is no frame.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or not frames.size:
        raise ValueError(f'give uint8 frames [n, height, width] or [n, height, width, 3], not {frames.shape}')
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round().astype(int)
    size_px = (WIDTH_PX, max(1, round(WIDTH_PX * frames.shape[1] / frames.shape[2])))
    greys = [Image.fromarray(frames[i]).convert('L').resize(size_px, Image.Resampling.BICUBIC) for i in chosen]
    return np.median(np.stack(greys), axis=0).round().astype(np.uint8)


def find_moves(backgrounds: Sequence[np.ndarray | None], infrared: Sequence[bool] | None = None) -> Moves:
    """Returns the epoch of each clip of a station.

    backgrounds: in order of time, uint8 grey [h, 640] of `background`, or None if there is no picture. infrared:
    whether a clip was taken in infrared light. A new epoch begins

    - if two clips are shifted by 8 px or more against the epoch, by the same vector, and no clip between them fits;
    - if no later clip can be compared with the epoch, but two of them fit each other. If `infrared` is given, one of
      the two must be in a light that the epoch has too: the nights of a station known by day do not make an epoch.

    Doubtful are: a clip without a picture or with a picture of another shape than most, a clip whose shift no second
    clip confirms, a clip that cannot be compared with its epoch, and the first clip of an epoch that cannot be compared
    with the one before. Such a clip has the epoch of the clips before it.
    """
    n = len(backgrounds)
    infrared = [False] * n if infrared is None else [bool(value) for value in infrared]
    if len(infrared) != n:
        raise ValueError(f'give infrared for each of {n} backgrounds, not for {len(infrared)}')
    usable, doubtful = _usable(backgrounds)
    look = functools.lru_cache(maxsize=4 * _MOST_REFERENCES)(lambda i: Look(backgrounds[i]))
    epochs, starts, shifted = [0] * n, [''], set()
    start = usable[0] if usable else None
    while start is not None:
        track = _Track(look, start)
        later = [i for i in usable if i > start]
        new, reason = _confirmed_move(track, later), ''
        if new is not None:
            reason = f'the picture shifted by {track.size_px(new):.0f} px'
        elif (new := _other_scene(track, later, infrared)) is not None and len(track.places) > 1:
            reason = 'the picture cannot be compared with those before; the camera was moved far, or replaced'
            doubtful[new] = reason
        for i in [start, *later]:
            if new is None or i < new:
                doubt = track.doubt(i, alone=new is not None and not reason)
                doubtful |= doubt
                shifted |= {j for j in doubt if j in track.places and not track.fits(j)}
        if reason:
            epochs[new:] = [len(starts)] * (n - new)
            starts.append(reason)
        start = new
    return Moves(epochs, starts, dict(sorted(doubtful.items())), frozenset(shifted))


def fitting_epoch(backgrounds: Sequence[np.ndarray | None], moves: Moves, i: int) -> int | None:
    """Returns the epoch whose clips show what a doubtful clip shows, or None. The latest clips of an epoch count.

    backgrounds, moves: what find_moves was given and returned. i: the clip's number.
    """
    mine = backgrounds[i]
    if mine is None:
        return None
    look = Look(mine)
    for number in range(len(moves.starts)):
        others = [
            j
            for j, epoch in enumerate(moves.epochs)
            if epoch == number and j not in moves.doubtful and backgrounds[j] is not None
        ]
        for j in others[-_LOOK_BACK:]:
            if backgrounds[j].shape == mine.shape:
                shift = look.shift_from(Look(backgrounds[j]))
                if shift.confidence >= COMPARABLE and shift.size_px < COUNTS_FROM_PX:
                    return number
    return None


class _Track:
    """The places of clips in the pictures of an epoch, which begins with the clip `start`.

    places: clip -> shift against the first clip in pixels: right, down, roll. A clip that cannot be compared has none.
    """

    def __init__(self, look: Callable[[int], Look], start: int):
        self.look, self.start = look, start
        self.places = {start: (0.0, 0.0, 0.0)}
        self.references = [start]

    def locate(self, i: int, references: Sequence[int] | None = None) -> bool:
        """Finds the place of a clip by the references, by default those of the epoch. Returns whether it has one."""
        best, by = None, self.start
        for reference in reversed(self.references) if references is None else references:
            shift = self.look(i).shift_from(self.look(reference))
            if best is None or shift.confidence > best.confidence:
                best, by = shift, reference
            if best.confidence >= _ALIKE:
                break
        if best is None or best.confidence < COMPARABLE:
            return False
        x, y, roll = self.places[by]
        self.places[i] = (x + best.dx_px, y + best.dy_px, roll + best.roll_px)
        if self.fits(i) and best.confidence < _ALIKE and len(self.references) < _MOST_REFERENCES:
            self.references.append(i)  # another light, in which later clips may be
        return True

    def size_px(self, i: int) -> float:
        return Shift(*self.places[i], COMPARABLE).size_px

    def fits(self, i: int) -> bool:
        return i in self.places and self.size_px(i) < COUNTS_FROM_PX

    def agree(self, i: int, j: int) -> bool:
        """Returns whether two located clips have the same place."""
        between = np.subtract(self.places[i], self.places[j])
        return Shift(*between.tolist(), COMPARABLE).size_px < COUNTS_FROM_PX

    def doubt(self, i: int, alone: bool) -> dict[int, str]:
        """Returns {i: reason} if it is not certain that a clip belongs to the epoch. alone: no clip fits the first."""
        if i not in self.places or alone:
            reason = 'it may be dark, or an animal fills it'
            return {i: f'the picture cannot be compared with the other clips of the station; {reason}'}
        if self.fits(i):
            return {}
        return {i: f'the picture is shifted by {self.size_px(i):.0f} px, and no second clip confirms a move'}


def _usable(backgrounds: Sequence[np.ndarray | None]) -> tuple[list[int], dict[int, str]]:
    """Returns the clips that have a picture of the most frequent shape, and the reasons why others are doubtful."""
    shapes = Counter(picture.shape for picture in backgrounds if picture is not None)
    usual = shapes.most_common(1)[0][0] if shapes else None
    usable, doubtful = [], {}
    for i, picture in enumerate(backgrounds):
        if picture is None:
            doubtful[i] = 'there is no picture to compare'
        elif picture.shape != usual:
            sizes = ' and '.join(f'{shape[1]} x {shape[0]}' for shape in (picture.shape, usual))
            doubtful[i] = f'the picture has another shape than most of the station ({sizes}); is it of a second camera?'
        else:
            usable.append(i)
    return usable, doubtful


def _confirmed_move(track: _Track, later: Sequence[int]) -> int | None:
    """Locates the later clips up to a confirmed move. Returns the first clip after the move, or None."""
    unplaced, last_fit = [], track.start
    for i in later:
        if not track.locate(i):
            unplaced.append(i)
            continue
        found = [u for u in unplaced[-_LOOK_BACK:] if track.locate(u, [i])]
        unplaced = [u for u in unplaced if u not in found]
        moved: list[int] = []
        for j in sorted(j for j in track.places if last_fit < j <= i):
            if track.fits(j):
                moved, last_fit = [], j
            elif alike := [k for k in moved if track.agree(k, j)]:
                return alike[0]
            else:
                moved.append(j)
    return None


def _other_scene(track: _Track, later: Sequence[int], infrared: Sequence[bool]) -> int | None:
    """Returns the first of the last clips that cannot be compared with the epoch but fit each other, or None."""
    fitting = [i for i in track.places if track.fits(i)]
    lights = {infrared[i] for i in fitting} if len(track.places) > 1 else {False, True}
    rest = [i for i in later if i > max(fitting) and i not in track.places]
    for place, i in enumerate(rest):
        for j in rest[place + 1 : place + 1 + _LOOK_BACK]:
            shift = track.look(j).shift_from(track.look(i))
            alike = shift.confidence >= COMPARABLE and shift.size_px < COUNTS_FROM_PX
            if alike and lights & {infrared[i], infrared[j]}:
                return i
    return None
