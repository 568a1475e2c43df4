"""Records -> training batches by tf.data, and records -> frames for evaluation.

Windows are cut when the records are read. The shuffle buffer holds JPEGs, not pixels.
"""

import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from chimp_jax.data import augment
from chimp_jax.data.batch_plan import BatchPlan, WindowCut
from data_prep import windows
from data_prep.records import Record

GLOBAL_SEED = 87654321  # TensorFlow's own, if nobody sets one


def decode_frame(jpeg: tf.Tensor, size_px: int) -> tf.Tensor:
    """JPEG -> [size, size, 3] uint8, as published: exact DCT, bilinear without antialiasing, floor.

    Other resizers (PIL, jax.image.resize) smooth while they shrink. The published frames are not smoothed.
    """
    picture = tf.io.decode_jpeg(jpeg, channels=3, dct_method='INTEGER_ACCURATE')
    resized = tf.image.resize(picture, (size_px, size_px), method='bilinear', antialias=False)
    return tf.cast(resized, tf.uint8)


def decode_records(records: Sequence[Record], size_px: int) -> np.ndarray:
    """All frames of some records, one record after the other -> [N, size, size, 3] uint8. Uses all CPU cores."""
    jpegs = [jpeg for record in records for jpeg in record.frame_jpeg]
    frames = np.empty((len(jpegs), size_px, size_px, 3), np.uint8)

    def decode(place: int) -> None:
        frames[place] = decode_frame(jpegs[place], size_px).numpy()

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(decode, range(len(jpegs))))
    return frames


def of_clips(records: tf.data.Dataset, video_ids: Collection[str]) -> tf.data.Dataset:
    """Returns the records of these clips only."""
    keys = tf.constant(sorted(video_ids))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.ones_like(keys, tf.int32)), 0)
    return records.filter(lambda record: table.lookup(record['video_id']) > 0)


