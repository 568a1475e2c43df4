"""One person's work at the page: what is asked, what is answered, and the files that are written."""

import dataclasses
import datetime
import logging
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from etils import epath

from chimp_jax.field.label import answers, station_view, tables
from chimp_jax.field.label.agreement import agreement, agreement_lines
from chimp_jax.field.label.answers import ANSWER, DISTANCE, KINDS, POINT, SKIP, UNDO, Answer, Target
from chimp_jax.field.label.candidates import as_answered
from chimp_jax.field.label.choose import LEAST_APART_S, next_targets
from chimp_jax.field.label.journal import Journal
from chimp_jax.field.label.survey import LabelClip, LabelSurvey
from chimp_jax.field.label.written import WrittenFiles
from data_prep.files import failure_line

N_AHEAD = 3  # targets that are chosen, so that their pictures can be decoded
SHARED_EVERY = 5  # each n-th target of a person is one that another person answered, so that they can be compared
FARTHEST_M = 100.0
SHOWS = {'place': 'ground', 'person': 'no', 'animal': 'yes'}  # what stands at a known point -> its word in the table
_EXPECTED_M = 1.0  # of a target that is not answered yet: the choice asks whether a distance is known, not which one
_RECENT = 30  # answers that tell the speed

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class LabelRequest:
    """An answer as the page sends it. Raises ValueError if it is no answer."""

    target: Target
    asked: Target
    kind: str
    distance_m: float | None
    keys: int = 0
    took_s: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f'{self.kind!r} is no kind of answer')
        if (self.kind == DISTANCE) != (self.distance_m is not None):
            raise ValueError('a distance belongs to the answer `distance` and to no other one')
        if self.distance_m is not None:
            check_distance(self.distance_m)


