"""Where training finds its records: the labelled clips, and for a student also clips without labels."""

import functools
import logging
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
from etils import epath

from chimp_jax.data import input_pipeline
from data_prep.enhance.spec import OFF
from data_prep.files import read_json
from data_prep.records import Record, have_sound, read_dataset, split_sizes, to_records
from data_prep.sound.heard import silent_text, sound_states
from data_prep.sound.track import is_silent

LABELLED, UNLABELLED = 'train', 'test'  # splits


log = logging.getLogger(__name__)


class Source(NamedTuple):
    """A split of records. first, stop: the positions of its records among those of all sources."""

    folder: str
    split: str
    first: int
    stop: int
    with_sound: bool = False  # the records have the field `sound`


class Sources(NamedTuple):
    """The records of several splits, one after the other. The first split has the labelled clips."""

    stream: str
    sources: tuple[Source, ...]

    @property
    def n_records(self) -> int:
        return self.sources[-1].stop

    @property
    def n_labelled(self) -> int:
        return self.sources[0].stop

    @property
    def with_sound(self) -> bool:
        return all(source.with_sound for source in self.sources)

    def require_sound(self, asker: str) -> None:
        """Raises ValueError if records lack the field `sound`, or if no labelled clip has sound. asker: what needs it.

        Warns of clips without sound.
        """
        for source in self.sources:
            if not source.with_sound:
                raise ValueError(
                    f'{asker} requires records with sound, and {source.folder} was prepared without; prepare it again '
                    'with python -m data_prep.build --audio and another --out'
                )
            states = sound_states(source.folder, source.split)
            if source.split == LABELLED and states and all(map(is_silent, states)):
                raise ValueError(
                    f'{asker} requires sound, and no labelled clip of {source.folder} has any; leave the field out'
                )
            if text := silent_text(states):
                log.warning('%s: %s', source.folder, text)

    def read(self, first: int, stop: int, clips: Sequence[Collection[str]] | None = None) -> tf.data.Dataset:
        """Returns the records first..stop-1, without the distances of clips that are to be without labels.

        clips: the video_ids to read of each source; None: all records.
        """
        parts = []
        for number, source in enumerate(self.sources):
            begin, end = (min(max(place, source.first), source.stop) - source.first for place in (first, stop))
            part = read_dataset(source.folder, self.stream, source.split, begin, end)
            if source.with_sound and not self.with_sound:
                part = part.map(_without_sound)
            if clips is not None:
                part = input_pipeline.of_clips(part, clips[number]) if clips[number] else part.take(0)
            parts.append(part if source.split == LABELLED else part.map(_without_labels))
        return functools.reduce(lambda a, b: a.concatenate(b), parts)

    def records(self) -> Iterator[Record]:
        """Yields the records of all sources; of a clip that several sources hold, the first one."""
        seen: set[str] = set()
        for record in to_records(self.read(0, self.n_records)):
            if record.video_id not in seen:
                seen.add(record.video_id)
                yield record

    def chosen(self, video_id: Sequence[str], wanted: Collection[str]) -> list[set[str]]:
        """Returns the wanted clips of each source. A clip that several sources hold belongs to the first of them.

        video_id: of all records.
        """
        found, seen = [], set()
        for source in self.sources:
            here = set(video_id[source.first : source.stop]) - seen
            found.append(here & set(wanted))
            seen |= here
        return found


def find_sources(records, unlabelled, stream: str, with_unlabelled: bool) -> Sources:
    """Returns the split `train` of the records, and with_unlabelled also the splits `test` that there are.

    unlabelled: another folder of data_prep.build, '' for none. Raises ValueError if a folder lacks the stream, or the
    second folder a split `test`, or if their frames were made differently.
    """
    folders = [(records, LABELLED)]
    if with_unlabelled and UNLABELLED in split_sizes(records, stream):
        folders.append((records, UNLABELLED))
    if with_unlabelled and unlabelled:
        _check_alike(records, unlabelled, stream)
        if UNLABELLED not in split_sizes(unlabelled, stream):
            raise ValueError(
                f'{unlabelled} has no clips without labels (split {UNLABELLED}); prepare them with python -m '
                'data_prep.build and no table of labels'
            )
        folders.append((unlabelled, UNLABELLED))
    sources: list[Source] = []
    for folder, split in folders:
        first = sources[-1].stop if sources else 0
        sources.append(
            Source(str(folder), split, first, first + split_sizes(folder, stream)[split], have_sound(folder, stream))
        )
    return Sources(stream, tuple(sources))


def _check_alike(records, unlabelled, stream: str) -> None:
    """Raises ValueError if the `full` frames of the two folders were enhanced, corrected or cut differently."""
    made, other = (
        (read_json(epath.Path(folder) / 'dataset.json') or {}).get('options') for folder in (records, unlabelled)
    )
    if stream != 'full' or made is None or other is None:
        return
    for option, usual in (('enhance', OFF), ('gamma', 'auto'), ('sampling', 'timestamp')):
        here, there = made.get(option, usual), other.get(option, usual)
        if here != there:
            raise ValueError(
                f'{records} was prepared with --{option}={here}, and {unlabelled} with --{option}={there}; prepare '
                'both alike'
            )


def _without_sound(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: value for name, value in record.items() if name != 'sound'}


def _without_labels(record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    distance_m = record['target_distance_m']
    return record | {'target_distance_m': tf.fill(tf.shape(distance_m), tf.constant(float('nan'), distance_m.dtype))}


def repeated(video_id: Sequence[str]) -> list[bool]:
    """Returns for each record whether an earlier one has the same clip."""
    seen: set[str] = set()
    return [name in seen or bool(seen.add(name)) for name in video_id]