def training_batches(
    shares: Mapping[int, tf.data.Dataset], plan: BatchPlan, seed: int, epoch: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the shuffled, augmented batches of one epoch. Examples that do not fill a batch are left out.

    A batch has frames [B, S, size, size, 3] float32 0..255, window [B, K, T] int32 (positions among the S frames),
    distance [B, K] float32 in metres, mask [B, K] (0 if a place is unused or its distance unknown), and the keys
    video_id [B], time [B, K] (-1 if unused). plan.batch_size counts windows: B * K.
    shares: records by the number of their share, some or all of plan.n_shares. Each gives its part of every batch, in
    the order of the numbers: the batches of several processes with some shares each, put together, are the batches of
    one process with all shares. The epoch ends when the first share is used up.
    Order and augmentation depend on seed, epoch and share alone, so a resumed run sees the same batches as an
    uninterrupted one.
    """
    cut = plan.windows
    draw = seed * 1_000_003 + epoch
    tf.random.set_seed(GLOBAL_SEED)  # tf.data mixes the global seed into the order

    def share(number, records):
        buffer = max(plan.shuffle_windows // cut.windows_per_example // plan.n_shares, 1)
        examples = records.flat_map(lambda record: _cut_examples(record, cut)).shuffle(buffer, seed=draw)
        return examples.enumerate().map(lambda index, example: (index * plan.n_shares + number, example))

    def finish(index, example):
        frames = _decode_frames(example.pop('frame_jpeg'), plan.size_px)
        frames = tf.ensure_shape(frames, (cut.frames_per_example, plan.size_px, plan.size_px, 3))
        drawn = tf.stack([tf.constant(draw, tf.int64), index])
        return example | {'frames': augment.augment(frames, **plan.augmentation._asdict(), seed=drawn)}

    turns = tf.data.Dataset.from_tensor_slices(np.repeat(np.arange(len(shares)), plan.examples_per_share))
    dataset = (
        tf.data.Dataset.choose_from_datasets(
            [share(number, shares[number]) for number in sorted(shares)], turns.repeat(), stop_on_empty_dataset=True
        )
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(plan.examples_per_share * len(shares), drop_remainder=True)
        .prefetch(2)
    )
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.private_threadpool_size = 2
    return dataset.with_options(options).as_numpy_iterator()


class TrainingIndex(NamedTuple):
    """What each record holds for training, in the order of the records."""

    video_id: list[str]
    n_examples: np.ndarray  # int64, as windows.plan_examples makes them of the targets with a known distance
    distance_m: list[np.ndarray]  # the known ones

    def counts(self, video_ids: Collection[str]) -> np.ndarray:
        """Returns n_examples, 0 for clips that are not among these."""
        return np.where([video_id in video_ids for video_id in self.video_id], self.n_examples, 0)

    def median_m(self, video_ids: Collection[str]) -> float:
        """Returns the median distance of these clips, metres. Raises ValueError if none is known."""
        known = [d for video_id, d in zip(self.video_id, self.distance_m, strict=True) if video_id in video_ids]
        if not sum(map(len, known)):
            raise ValueError('no clip of these folds has a distance to train on; add labels and prepare the data again')
        return float(np.median(np.concatenate(known)))


def index_records(records: tf.data.Dataset, cut: WindowCut) -> TrainingIndex:
    """Reads all records once, without their frames."""
    found = TrainingIndex([], [], [])
    names = ('video_id', 'frame_time_s', 'target_time_s', 'target_distance_m')
    for record in records.map(lambda r: {name: r[name] for name in names}).as_numpy_iterator():
        known = np.isfinite(record['target_distance_m'])
        examples = windows.plan_examples(record['frame_time_s'], record['target_time_s'][known], **cut._asdict())
        found.video_id.append(record['video_id'].decode())
        found.n_examples.append(len(examples.target))
        found.distance_m.append(record['target_distance_m'][known])
    return found._replace(n_examples=np.array(found.n_examples, np.int64))


def share_records(n_examples: np.ndarray, n_shares: int) -> list[tuple[int, int]]:
    """Returns n_shares ranges (first, stop) of the records, with about equally many examples each."""
    before = np.concatenate([[0], np.cumsum(n_examples)])
    ideal = before[-1] * np.arange(1, n_shares) / n_shares
    cuts = np.abs(before[:, None] - ideal).argmin(axis=0).tolist()
    return list(itertools.pairwise([0, *cuts, len(n_examples)]))


def _decode_frames(jpegs: tf.Tensor, size_px: int) -> tf.Tensor:
    """JPEGs [n] -> [n, size, size, 3] uint8, inside tf.data."""
    signature = tf.TensorSpec((size_px, size_px, 3), tf.uint8)
    return tf.map_fn(lambda jpeg: decode_frame(jpeg, size_px), jpegs, fn_output_signature=signature)


def _cut_examples(record: dict, cut: WindowCut) -> tf.data.Dataset:
    """A record -> its labelled examples, frames still as JPEG."""
    labelled = tf.math.is_finite(record['target_distance_m'])
    target_time = tf.boolean_mask(record['target_time_s'], labelled)
    target_distance = tf.boolean_mask(record['target_distance_m'], labelled)

    def plan(frame_time_s, target_time_s):
        return windows.plan_examples(frame_time_s, target_time_s, **cut._asdict())

    frame, window, target = tf.numpy_function(plan, [record['frame_time_s'], target_time], [tf.int32] * 3)
    frame = tf.ensure_shape(frame, (None, cut.frames_per_example))
    window = tf.ensure_shape(window, (None, cut.windows_per_example, cut.n_frames))
    target = tf.ensure_shape(target, (None, cut.windows_per_example))
    used, place = target >= 0, tf.maximum(target, 0)
    return tf.data.Dataset.from_tensor_slices(
        {
            'frame_jpeg': tf.gather(record['frame_jpeg'], frame),
            'window': window,
            'distance': tf.where(used, tf.gather(target_distance, place), 0.0),
            'mask': tf.cast(used, tf.float32),
            'time': tf.where(used, tf.gather(target_time, place), -1),
            'video_id': tf.fill(tf.shape(target)[:1], record['video_id']),
        }
    )
