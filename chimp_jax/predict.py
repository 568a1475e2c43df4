"""Prediction: every member over every clip, each frame decoded once and encoded once a member.

Outer loop over chunks of clips, inner over members. What a member says of a chunk is kept in a file of its own as it
comes: the same command after an interruption computes only what is missing, and a member that is added later is scored
alone.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.data import augment, chunks, input_pipeline
from chimp_jax.data.folds import folds_digest, load_folds
from chimp_jax.ensemble.prediction_tables import KEY, first_key
from chimp_jax.members import Member
from chimp_jax.progress import Progress
from chimp_jax.scoring import Panel, target_rows
from data_prep.files import write_whole
from data_prep.records import Record, read_records, split_sizes
from data_prep.workers.background import in_background

LABEL = ('label', '')  # the column of the known distances, beside those of the members
OOF = 'oof'  # a split: the training clips, out of fold
NONE = 'none'  # the frames as they are: the first operation of every test-time augmentation


class Predictions(NamedTuple):
    """What the members say of the targets of a split.

    values: {operation: [rows, members]}, metres, not clamped, indexed by (video_id, time) and sorted; the columns are
    named recipe/fold_k; NaN where a member saw the clip in training (OOF). labels: [rows], NaN where unknown.
    calls: {window, such as f7s1: backbone calls of all its members (without sharing of frames, with it)}.
    """

    values: dict[str, pd.DataFrame]
    labels: pd.Series
    calls: dict[str, tuple[int, int]]

    def members(self, augmented: bool) -> pd.DataFrame:
        """[rows, members]: of the frames as they are, or the mean over the operations."""
        return sum(self.values.values()) / len(self.values) if augmented else self.values[NONE]


def operations(name: str) -> tuple[str, ...]:
    """Of a test-time augmentation: 'none', or a published set and the frames as they are. Raises ValueError."""
    if name != NONE and name not in augment.OPERATION_SETS:
        raise ValueError(f'no test-time augmentation {name!r}; there are {NONE}, {", ".join(augment.OPERATION_SETS)}')
    return (NONE, *augment.OPERATION_SETS.get(name, ()))


def predict_split(
    members: Sequence[Member], records, split: str, parts, operations: Sequence[str] = (NONE,)
) -> Predictions:
    """The targets of a split of prepared data; of OOF: those of `train`, each by the members that did not train on it.

    Raises ValueError where the records lack the split, or OOF is asked of members that were trained on other folds.
    """
    validates = oof_clips(members, records) if split == OOF else None
    split = 'train' if split == OOF else split
    n_clips = sum(split_sizes(records, member.config.data.stream).get(split, 0) for member in members)
    progress = Progress('predict', n_clips * len(operations))

    def read(stream: str) -> Iterator[Record]:
        return read_records(records, stream, split)

    return predict_records(members, read, parts, Panel(), progress, operations, validates)


def oof_clips(members: Sequence[Member], records) -> dict[str, frozenset[str]]:
    """{member: the clips that it was validated on}. Raises ValueError for members of other folds than the records'."""
    validated = {}
    for member in members:
        data = member.config.data
        folds = load_folds(records, data.folds, data.n_folds)
        if member.folds_sha256 != folds_digest(folds):
            raise ValueError(
                f'{member.folder} was trained on other folds than those of {records}/folds.csv: it may have seen the '
                'clips that it is to be asked about'
            )
        validated[member.name] = next(fold for fold in folds if fold.number == member.fold).validation
    return validated


def predict_records(
    members: Sequence[Member],
    read: Callable[[str], Iterable[Record]],
    parts,
    panel: Panel,
    progress: Progress,
    operations: Sequence[str] = (NONE,),
    validates: Mapping[str, frozenset[str]] | None = None,
) -> Predictions:
    """What members say of all targets of the records of each stream, read(stream).

    parts: folder of the results that are kept. validates: {member: the clips that it is asked about}, all by default;
    a member is asked for OOF predictions about the clips that it did not train on. progress counts the clips of each
    member and operation. Raises ValueError where the streams do not hold the same targets.
    """
    tables, calls = [], {}
    for (stream, size_px), group in itertools.groupby(sorted(members, key=_reading), _reading):
        group = list(group)
        fingerprints = [member.fingerprint() for member in group]
        ask = _Asking(group, fingerprints, operations, validates, epath.Path(parts))
        decode = functools.partial(_questions_and_frames, ask=ask, size_px=size_px)
        groups = chunks.in_chunks(chunks.split_long(read(stream)))
        of_chunks, last = [], None
        for chunk, (questions, frames) in in_background(decode, groups, panel.leaves_the_cpu_free):
            n_clips = len({piece.video_id for piece in chunk} - {last})
            last = chunk[-1].video_id
            _answer(chunk, questions, frames, panel, progress, n_clips)
            if len(questions) < ask.n_questions:
                progress.advance(n_clips * (ask.n_questions - len(questions)))
            of_chunks.append(_read_answers(chunk, questions))
            for question in questions:
                direct, shared = calls.get(question.window, (0, 0))
                calls[question.window] = direct + question.plan.window.size, shared + question.plan.frame.size
        tables.append(pd.concat(of_chunks))
    return _join(tables, calls)


