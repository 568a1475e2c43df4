"""The answers in a journal: what each person says of each second now, and what all of them say together."""

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

DISTANCE, NO_ANIMAL, CANNOT_TELL, SKIP = 'distance', 'no animal', 'cannot tell', 'skip'
KINDS = (DISTANCE, NO_ANIMAL, CANNOT_TELL, SKIP)
ANSWER, UNDO, POINT = 'answer', 'undo', 'point'  # what an entry of the journal does
_FIELDS = {  # of an entry, by what it does
    ANSWER: {'clip': str, 'second': int, 'animal': str, 'asked': list, 'kind': str},
    UNDO: {'of': int},
    POINT: {'clip': str, 'second': int, 'x': float, 'y': float, 'distance': float, 'shows': str},
}
CONTRADICTION = 'contradiction'  # one person gives a distance, another one sees no animal

Target = tuple[str, int, str]  # clip, second, animal ('' if unknown)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one person says of one target."""

    id: int  # of the entry
    who: str
    target: Target
    asked: Target  # for which the page asked; the person may have answered for another second
    kind: str  # of KINDS
    distance_m: float | None
    keys: int  # pressed for the answer, 0 if unknown
    took_s: float  # from the picture to the answer, 0 if unknown


class GroundClick(NamedTuple):
    """A known point that a person clicked. x, y: shares of the picture from left and top."""

    id: int
    who: str
    clip: str
    second: int
    x: float
    y: float
    distance_m: float
    shows: str  # the word in the column `animal` of a table of known distances


class Joint(NamedTuple):
    """What all persons say of a target: the mean of their distances, or one of the other kinds."""

    target: Target
    kind: str  # of KINDS, or CONTRADICTION
    distance_m: float | None
    who: tuple[str, ...]  # the persons with this answer, sorted


def is_entry(entry) -> bool:
    """Whether a line of a journal is an entry that this module can read."""
    if not isinstance(entry, dict) or not isinstance(entry.get('who'), str) or str(entry.get('do')) not in _FIELDS:
        return False
    fields = _FIELDS[entry['do']]
    if entry['do'] == ANSWER and entry.get('kind') == DISTANCE:
        fields = fields | {'distance': float}
    kinds = {name: (int, float) if kind is float else kind for name, kind in fields.items()}
    return all(isinstance(entry.get(name), kind) for name, kind in kinds.items()) and (
        entry['do'] != ANSWER or entry['kind'] in KINDS
    )


def standing(entries: Iterable[Mapping]) -> list[Mapping]:
    """Returns the entries that no later one undid, without the undoing ones."""
    entries = list(entries)
    undone = {entry['of'] for entry in entries if entry['do'] == UNDO}
    return [entry for entry in entries if entry['do'] != UNDO and entry['id'] not in undone]


def answers_of(entries: Iterable[Mapping]) -> list[Answer]:
    """Returns the last standing answer of each person to each target, in the order of the entries."""
    last: dict[tuple[str, Target], Answer] = {}
    for entry in standing(entries):
        if entry['do'] != ANSWER:
            continue
        target = (entry['clip'], entry['second'], entry['animal'])
        last.pop((entry['who'], target), None)
        last[entry['who'], target] = Answer(
            entry['id'],
            entry['who'],
            target,
            (*entry['asked'],),
            entry['kind'],
            entry.get('distance'),
            entry.get('keys', 0),
            entry.get('took_s', 0.0),
        )
    return list(last.values())


def clicks_of(entries: Iterable[Mapping]) -> list[GroundClick]:
    """Returns the standing known points."""
    names = ('id', 'who', 'clip', 'second', 'x', 'y', 'distance', 'shows')
    return [GroundClick(*(entry[name] for name in names)) for entry in standing(entries) if entry['do'] == POINT]


def clicked_places(entries: Iterable[Mapping]) -> set[tuple]:
    """Returns (clip, second, metres, x, y) of all known points that were ever clicked, also of those undone later."""
    names = ('clip', 'second', 'distance', 'x', 'y')
    return {tuple(entry[name] for name in names) for entry in entries if entry['do'] == POINT}


def joint_answers(answers: Iterable[Answer]) -> list[Joint]:
    """Returns what all persons say of each target, sorted by target. A skipped target counts only if all skip it.

    Distances take precedence over `cannot tell`. If some give a distance and others see no animal, it is a
    CONTRADICTION.
    """
    by_target: dict[Target, list[Answer]] = defaultdict(list)
    for answer in answers:
        by_target[answer.target].append(answer)
    return [_joint(target, given) for target, given in sorted(by_target.items())]


def _joint(target: Target, given: Sequence[Answer]) -> Joint:
    who = {kind: tuple(sorted(answer.who for answer in given if answer.kind == kind)) for kind in KINDS}
    if who[DISTANCE] and who[NO_ANIMAL]:
        return Joint(target, CONTRADICTION, None, tuple(sorted(who[DISTANCE] + who[NO_ANIMAL])))
    if who[DISTANCE]:
        mean_m = statistics.fmean(answer.distance_m for answer in given if answer.kind == DISTANCE)
        return Joint(target, DISTANCE, mean_m, who[DISTANCE])
    kind = next(kind for kind in KINDS if who[kind])
    return Joint(target, kind, None, who[kind])
