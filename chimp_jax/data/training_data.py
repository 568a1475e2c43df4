"""The records as a member sees them: this process' shares of the training clips, its part of the validation clips."""

import functools
import itertools
from collections.abc import Collection, Iterator

import jax
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from chimp_jax.data import input_pipeline, processes
from chimp_jax.data.folds import Fold
from data_prep.records import read_dataset, split_sizes


class TrainingData:
    """The labelled clips of one recipe's stream. With several processes each reads its own ranges of the records.

    Raises ValueError where shares, processes and batch do not divide.
    """

    def __init__(self, config: ConfigDict):
        self.config = config
        data, process, n_processes = config.data, jax.process_index(), jax.process_count()
        if data.shares % n_processes:
            raise ValueError(
                f'data.shares={data.shares} cannot be divided among {n_processes} processes; '
                f'set --config.data.shares={n_processes}'
            )
        self.own_shares = range(data.shares)[process * data.shares // n_processes :][: data.shares // n_processes]
        of_share = input_pipeline.examples_of_share(config.train.batch_size, data.windows_per_example, data.shares)
        self.own_examples = of_share * len(self.own_shares)  # of each batch
        self.plan = {
            'n_frames': data.n_frames,
            'step_s': data.step_s,
            'windows_per_example': data.windows_per_example,
            'frames_per_example': data.frames_per_example or data.n_frames,
        }

    @functools.cached_property
    def survey(self) -> input_pipeline.TrainingIndex:
        """Of all records; each process reads its own part."""
        data = self.config.data
        n_records = split_sizes(data.records, data.stream)['train']
        mine = input_pipeline.share_records(np.ones(n_records, int), jax.process_count())[jax.process_index()]
        part = input_pipeline.index_records(self._read(*mine), **self.plan)
        distances = [known.tolist() for known in part.distance_m]
        everywhere = processes.gather([part.video_id, part.n_examples.tolist(), distances])
        video_id, n_examples, distance_m = (sum(lists, []) for lists in zip(*everywhere, strict=True))
        return input_pipeline.TrainingIndex(
            video_id, np.array(n_examples, np.int64), [np.array(known, np.float32) for known in distance_m]
        )

    def n_steps(self, fold: Fold) -> int:
        """Updates of an epoch: full batches of the smallest share. Raises ValueError where there is none."""
        data, batch_size = self.config.data, self.config.train.batch_size
        self.survey.median_m(fold.training)  # names the reason where nothing is labelled at all
        counts = self.survey.counts(fold.training)
        of_share = input_pipeline.examples_of_share(batch_size, data.windows_per_example, data.shares)
        ranges = input_pipeline.share_records(counts, data.shares)
        n_steps = min(int(counts[first:stop].sum()) for first, stop in ranges) // of_share
        if n_steps == 0:
            raise ValueError(f'fold {fold.number}: fewer windows than train.batch_size={batch_size}')
        return n_steps

    def batches(self, fold: Fold, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        """One epoch of this process' part of the batches; see input_pipeline.training_batches."""
        data = self.config.data
        ranges = input_pipeline.share_records(self.survey.counts(fold.training), data.shares)
        batches = input_pipeline.training_batches(
            {share: self._clips_of(fold.training, *ranges[share]) for share in self.own_shares},
            n_shares=data.shares,
            **self.plan,
            size_px=data.size_px,
            augmentation=data.augmentation,
            augmentation_probability=data.augmentation_probability,
            batch_size=self.config.train.batch_size,
            seed=self.config.seed + fold.number,
            epoch=epoch,
            shuffle_windows=data.shuffle_windows,
        )
        return itertools.islice(batches, self.n_steps(fold))  # another process' share may be used up before ours

    def validation_clips(self, fold: Fold) -> Iterator[input_pipeline.Clip]:
        """This process' part of the clips that the member is judged by."""
        ranges = input_pipeline.share_records(self.survey.counts(fold.validation), jax.process_count())
        mine = self._clips_of(fold.validation, *ranges[jax.process_index()])
        return input_pipeline.clips(mine, self.config.data.size_px)

    def _clips_of(self, video_ids: Collection[str], first: int, stop: int) -> tf.data.Dataset:
        return input_pipeline.of_clips(self._read(first, stop), video_ids)

    def _read(self, first: int, stop: int) -> tf.data.Dataset:
        return read_dataset(self.config.data.records, self.config.data.stream, 'train', first, stop)
