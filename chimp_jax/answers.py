"""Questions to members about chunks of records, and the files with their answers.

An answer is the predictions of one member for some clips. Its file is named by everything that the answer depends on.
"""

import hashlib
import itertools
from collections.abc import Callable, Container, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.data import chunks
from chimp_jax.data.frames import decode_records
from chimp_jax.data.operations import box_after
from chimp_jax.ensemble.prediction_tables import KEY, SECOND, with_animal, without_empty_animal
from chimp_jax.members import Member
from chimp_jax.models.sound import ALONE
from chimp_jax.panel import Panel
from chimp_jax.scoring import target_rows
from data_prep.files import write_whole
from data_prep.inputs.tables import numbers_of, read_table, seconds_of
from data_prep.records import Record

LABEL = ('label', '')  # the column of the known distances, beside the columns of the members
SHARED = ('shared', '')  # the column that tells whether the distance of a row may be of another animal
NONE = 'none'  # the frames without a change: the first operation of every test-time augmentation


class Question(NamedTuple):
    """One member, some clips of a chunk and an operation. The answer, its predictions, is a file."""

    member: Member
    operation: str
    asked: list[bool]  # of the chunk's pieces
    plan: chunks.WindowPlan
    path: epath.Path
    n_rows: int  # of the answer

    @property
    def window(self) -> str:
        data = self.member.config.data
        return f'f{data.n_frames}s{data.step_s}'


class Asking(NamedTuple):
    """The questions about chunks: members that share decoded frames, operations, and where the answers are."""

    members: list[Member]
    fingerprints: list[str]  # of the members
    operations: Sequence[str]
    validates: Mapping[str, Container[str]] | None
    parts: epath.Path

    @classmethod
    def of(
        cls,
        members: list[Member],
        operations: Sequence[str],
        validates: Mapping[str, Container[str]] | None,
        parts,
    ) -> 'Asking':
        """Returns the questions by the arguments of predict_records."""
        return cls(members, [member.fingerprint() for member in members], operations, validates, epath.Path(parts))

    @property
    def n_questions(self) -> int:
        return len(self.operations) * len(self.members)

    def about(self, chunk: list[Record]) -> list[Question]:
        """Returns the questions by operation, then member; no question if a member predicts no clip of the chunk."""
        digests = [chunks.record_digest(piece) for piece in chunk]
        questions = []
        marked = list(zip(self.members, self.fingerprints, strict=True))
        for operation, (member, fingerprint) in itertools.product(self.operations, marked):
            mine = None if self.validates is None else self.validates[member.name]
            asked = [mine is None or piece.video_id in mine for piece in chunk]
            if any(asked):
                data = member.config.data
                most_animals = data.most_animals if member.config.model.regions else 0
                plan = chunks.plan_windows(chunk, asked, data.n_frames, data.step_s, most_animals, member.hears)
                # The name is a hash of everything the answer depends on, so no other answer can have it.
                depends_on = (fingerprint + operation).encode() + b''.join(itertools.compress(digests, asked))
                name = f'{hashlib.sha256(depends_on).hexdigest()[:20]}.csv'
                path = folder_of_parts(self.parts, member) / name
                n_rows = sum(len(piece.target_time_s) for piece in itertools.compress(chunk, asked))
                questions.append(Question(member, operation, asked, plan, path, n_rows))
        return questions


def folder_of_parts(parts: epath.Path, member: Member) -> epath.Path:
    """Returns the folder of a member's saved predictions."""
    return parts / member.recipe / f'fold_{member.fold}'


def questions_and_frames(chunk: list[Record], asking: Asking, size_px: int) -> tuple[list[Question], np.ndarray | None]:
    """Returns the questions about a chunk, and its frames if an answer is missing that depends on frames."""
    questions = asking.about(chunk)
    complete = all(_is_answered(one) or one.member.config.model.audio == ALONE for one in questions)
    return questions, None if complete else _frames(chunk, size_px)


def _frames(chunk: list[Record], size_px: int) -> np.ndarray:
    """Returns the frames of a chunk. Raises ValueError, with the clip, if a stored frame cannot be decoded."""
    try:
        return decode_records(chunk, size_px)
    except Exception:  # a damaged JPEG raises almost anything
        for record in chunk:
            try:
                decode_records([record], size_px)
            except Exception:
                raise ValueError(
                    f'{record.video_id}: a frame in the records is damaged; prepare the data again with '
                    'python -m data_prep.build and another --out'
                ) from None
        raise


def _is_answered(question: Question) -> bool:
    """Returns whether the answer's file has a line for each row. A file that lost its end is made again."""
    try:
        n_lines = question.path.read_bytes().count(b'\n')
    except FileNotFoundError:
        return False
    return n_lines > question.n_rows


def answer(
    chunk: list[Record],
    questions: list[Question],
    frames: np.ndarray | None,
    panel: Panel,
    done: Callable[..., None] = lambda note: None,
) -> None:
    """Writes the answers that are missing. Calls done(note=member) after each question."""
    for operation, group in itertools.groupby(questions, lambda question: question.operation):
        pictures = None
        for question in group:
            member, path = question.member, question.path
            if not _is_answered(question):
                if pictures is None:
                    pictures = _augmented(frames, operation)
                rows = target_rows(list(itertools.compress(chunk, question.asked)))
                rows['distance'] = panel.score(member, pictures, _augmented_plan(question.plan, operation))
                write_whole(path, without_empty_animal(rows).to_csv(index=False))
            done(note=member.name)


def _augmented(frames: np.ndarray | None, operation: str) -> np.ndarray | None:
    """Returns all frames of a chunk after the operation. A few at once, because blurring makes floats of them."""
    if operation == NONE or frames is None:
        return frames
    from chimp_jax.data import augment  # and with it TensorFlow, whose import takes seconds

    return np.concatenate(
        [augment.apply_operation(frames[i : i + 16], operation).numpy() for i in range(0, len(frames), 16)]
    )


def _augmented_plan(plan: chunks.WindowPlan, operation: str) -> chunks.WindowPlan:
    """Returns the plan with the boxes where the operation moves them."""
    if operation == NONE or plan.boxes is None:
        return plan
    return plan._replace(boxes=box_after(operation, plan.boxes))


def read_answers(chunk: list[Record], questions: list[Question]) -> pd.DataFrame:
    """Returns (operation, member) -> metres, and the columns LABEL and SHARED; indexed by KEY."""
    targets = target_rows(chunk).set_index(KEY)
    answers, shared = {}, pd.Series(False, targets.index)
    for question in questions:
        table = read_table(question.path, [*SECOND, 'distance'])
        keyed = with_animal(table).assign(
            time=seconds_of(table, question.path), distance=numbers_of(table, 'distance', question.path)
        )
        answers[question.operation, question.member.name] = keyed.set_index(KEY)['distance']
        asked = target_rows(list(itertools.compress(chunk, question.asked)))
        one_for_all = asked.duplicated(SECOND, keep=False).to_numpy()
        if question.plan.without_slot is not None:
            one_for_all = question.plan.without_slot
        shared |= pd.Series(one_for_all, pd.MultiIndex.from_frame(asked[KEY])).reindex(shared.index, fill_value=False)
    return pd.concat({LABEL: targets['distance'], SHARED: shared} | answers, axis=1)
