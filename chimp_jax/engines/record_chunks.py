"""Chunks of prepared records as pieces of a job. They are the chunks of the local command, so predictions are equal."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from etils import epath

from chimp_jax import answers, predict
from chimp_jax.data import chunks
from chimp_jax.members import Member
from chimp_jax.panel import Panel
from data_prep.records import Record, read_dataset, read_records, to_records


class RecordChunk(NamedTuple):
    """A chunk that lacks predictions, by its place among the records of a split."""

    stream: str
    size_px: int
    first: int  # record
    stop: int
    n_skipped: int  # pieces of a long first record that belong to the chunk before
    n_pieces: int


class Asked(NamedTuple):
    """What is asked about all chunks: the split of a folder of records, its members, and their operations."""

    records: str
    split: str  # test, train or oof
    parts: str  # folder of the saved predictions
    operations: tuple[str, ...]


def find_missing(asked: Asked, members: Sequence[Member]) -> dict[RecordChunk, tuple[str, ...]]:
    """Returns the chunks that lack predictions: {chunk: the files that are missing}.

    Reads all records and decodes no frame.
    """
    saved, missing = _saved_files(asked, members), {}
    for (stream, size_px), asking in _askings(asked, members).items():
        for place, chunk in _placed_chunks(read_records(asked.records, stream, predict.tfds_split(asked.split))):
            paths = [str(question.path) for question in asking.about(chunk)]
            if lacking := tuple(path for path in paths if path not in saved):
                missing[RecordChunk(stream, size_px, *place)] = lacking
    return missing


def find_finished_chunks(asked: Asked, members: Sequence[Member], files: Sequence[Sequence[str]]) -> set[int]:
    """Returns the numbers of those chunks, each with its missing files, whose files are there now."""
    saved = _saved_files(asked, members)
    return {number for number, paths in enumerate(files) if saved.issuperset(paths)}


def _saved_files(asked: Asked, members: Sequence[Member]) -> set[str]:
    parts = epath.Path(asked.parts)
    return {str(path) for member in members for path in answers.folder_of_parts(parts, member).glob('*.csv')}


def answer_chunks(asked: Asked, pending: Sequence[RecordChunk], members: Sequence[Member], panel: Panel) -> None:
    """Saves the missing predictions of some chunks."""
    askings = _askings(asked, members)
    for one in pending:
        dataset = read_dataset(asked.records, one.stream, predict.tfds_split(asked.split), one.first, one.stop)
        pieces = chunks.split_long(to_records(dataset))
        chunk = list(itertools.islice(pieces, one.n_skipped, one.n_skipped + one.n_pieces))
        asking = askings[one.stream, one.size_px]
        answers.answer(chunk, *answers.questions_and_frames(chunk, asking, one.size_px), panel)


def _askings(asked: Asked, members: Sequence[Member]) -> dict[tuple[str, int], answers.Asking]:
    validates = predict.oof_clips(members, asked.records) if asked.split == predict.OOF else None
    return {
        reading: answers.Asking.of(group, asked.operations, validates, asked.parts)
        for reading, group in predict.by_reading(members)
    }


def _placed_chunks(records: Iterator[Record]) -> Iterator[tuple[tuple[int, int, int, int], list[Record]]]:
    """Yields ((first, stop, n_skipped, n_pieces), chunk) for each chunk."""
    places: collections.deque[tuple[int, int]] = collections.deque()  # (record, piece of it) of pieces without a chunk

    def pieces() -> Iterator[Record]:
        for number, record in enumerate(records):
            for place, piece in enumerate(chunks.split_long([record])):
                places.append((number, place))
                yield piece

    for chunk in chunks.in_chunks(pieces()):
        mine = [places.popleft() for _ in chunk]
        (first, n_skipped), (last, _) = mine[0], mine[-1]
        yield (first, last + 1, n_skipped, len(chunk)), chunk
