"""Prediction: every member over every clip. Each frame is decoded once, and encoded once per member.

The outer loop runs over chunks of clips, the inner one over members. The predictions of a member for a chunk are saved
in a file of their own. If the command is run again after an interruption, it computes only what is missing, and a
member that is added later is scored alone.
"""

import functools
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from chimp_jax.answers import LABEL, NONE, SHARED, Asking, answer, questions_and_frames, read_answers
from chimp_jax.data import chunks
from chimp_jax.data.folds import Fold, folds_digest, load_folds
from chimp_jax.data.operations import OPERATION_SETS
from chimp_jax.data.teacher import with_every_second
from chimp_jax.ensemble.prediction_tables import first_key
from chimp_jax.members import Member
from chimp_jax.models.sound import ALONE
from chimp_jax.panel import Panel
from data_prep.progress import Progress
from data_prep.records import Record, read_records, split_sizes
from data_prep.workers.background import in_background

OOF = 'oof'  # a split: the training clips, out of fold
TEACHER = 'teacher'  # a split: every second of all clips, the training clips out of fold


class Predictions(NamedTuple):
    """The predictions of the members for the targets of a split.

    values: {operation: [rows, members]}, metres, not clamped, indexed by KEY and sorted; the columns are
    named recipe/fold_k; NaN if a member was trained on the clip (OOF). labels: [rows], NaN if unknown. shared: [rows]
    bool, whether a member gives an animal the distance of the whole picture although others are in view.
    calls: {window, such as f7s1: backbone calls for the frames of its members (without sharing of frames, with it)}.
    """

    values: dict[str, pd.DataFrame]
    labels: pd.Series
    shared: pd.Series
    calls: dict[str, tuple[int, int]]

    def members(self, augmented: bool) -> pd.DataFrame:
        """Returns [rows, members]: if augmented the mean over the operations, else those of the unchanged frames."""
        return sum(self.values.values()) / len(self.values) if augmented else self.values[NONE]


def operations(name: str) -> tuple[str, ...]:
    """Returns the operations of a test-time augmentation: 'none', or a published set. Raises ValueError.

    Each begins with NONE, the unchanged frames.
    """
    if name != NONE and name not in OPERATION_SETS:
        raise ValueError(f'no test-time augmentation {name!r}; there are {NONE}, {", ".join(OPERATION_SETS)}')
    return (NONE, *OPERATION_SETS.get(name, ()))


def tfds_split(split: str) -> str:
    """Returns the split of the records that hold the clips of a split."""
    return 'train' if split == OOF else split


def predict_split(
    members: Sequence[Member],
    records,
    split: str,
    parts,
    operations: Sequence[str] = (NONE,),
    most_frames: Callable[[int], int] = chunks.frames_that_fit,
) -> Predictions:
    """Predicts the targets of a split of prepared data. OOF: each target of `train` by the folds that did not see it.

    most_frames: as of predict_records.

    Raises ValueError if the records lack the split, or if OOF is asked of members that were trained on other folds.
    """
    validates = oof_clips(members, records) if split == OOF else None
    split = tfds_split(split)
    n_clips = [split_sizes(records, member.config.data.stream).get(split, 0) for member in members]
    progress = Progress('predict', max(n_clips), work=sum(n_clips) * len(operations))

    def read(stream: str) -> Iterator[Record]:
        return read_records(records, stream, split)

    return predict_records(members, read, parts, Panel(), progress, operations, validates, most_frames)


class _Unseen(NamedTuple):
    """The clips that a member was not trained on: the validation clips of its fold, and all without labels."""

    validation: frozenset[str]
    labelled: frozenset[str]

    def __contains__(self, video_id: str) -> bool:
        return video_id in self.validation or video_id not in self.labelled


def predict_for_student(
    members: Sequence[Member], records, unlabelled, parts, operations: Sequence[str] = (NONE,)
) -> Predictions:
    """Predicts the targets of all splits, and every second between them, by the members not trained on the clip.

    unlabelled: another folder of records, whose split `test` is predicted too; '' for none. If several splits have a
    clip, the first is read. Raises ValueError as predict_split.
    """
    from chimp_jax.data.sources import find_sources  # and with it TensorFlow, whose import takes seconds

    validates = oof_clips(members, records)
    labelled = frozenset().union(*(fold.validation for fold in _folds_of(members[0], records)))
    unseen = {name: _Unseen(clips, labelled) for name, clips in validates.items()}
    streams = sorted({member.config.data.stream for member in members})
    sources = {stream: find_sources(records, unlabelled, stream, with_unlabelled=True) for stream in streams}
    n_clips = [sources[member.config.data.stream].n_records for member in members]
    progress = Progress('predict', max(n_clips), work=sum(n_clips) * len(operations))

    def read(stream: str) -> Iterator[Record]:
        return map(with_every_second, sources[stream].records())

    return predict_records(members, read, parts, Panel(), progress, operations, unseen)


