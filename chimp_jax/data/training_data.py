"""The records for training: this process' shares of the training clips, and its part of the validation clips.

A student (config.data.teacher) also learns clips without labels, which belong to no fold.
"""

import functools
import itertools
import logging
from collections.abc import Collection, Iterator

import jax
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from chimp_jax.data import input_pipeline, processes
from chimp_jax.data.batch_plan import NO_ANIMALS, AnimalCut, Augmentation, BatchPlan, WindowCut
from chimp_jax.data.folds import Fold
from chimp_jax.data.sources import find_sources, repeated
from chimp_jax.data.teacher import Teacher, read_teacher
from data_prep.records import Record, to_records

log = logging.getLogger(__name__)


class TrainingData:
    """The clips of one stream. With several processes, each reads its own ranges of the records.

    Raises ValueError if shares, processes and batch do not divide.
    """

    def __init__(
        self,
        data: ConfigDict,
        batch_size: int,
        seed: int,
        regions: bool = False,
        with_frames: bool = True,
        with_sound: bool = False,
    ):
        """data: config.data. batch_size: windows per update. seed: of order and augmentation; fold k adds k.

        regions: whether the model has a distance for each animal (config.model.regions). with_frames, with_sound:
        whether the model sees frames and hears sound (config.model.audio).
        """
        self.records, self.stream, self.seed = data.records, data.stream, seed
        self.by_site = data.folds == 'site'
        teacher = read_teacher(data.teacher, data.teacher_share) if data.teacher else None
        if data.unlabelled and not teacher:
            raise ValueError(
                f'data.unlabelled={data.unlabelled}: its clips have no distances yet; set --config.data.teacher too'
            )
        self.plan = BatchPlan(
            windows=WindowCut(
                n_frames=data.n_frames,
                step_s=data.step_s,
                windows_per_example=data.windows_per_example,
                frames_per_example=data.frames_per_example or data.n_frames,
            ),
            augmentation=Augmentation(data.augmentation, data.augmentation_probability),
            size_px=data.size_px,
            batch_size=batch_size,
            n_shares=data.shares,
            shuffle_windows=data.shuffle_windows,
            animals=_animal_cut(data.most_animals, data.composite_probability, regions),
            with_frames=with_frames,
            with_sound=with_sound,
            teacher=teacher,
        )
        self.sources = find_sources(data.records, data.unlabelled, data.stream, with_unlabelled=teacher is not None)
        if with_sound:
            self.sources.require_sound('model.audio')
        self._training_clips: dict[int, frozenset[str]] = {}
        process, n_processes = jax.process_index(), jax.process_count()
        if data.shares % n_processes:
            raise ValueError(
                f'data.shares={data.shares} cannot be divided among {n_processes} processes; '
                f'set --config.data.shares={n_processes}'
            )
        self.own_shares = range(data.shares)[process * data.shares // n_processes :][: data.shares // n_processes]
        self.own_examples = self.plan.examples_per_share * len(self.own_shares)  # of each batch

    @functools.cached_property
    def index(self) -> input_pipeline.TrainingIndex:
        """The index of all records. Each process reads its own part of them."""
        plan = self.plan
        part = input_pipeline.index_records(self.sources.read(*self.own_part), plan.windows, plan.animals, plan.teacher)
        index = input_pipeline.TrainingIndex.of_lists(processes.gather(part.to_lists()))
        is_repeated = np.array(repeated(index.video_id))
        index = index.without(is_repeated)
        if index.n_left_out.any():
            log.warning('%s: %s', self.records, self._describe_left_out(index.n_left_out))
        if plan.teacher:
            plan.teacher.check_labelled(set(index.video_id[: self.sources.n_labelled]))
            log.info('%s', describe_lesson(plan.teacher, index, self.sources.n_labelled, int(is_repeated.sum())))
        return index

    @property
    def own_part(self) -> tuple[int, int]:
        """The range (first, stop) of the records that this process reads if each reads an equal part."""
        each = np.ones(self.sources.n_records, int)
        return input_pipeline.share_records(each, jax.process_count())[jax.process_index()]

    def read(self, first: int, stop: int) -> Iterator[Record]:
        """Yields the records first..stop-1, of all folds, without those that nothing is learned from."""
        index, n_labelled = self.index, self.sources.n_labelled
        taught = (name for name, n_taught in zip(index.video_id, index.n_taught, strict=True) if n_taught)
        return to_records(self._clips_of({*index.video_id[:n_labelled], *taught}, first, stop).prefetch(8))

    def own_ranges(self, fold: Fold) -> dict[int, tuple[int, int]]:
        """Returns {share: range (first, stop) of the records} for the training clips of this process' shares."""
        ranges = input_pipeline.share_records(self.index.counts(self.training_clips(fold)), self.plan.n_shares)
        return {share: ranges[share] for share in self.own_shares}

    def validation_range(self, fold: Fold) -> tuple[int, int]:
        """Returns the range (first, stop) of the records with this process' validation clips."""
        ranges = input_pipeline.share_records(self.index.counts(fold.validation), jax.process_count())
        return ranges[jax.process_index()]

    def _describe_left_out(self, n_left_out: np.ndarray) -> str:
        several = f'{n_left_out.sum()} labels in {np.sum(n_left_out > 0)} clips are left out of training'
        if not self.plan.animals.most:
            return (
                f'{several}: their seconds have several labelled animals, and this model gives one distance a second; '
                'set --config.model.regions=True for a distance for each animal'
            )
        return (
            f'{several}: their seconds have several labelled animals, and theirs has no box or no place among '
            f'data.most_animals={self.plan.animals.most}; add boxes to the labels, or set a larger number'
        )

    def n_steps(self, fold: Fold) -> int:
        """Returns the updates of an epoch: full batches of the smallest share. Raises ValueError if there is none."""
        clips = self.training_clips(fold)
        self.index.median_m(clips)  # raises if nothing at all is labelled
        counts = self.index.counts(clips)
        ranges = input_pipeline.share_records(counts, self.plan.n_shares)
        smallest = min(int(counts[first:stop].sum()) for first, stop in ranges)
        if smallest < self.plan.examples_per_share:
            raise ValueError(
                f'fold {fold.number}: fewer windows than train.batch_size={self.plan.batch_size}; set a smaller one'
            )
        return smallest // self.plan.examples_per_share

    def training_clips(self, fold: Fold) -> frozenset[str]:
        """Returns the clips that a member of the fold trains on: the fold's, and the clips without labels.

        With folds by site, no clip without labels comes from a site of the validation clips: the teacher knows the
        labels of the site.
        """
        if fold.number not in self._training_clips:
            index, n_labelled = self.index, self.sources.n_labelled
            rows = zip(index.video_id, index.site, index.n_taught, strict=True)
            others = {name: site for name, site, n_taught in itertools.islice(rows, n_labelled, None) if n_taught}
            held_out = {
                site for name, site in zip(index.video_id, index.site, strict=True) if site and name in fold.validation
            }
            allowed = {name for name, site in others.items() if not (self.by_site and site in held_out)}
            if others:
                n_unknown = sum(not others[name] for name in allowed) if self.by_site else 0
                log.info('fold %d: %s', fold.number, _describe_others(len(others), len(allowed), n_unknown))
            self._training_clips[fold.number] = fold.training | (allowed - fold.validation)
        return self._training_clips[fold.number]

    def batches(self, fold: Fold, epoch: int, first: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process' part of the batches of an epoch from number `first` on.

        See input_pipeline.training_batches.
        """
        clips = self.training_clips(fold)
        shares = {share: self._clips_of(clips, *part) for share, part in self.own_ranges(fold).items()}
        seed = self.seed + fold.number
        batches = input_pipeline.training_batches(shares, self.plan, seed=seed, epoch=epoch, first=first)
        return itertools.islice(batches, self.n_steps(fold) - first)  # another process' share may end before ours

    def validation_records(self, fold: Fold) -> Iterator[Record]:
        """Yields this process' part of the validation clips."""
        return to_records(self._clips_of(fold.validation, *self.validation_range(fold)).prefetch(8))

    def _clips_of(self, video_ids: Collection[str], first: int, stop: int) -> tf.data.Dataset:
        return self.sources.read(first, stop, self.sources.chosen(self.index.video_id, video_ids))


def describe_lesson(teacher: Teacher, index: input_pipeline.TrainingIndex, n_labelled: int, n_repeated: int) -> str:
    """Returns a line about the teacher's rows and the records. Raises ValueError if no row fits a record.

    n_labelled: the first records of the index. n_repeated: records of clips that an earlier record has.
    """
    is_taught = index.n_taught > 0
    if not is_taught.any():
        raise ValueError(
            f'{teacher.name}: no row fits a second of the records; write the table for these records with '
            'chimp-distance score --split teacher'
        )
    n_clips, n_rows = int(is_taught.sum()), int(index.n_taught.sum())
    parts = [
        f'{n_rows} rows teach {n_clips} clips, {int(is_taught[:n_labelled].sum())} of them labelled',
        f'{teacher.n_rows - n_rows} rows fit no second of the records',
        f'{len(is_taught) - n_clips - n_repeated} clips of the records have no row',
    ]
    if teacher.n_without_distance:
        parts.append(f'{teacher.n_without_distance} rows have no distance')
    if n_repeated:
        parts.append(f'{n_repeated} clips are in two folders of records and are read from the first')
    return f'{teacher.name}: {"; ".join(parts)}'


def _describe_others(n_others: int, n_allowed: int, n_unknown: int) -> str:
    text = f'{n_allowed} of {n_others} clips without labels are learned'
    if n_allowed < n_others:
        text += '; the others come from sites of the validation clips'
    if n_unknown:
        text += (
            f'; the site of {n_unknown} is unknown: if they come from sites of the validation clips, the validation '
            'error is too low for new sites'
        )
    return text


def _animal_cut(most: int, composite_probability: float, regions: bool) -> AnimalCut:
    """Returns how examples hold animals. Raises ValueError if the fields do not fit each other."""
    if not 0 <= composite_probability <= 1:
        raise ValueError(f'data.composite_probability={composite_probability} is no probability; set 0 to 1')
    if not regions:
        if composite_probability:
            raise ValueError(
                f'data.composite_probability={composite_probability} makes examples with two animals, which a model '
                'without regions cannot learn; set --config.model.regions=True, or leave the flag out'
            )
        return NO_ANIMALS
    least = 2 if composite_probability else 1
    if most < least:
        raise ValueError(
            f'data.most_animals={most} is too small: model.regions=True requires 1 place for an animal, and '
            f'data.composite_probability above 0 requires 2; set --config.data.most_animals={least} or more'
        )
    return AnimalCut(most, composite_probability)
