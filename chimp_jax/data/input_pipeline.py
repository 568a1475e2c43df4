"""Records -> batches for training, and -> clips for evaluation and prediction. tf.data, uint8 to the device.

Windows are cut at read time from a record's frames; what waits in the shuffle buffer is JPEG, not pixels.
"""

import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from chimp_jax.data import augment
from data_prep import windows
from data_prep.records import Record


class Clip(NamedTuple):
    """One clip, ready for the model: every stored frame once.

    frames [n, size, size, 3] uint8; frame_time_s [n]; target_time_s [m]; target_distance_m [m], NaN where unknown.
    """

    video_id: str
    frames: np.ndarray
    frame_time_s: np.ndarray
    target_time_s: np.ndarray
    target_distance_m: np.ndarray


def decode_frame(jpeg: tf.Tensor, size_px: int) -> tf.Tensor:
    """JPEG -> [size, size, 3] uint8, as published: exact DCT, bilinear without antialiasing, floor.

    Other resizers (PIL, jax.image.resize) smooth while they shrink; the published frames are not smoothed.
    """
    picture = tf.io.decode_jpeg(jpeg, channels=3, dct_method='INTEGER_ACCURATE')
    resized = tf.image.resize(picture, (size_px, size_px), method='bilinear', antialias=False)
    return tf.cast(resized, tf.uint8)


def decode_frames(jpegs: tf.Tensor, size_px: int) -> tf.Tensor:
    """JPEGs [n] -> [n, size, size, 3] uint8."""
    signature = tf.TensorSpec((size_px, size_px, 3), tf.uint8)
    frames = tf.map_fn(lambda jpeg: decode_frame(jpeg, size_px), jpegs, fn_output_signature=signature)
    return tf.ensure_shape(frames, (None, size_px, size_px, 3))


def decode_records(records: Sequence[Record], size_px: int) -> np.ndarray:
    """All frames of some records, one after the other -> [N, size, size, 3] uint8; several at once."""
    jpegs = [jpeg for record in records for jpeg in record.frame_jpeg]
    frames = np.empty((len(jpegs), size_px, size_px, 3), np.uint8)

    def decode(place: int) -> None:
        frames[place] = decode_frame(jpegs[place], size_px).numpy()

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(decode, range(len(jpegs))))
    return frames


def of_clips(records: tf.data.Dataset, video_ids: Collection[str]) -> tf.data.Dataset:
    """The records of these clips only."""
    keys = tf.constant(sorted(video_ids))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.ones_like(keys, tf.int32)), 0)
    return records.filter(lambda record: table.lookup(record['video_id']) > 0)