class Question(NamedTuple):
    """What a member is to say about some clips of a chunk; the answer is a file."""

    member: Member
    operation: str
    asked: list[bool]  # of the chunk's pieces
    plan: chunks.WindowPlan
    path: epath.Path

    @property
    def window(self) -> str:
        data = self.member.config.data
        return f'f{data.n_frames}s{data.step_s}'


class _Asking(NamedTuple):
    members: list[Member]
    fingerprints: list[str]  # of the members
    operations: Sequence[str]
    validates: Mapping[str, frozenset[str]] | None
    parts: epath.Path

    @property
    def n_questions(self) -> int:
        return len(self.operations) * len(self.members)

    def about(self, chunk: list[Record]) -> list[Question]:
        """By operation, then member; none where a member is not asked about any clip."""
        digests = [chunks.record_digest(piece) for piece in chunk]
        questions = []
        marked = list(zip(self.members, self.fingerprints, strict=True))
        for operation, (member, fingerprint) in itertools.product(self.operations, marked):
            mine = None if self.validates is None else self.validates[member.name]
            asked = [mine is None or piece.video_id in mine for piece in chunk]
            if any(asked):
                data = member.config.data
                plan = chunks.plan_windows(chunk, asked, data.n_frames, data.step_s)
                # Named by all that it depends on, so that it is never taken for another's.
                depends_on = (fingerprint + operation).encode() + b''.join(itertools.compress(digests, asked))
                name = f'{hashlib.sha256(depends_on).hexdigest()[:20]}.csv'
                path = self.parts / member.recipe / f'fold_{member.fold}' / name
                questions.append(Question(member, operation, asked, plan, path))
        return questions


def _questions_and_frames(chunk: list[Record], ask: _Asking, size_px: int) -> tuple[list[Question], np.ndarray | None]:
    """What is asked about a chunk, and its frames where an answer is missing."""
    questions = ask.about(chunk)
    complete = all(question.path.exists() for question in questions)
    return questions, None if complete else input_pipeline.decode_records(chunk, size_px)


def _answer(
    chunk: list[Record],
    questions: list[Question],
    frames: np.ndarray | None,
    panel: Panel,
    progress: Progress,
    n_clips: int,
) -> None:
    """Writes the answers that are missing."""
    for operation, group in itertools.groupby(questions, lambda question: question.operation):
        pictures = None
        for question in group:
            member, path = question.member, question.path
            if not path.exists():
                if pictures is None:
                    pictures = _augmented(frames, operation)
                rows = target_rows(list(itertools.compress(chunk, question.asked)))
                rows['distance'] = panel.score(member, pictures, question.plan)
                write_whole(path, rows.to_csv(index=False))
            progress.advance(n_clips, member.name)


def _augmented(frames: np.ndarray, operation: str) -> np.ndarray:
    """All frames of a chunk, a few at once: blurring takes floats of them."""
    if operation == NONE:
        return frames
    return np.concatenate(
        [augment.apply_operation(frames[i : i + 16], operation).numpy() for i in range(0, len(frames), 16)]
    )


def _read_answers(chunk: list[Record], questions: list[Question]) -> pd.DataFrame:
    """(operation, member) -> metres, and the labels as the column LABEL; indexed by (video_id, time)."""
    answers = {}
    for question in questions:
        with question.path.open() as file:
            answers[question.operation, question.member.name] = pd.read_csv(file).set_index(KEY)['distance']
    labels = target_rows(chunk).set_index(KEY)['distance']
    return pd.concat({LABEL: labels} | answers, axis=1)


def _join(tables: Sequence[pd.DataFrame], calls: dict[str, tuple[int, int]]) -> Predictions:
    """Raises ValueError where a table lacks a target that another has, or has one twice."""
    for table in tables:
        if table.index.has_duplicates:
            raise ValueError(
                f'the records hold {first_key(table.index[table.index.duplicated()])} twice; prepare them again'
            )
        for other in tables:
            absent = other.index.difference(table.index)
            if len(absent):
                raise ValueError(
                    f'{first_key(absent)} stands in one stream and not in the other; prepare the records again'
                )
    joined = pd.concat([table.drop(columns=LABEL) for table in tables], axis=1).sort_index()
    names = sorted({operation for operation, _ in joined.columns})
    values = {name: joined[name].sort_index(axis=1) for name in names}
    return Predictions(values, tables[0][LABEL].reindex(joined.index), calls)


def _reading(member: Member) -> tuple[str, int]:
    return member.config.data.stream, member.config.data.size_px