class LabelSession:
    """Answers of one person; the journal and the tables have those of all. Safe for several threads."""

    def __init__(
        self,
        survey: LabelSurvey,
        journal: Journal,
        who: str,
        out,
        known: tables.KnownTable,
        points: pd.DataFrame,
        hint: str = '',
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ):
        """out: path of labels.csv. known: the user's table of known distances. points: of known_points.in_shares.

        hint: a text that the page shows first.
        """
        self.survey, self.who, self.hint = survey, who, hint
        self._journal, self._out, self._now = journal, epath.Path(out), now
        self._known, self._points = tables.without_clicks(known, points, answers.clicked_places(journal.entries))
        self._files = WrittenFiles(journal.path.with_name('tables.json'))
        self._lock = threading.RLock()
        self.problem = ''  # why the tables lack what the journal has, for the page
        self._later: list[Target] = []  # set aside until nothing else is left
        self._upcoming: list[Target] = []
        candidates = survey.candidates
        self._targets = [
            (clip, int(second), animal)
            for clip, second, animal in zip(candidates.clip, candidates.second, candidates.animal, strict=True)
        ]
        self._existing = set(self._targets)
        self._refill()

    # What the page shows

    def upcoming(self) -> list[Target]:
        """Returns the next targets, at most N_AHEAD, none if all are answered."""
        with self._lock:
            return list(self._upcoming)

    def answers(self) -> list[Answer]:
        """Returns the standing answers of all persons."""
        with self._lock:
            return answers.answers_of(self._journal.entries)

    def own_answers(self) -> list[Answer]:
        return [answer for answer in self.answers() if answer.who == self.who]

    def is_near_answer(self, target: Target) -> bool:
        """Returns whether a target without an answer is within LEAST_APART_S of an answered second of its clip.

        Such targets are asked when no others are left.
        """
        clip, second, _ = target
        there = {answer.target for answer in self.answers() if answer.target[0] == clip}
        return target not in there and any(abs(second - other) < LEAST_APART_S for _, other, _ in there)

    def before(self, entry_id: int | None) -> Answer | None:
        """Returns this person's answer before the entry with this number; None: the last one."""
        own = [answer for answer in self.own_answers() if entry_id is None or answer.id < entry_id]
        return max(own, key=lambda answer: answer.id, default=None)

    def help_for(self, clip: LabelClip, second: int) -> dict:
        """Returns the lines of equal distance and the references of the clip's camera."""
        with self._lock:
            clicks = answers.clicks_of(self._journal.entries)
            points = station_view.station_points(self.survey, self._points, clicks)
            own = answers.joint_answers(self.own_answers())
        shown = station_view.references(self.survey, points, own, clip.camera, (clip.video_id, second))
        by_name = self.survey.by_name
        return {
            'lines': station_view.station_lines(self.survey, points, clip.camera),
            'references': [one._asdict() | {'clip': by_name[one.clip].number} for one in shown],
        }

    def progress(self) -> dict:
        """Returns counts, the speed of the last answers, and the agreement with other persons."""
        everyone = self.answers()
        own = [answer for answer in everyone if answer.who == self.who]
        given = [answer for answer in own if answer.kind != SKIP]
        recent = [answer.took_s for answer in given[-_RECENT:] if answer.took_s > 0]
        keys = [answer.keys for answer in given if answer.keys > 0]
        return {
            'distances': sum(answer.kind == DISTANCE for answer in given),
            'answers': len(given),
            'all_distances': sum(one.kind == DISTANCE for one in answers.joint_answers(everyone)),
            'candidates': len(self._targets),
            'per_hour': round(3600 / statistics.median(recent)) if recent else None,
            'keys': round(statistics.fmean(keys), 2) if keys else None,
            'agreement': agreement_lines(agreement(everyone)),
        }

    # What the page changes

    def answer(self, request: LabelRequest) -> int:
        """Saves an answer and returns its number.

        Raises ValueError if its target cannot have one, and OSError if the journal cannot be written. `problem` tells
        if only the tables cannot be written.
        """
        with self._lock:
            self._check(request.target)
            entry = {'do': ANSWER, **_named(request.target), 'asked': list(request.asked), 'kind': request.kind}
            if request.distance_m is not None:
                entry['distance'] = request.distance_m
            saved = self._append(entry | {'keys': request.keys, 'took_s': round(request.took_s, 2)})
            self._later = [target for target in self._later if target not in (request.asked, request.target)]
            # An answer for another second may lie near the chosen ones, so they are chosen anew.
            elsewhere = request.target != request.asked
            self._upcoming = [] if elsewhere else [other for other in self._upcoming if other != request.asked]
            self._refill()
            self._try_tables()
            return saved['id']

    def set_aside(self, target: Target) -> None:
        """Moves on without an answer: the target comes again when nothing else is left."""
        with self._lock:
            if target in self._existing and target not in self._later:
                self._later.append(target)
            self._upcoming = [other for other in self._upcoming if other != target]
            self._refill()

    def undo(self) -> Mapping | None:
        """Undoes this person's last standing entry. Returns the entry, or None."""
        with self._lock:
            own = [entry for entry in answers.standing(self._journal.entries) if entry['who'] == self.who]
            if not own:
                return None
            self._append({'do': UNDO, 'of': own[-1]['id']})
            self._refill()
            self._try_tables()
            return own[-1]

    def add_point(self, clip: LabelClip, second: int, x: float, y: float, distance_m: float, what: str) -> int:
        """Saves a known point and returns its number. Raises ValueError if it is not valid; OSError."""
        check_distance(distance_m)
        if what not in SHOWS:
            raise ValueError(f'{what!r} is no word for what stands at a known point')
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ValueError('the point is outside the picture; click into the picture')
        if not 0 <= second <= clip.last_s:
            raise ValueError(f'the clip has no second {second}')
        entry = {'do': POINT, 'clip': clip.video_id, 'second': second, 'x': round(x, 5), 'y': round(y, 5)}
        with self._lock:
            saved = self._append(entry | {'distance': distance_m, 'shows': SHOWS[what]})
            self._try_tables()
            return saved['id']

    def write_tables(self) -> None:
        """Writes labels.csv, and the other tables if they have rows or exist. Raises OSError."""
        with self._lock:
            joint = answers.joint_answers(self.answers())
            clicks = answers.clicks_of(self._journal.entries)
            self._files.write(self._out, tables.labels_text(joint, self.survey.sites, self.survey.boxes))
            others, known = (beside(self._out, suffix) for suffix in (tables.OTHERS_SUFFIX, tables.KNOWN_SUFFIX))
            if others.exists() or any(one.kind not in (DISTANCE, SKIP) for one in joint):
                self._files.write(others, tables.others_text(joint))
            if clicks or known.exists():
                self._files.write(known, tables.known_text(self._known, clicks))

    def _try_tables(self) -> None:
        """Writes the tables after an entry of the journal. A failure loses nothing: the next entry tries again."""
        try:
            self.write_tables()
            self.problem = ''
        except OSError as error:
            before, self.problem = self.problem, failure_line(error)
            if self.problem != before:
                log.error('error: %s; the answers are saved in %s', self.problem, self._journal.path)

    def _append(self, entry: dict) -> dict:
        return self._journal.append({'who': self.who, 'at': self._now().isoformat(timespec='milliseconds')} | entry)

    def _check(self, target: Target) -> None:
        clip = self.survey.clip_of(target[0])
        if clip is None or not 0 <= target[1] <= clip.last_s:
            raise ValueError(f'there is no second {target[1]} of {target[0]}')
        if self.survey.only_candidates and target not in self._existing:
            raise ValueError(f'second {target[1]} has no estimate; answer for a second that has one')

    def _refill(self) -> None:
        """Chooses targets until N_AHEAD are there."""
        everyone = answers.answers_of(self._journal.entries)
        own = [answer for answer in everyone if answer.who == self.who]
        while len(self._upcoming) < N_AHEAD:
            number = len(own) + len(self._upcoming)
            chosen = self._shared(everyone, own) if number % SHARED_EVERY == SHARED_EVERY - 1 else None
            chosen = chosen or self._best(everyone)
            if chosen is None:
                return
            self._upcoming.append(chosen)

    def _shared(self, everyone: Sequence[Answer], own: Sequence[Answer]) -> Target | None:
        """Returns a target that another person answered and this one did not."""
        taken = {answer.target for answer in own} | {*self._upcoming, *self._later}
        others = (answer.target for answer in everyone if answer.who != self.who and answer.kind != SKIP)
        return next((target for target in others if target not in taken and target in self._existing), None)

    def _best(self, everyone: Sequence[Answer]) -> Target | None:
        """Returns the target to ask for next. Persons share the work: an answered target counts for all of them."""
        rows = [(*one.target, _or_nan(one.distance_m)) for one in answers.joint_answers(everyone)]
        pending = {answer.asked for answer in everyone} - {answer.target for answer in everyone}
        rows += [(*target, float('nan')) for target in (*sorted(pending), *self._later)]
        rows += [(*target, _EXPECTED_M) for target in self._upcoming]
        chosen = next_targets(self.survey.candidates, as_answered(rows), 1)
        if len(chosen):
            return self._targets[chosen[0]]
        return next((target for target in self._later if target not in self._upcoming), None)


def check_distance(distance_m: float) -> None:
    """Raises ValueError if a distance in metres cannot be one."""
    if not 0 < distance_m <= FARTHEST_M:
        raise ValueError(f'{distance_m:g} m is not a distance; give metres, above 0 and up to {FARTHEST_M:g}')


def beside(out, suffix: str) -> epath.Path:
    """Returns the path of another file of the same work: labels.csv -> labels.known.csv."""
    out = epath.Path(out)
    return out.with_name(out.stem + suffix)


def _named(target: Target) -> dict:
    return dict(zip(('clip', 'second', 'animal'), target, strict=True))


def _or_nan(value: float | None) -> float:
    return float('nan') if value is None else value