def training_batches(
    shares: Mapping[int, tf.data.Dataset],
    *,
    n_shares: int,
    n_frames: int,
    step_s: int,
    size_px: int,
    augmentation: str,
    augmentation_probability: float,
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle_windows: int,
    windows_per_example: int,
    frames_per_example: int,
) -> Iterator[dict[str, np.ndarray]]:
    """One epoch of shuffled, augmented batches; what does not fill a batch is left to other epochs' shuffles.

    Each has frames [B, S, size, size, 3] uint8, window [B, K, T] int32 (positions among the S frames), distance
    [B, K] float32 in metres, mask [B, K] (0 where a place is unused or its distance unknown), and the keys
    video_id [B], time [B, K] (-1 where unused). batch_size counts windows: B * K.
    shares: records by the number of their share, some or all of n_shares; each gives its batch_size / n_shares
    windows of every batch, in the order of the numbers, so that the batches of several processes with some shares
    each, put together, are one process' batches. The epoch ends with the first share that is used up.
    Order and augmentation depend on seed, epoch and share alone, so that a resumed run sees what an uninterrupted
    one would have seen.
    """
    of_share = examples_of_share(batch_size, windows_per_example, n_shares)
    draw = seed * 1_000_003 + epoch

    def share(number, records):
        buffer = max(shuffle_windows // windows_per_example // n_shares, 1)
        examples = records.flat_map(
            lambda record: _cut_examples(record, n_frames, step_s, windows_per_example, frames_per_example)
        ).shuffle(buffer, seed=draw)
        return examples.enumerate().map(lambda index, example: (index * n_shares + number, example))

    def finish(index, example):
        frames = decode_frames(example.pop('frame_jpeg'), size_px)
        frames = tf.ensure_shape(frames, (frames_per_example, size_px, size_px, 3))
        drawn = tf.stack([tf.constant(draw, tf.int64), index])
        return example | {'frames': augment.augment(frames, augmentation, augmentation_probability, drawn)}

    turns = tf.data.Dataset.from_tensor_slices(np.repeat(np.arange(len(shares)), of_share))
    dataset = (
        tf.data.Dataset.choose_from_datasets(
            [share(number, shares[number]) for number in sorted(shares)], turns.repeat(), stop_on_empty_dataset=True
        )
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(of_share * len(shares), drop_remainder=True)
        .prefetch(2)
    )
    return _as_numpy(dataset)


def examples_of_share(batch_size: int, windows_per_example: int, n_shares: int) -> int:
    """Examples that a share gives of each batch. Raises ValueError where the numbers do not divide."""
    if batch_size % (windows_per_example * n_shares):
        raise ValueError(
            f'train.batch_size={batch_size} is no multiple of '
            f'data.windows_per_example={windows_per_example} x data.shares={n_shares}'
        )
    return batch_size // windows_per_example // n_shares


class TrainingIndex(NamedTuple):
    """What each record holds for training, in the order of the records."""

    video_id: list[str]
    n_examples: np.ndarray  # int64, as windows.plan_examples makes them of the targets with a known distance
    distance_m: list[np.ndarray]  # the known ones

    def counts(self, video_ids: Collection[str]) -> np.ndarray:
        """n_examples, 0 for other clips than these."""
        return np.where([video_id in video_ids for video_id in self.video_id], self.n_examples, 0)

    def median_m(self, video_ids: Collection[str]) -> float:
        """The median distance of these clips, metres. Raises ValueError where none is known."""
        known = [d for video_id, d in zip(self.video_id, self.distance_m, strict=True) if video_id in video_ids]
        if not sum(map(len, known)):
            raise ValueError('no clip of these folds has a distance to train on')
        return float(np.median(np.concatenate(known)))


def index_records(records: tf.data.Dataset, **plan) -> TrainingIndex:
    """Reads the records through once, without their frames; `plan`: keywords of windows.plan_examples."""
    found = TrainingIndex([], [], [])
    names = ('video_id', 'frame_time_s', 'target_time_s', 'target_distance_m')
    for record in records.map(lambda r: {name: r[name] for name in names}).as_numpy_iterator():
        known = np.isfinite(record['target_distance_m'])
        plan_of_clip = windows.plan_examples(record['frame_time_s'], record['target_time_s'][known], **plan)
        found.video_id.append(record['video_id'].decode())
        found.n_examples.append(len(plan_of_clip.target))
        found.distance_m.append(record['target_distance_m'][known])
    return found._replace(n_examples=np.array(found.n_examples, np.int64))


def share_records(n_examples: np.ndarray, n_shares: int) -> list[tuple[int, int]]:
    """Cuts the records into n_shares ranges (first, stop) with about equally many examples each."""
    before = np.concatenate([[0], np.cumsum(n_examples)])
    wanted = before[-1] * np.arange(1, n_shares) / n_shares
    cuts = np.abs(before[:, None] - wanted).argmin(axis=0).tolist()
    return list(itertools.pairwise([0, *cuts, len(n_examples)]))


def clips(records: tf.data.Dataset, size_px: int) -> Iterator[Clip]:
    """Every record with its frames decoded, in the order of the records; the next ones are read ahead."""

    def decode(record):
        names = ('video_id', 'frame_time_s', 'target_time_s', 'target_distance_m')
        return {name: record[name] for name in names} | {'frames': decode_frames(record['frame_jpeg'], size_px)}

    for clip in _as_numpy(records.map(decode, num_parallel_calls=2).prefetch(2)):
        yield Clip(**{**clip, 'video_id': clip['video_id'].decode()})


def _cut_examples(record: dict, n_frames: int, step_s: int, n_windows: int, example_frames: int) -> tf.data.Dataset:
    """A record -> its labelled examples, frames still JPEG."""
    labelled = tf.math.is_finite(record['target_distance_m'])
    target_time = tf.boolean_mask(record['target_time_s'], labelled)
    target_distance = tf.boolean_mask(record['target_distance_m'], labelled)

    def plan(frame_time_s, target_time_s):
        return windows.plan_examples(frame_time_s, target_time_s, n_frames, step_s, n_windows, example_frames)

    frame, window, target = tf.numpy_function(plan, [record['frame_time_s'], target_time], [tf.int32] * 3)
    frame = tf.ensure_shape(frame, (None, example_frames))
    window = tf.ensure_shape(window, (None, n_windows, n_frames))
    target = tf.ensure_shape(target, (None, n_windows))
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


def _as_numpy(dataset: tf.data.Dataset) -> Iterator[dict]:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.private_threadpool_size = 2
    return dataset.with_options(options).as_numpy_iterator()