def oof_clips(members: Sequence[Member], records) -> dict[str, frozenset[str]]:
    """Returns {member: its validation clips}. Raises ValueError for members of unknown or other folds."""
    validated = {}
    for member in members:
        if not member.folds_sha256:
            raise ValueError(
                f'{member.folder} does not tell the folds that it was trained with, so it may have seen the clips to '
                "predict; predict other clips, or import its weights with --folds published if they are the original's"
            )
        folds = _folds_of(member, records)
        if member.folds_sha256 != folds_digest(folds):
            raise ValueError(
                f'{member.folder} was trained on other folds than those of {records}/folds.csv, so it may have seen '
                'the clips to predict; give the records that it was trained on'
            )
        validated[member.name] = next(fold for fold in folds if fold.number == member.fold).validation
    return validated


def _folds_of(member: Member, records) -> list[Fold]:
    data = member.config.data
    return load_folds(records, data.folds, data.n_folds)


def predict_records(
    members: Sequence[Member],
    read: Callable[[str], Iterable[Record]],
    parts,
    panel: Panel,
    progress: Progress,
    operations: Sequence[str] = (NONE,),
    validates: Mapping[str, Container[str]] | None = None,
    most_frames: Callable[[int], int] = chunks.frames_that_fit,
) -> Predictions:
    """Predicts all targets of the records of each stream, read(stream), by the members.

    parts: folder of the saved predictions. validates: {member: the clips that it predicts}, all by default; for OOF
    predictions these are the clips that the member did not train on. progress counts clips; its work is a clip for each
    member and operation. most_frames: returns the frames of a chunk by the size of a frame in pixels. Raises ValueError
    if the streams do not hold the same targets.
    """
    tables, calls = [], {}
    groups = by_reading(members)
    for reading, group in groups:
        stream, size_px = reading
        asking = Asking.of(group, operations, validates, parts)
        decode = functools.partial(questions_and_frames, asking=asking, size_px=size_px)
        of_chunks, last = [], None
        n_frames = most_frames(size_px)
        pieces = chunks.in_chunks(chunks.split_long(read(stream), n_frames), n_frames)
        for chunk, (questions, frames) in in_background(decode, pieces, panel.leaves_the_cpu_free):
            n_clips = len({piece.video_id for piece in chunk} - {last})
            last = chunk[-1].video_id
            answer(chunk, questions, frames, panel, functools.partial(progress.advance, 0, work=n_clips))
            unasked = asking.n_questions - len(questions)
            progress.advance(n_clips if reading == groups[-1][0] else 0, work=n_clips * unasked)
            of_chunks.append(read_answers(chunk, questions))
            for question in questions:
                if question.member.config.model.audio == ALONE:
                    continue
                direct, shared = calls.get(question.window, (0, 0))
                calls[question.window] = direct + question.plan.window.size, shared + question.plan.frame.size
        tables.append(pd.concat(of_chunks))
    return _join(tables, calls)


def _join(tables: Sequence[pd.DataFrame], calls: dict[str, tuple[int, int]]) -> Predictions:
    """Joins the tables of the streams. Raises ValueError if a table lacks a target of another one, or has one twice."""
    for table in tables:
        if table.index.has_duplicates:
            raise ValueError(
                f'the records hold {first_key(table.index[table.index.duplicated()])} twice; prepare them again'
            )
        for other in tables:
            absent = other.index.difference(table.index)
            if len(absent):
                raise ValueError(
                    f'{first_key(absent)} is in one stream and missing in the other; prepare the records again'
                )
    joined = pd.concat([table.drop(columns=[LABEL, SHARED]) for table in tables], axis=1).sort_index()
    names = sorted({operation for operation, _ in joined.columns})
    values = {name: joined[name].sort_index(axis=1) for name in names}
    shared = pd.concat([table[SHARED] for table in tables], axis=1).any(axis=1)
    return Predictions(values, tables[0][LABEL].reindex(joined.index), shared.reindex(joined.index), calls)


def by_reading(members: Sequence[Member]) -> list[tuple[tuple[str, int], list[Member]]]:
    """Returns ((stream, size_px), members) of the members that share decoded frames."""

    def reading(member: Member) -> tuple[str, int]:
        return member.config.data.stream, member.config.data.size_px

    return [(shared, list(group)) for shared, group in itertools.groupby(sorted(members, key=reading), reading)]
