"""The records for training: this process' shares of the training clips, and its part of the validation clips."""

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
from data_prep.records import Record, read_dataset, split_sizes, to_records

log = logging.getLogger(__name__)


class TrainingData:
    """The labelled clips of one stream. With several processes, each reads its own ranges of the records.

    Raises ValueError if shares, processes and batch do not divide.
    """

    def __init__(self, data: ConfigDict, batch_size: int, seed: int, regions: bool = False):
        """data: config.data. batch_size: windows per update. seed: of order and augmentation; fold k adds k.

        regions: whether the model has a distance for each animal (config.model.regions).
        """
        self.records, self.stream, self.seed = data.records, data.stream, seed
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
        )
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
        part = input_pipeline.index_records(self._read(*self.own_part), self.plan.windows, self.plan.animals)
        distances = [known.tolist() for known in part.distance_m]
        everywhere = processes.gather([part.video_id, part.n_examples.tolist(), distances, part.n_left_out.tolist()])
        video_id, n_examples, distance_m, n_left_out = (sum(lists, []) for lists in zip(*everywhere, strict=True))
        distance_m = [np.array(known, np.float32) for known in distance_m]
        index = input_pipeline.TrainingIndex(video_id, np.array(n_examples), distance_m, np.array(n_left_out))
        if index.n_left_out.any():
            log.warning('%s: %s', self.records, self._describe_left_out(index.n_left_out))
        return index

    @property
    def own_part(self) -> tuple[int, int]:
        """The range (first, stop) of the records that this process reads if each reads an equal part."""
        n_records = split_sizes(self.records, self.stream)['train']
        return input_pipeline.share_records(np.ones(n_records, int), jax.process_count())[jax.process_index()]

    def read(self, first: int, stop: int) -> Iterator[Record]:
        """Yields the records first..stop-1, of all folds."""
        return to_records(self._read(first, stop).prefetch(8))

    def own_ranges(self, fold: Fold) -> dict[int, tuple[int, int]]:
        """Returns {share: range (first, stop) of the records} for the training clips of this process' shares."""
        ranges = input_pipeline.share_records(self.index.counts(fold.training), self.plan.n_shares)
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
        self.index.median_m(fold.training)  # raises if nothing at all is labelled
        counts = self.index.counts(fold.training)
        ranges = input_pipeline.share_records(counts, self.plan.n_shares)
        smallest = min(int(counts[first:stop].sum()) for first, stop in ranges)
        if smallest < self.plan.examples_per_share:
            raise ValueError(
                f'fold {fold.number}: fewer windows than train.batch_size={self.plan.batch_size}; set a smaller one'
            )
        return smallest // self.plan.examples_per_share

    def batches(self, fold: Fold, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process' part of the batches of an epoch, see input_pipeline.training_batches."""
        shares = {share: self._clips_of(fold.training, *part) for share, part in self.own_ranges(fold).items()}
        batches = input_pipeline.training_batches(shares, self.plan, seed=self.seed + fold.number, epoch=epoch)
        return itertools.islice(batches, self.n_steps(fold))  # another process' share may end before ours

    def validation_records(self, fold: Fold) -> Iterator[Record]:
        """Yields this process' part of the validation clips."""
        return to_records(self._clips_of(fold.validation, *self.validation_range(fold)).prefetch(8))

    def _clips_of(self, video_ids: Collection[str], first: int, stop: int) -> tf.data.Dataset:
        return input_pipeline.of_clips(self._read(first, stop), video_ids)

    def _read(self, first: int, stop: int) -> tf.data.Dataset:
        return read_dataset(self.records, self.stream, 'train', first, stop)


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
