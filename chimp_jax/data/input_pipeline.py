"""Records -> training batches by tf.data.

Windows are cut when the records are read. The shuffle buffer holds JPEGs, not pixels.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from chimp_jax.data import augment, compositing
from chimp_jax.data.batch_plan import NO_ANIMALS, AnimalCut, Augmentation, BatchPlan, WindowCut
from chimp_jax.data.example_cut import cut_examples
from chimp_jax.data.operations import OPERATION_SETS, move_animals
from chimp_jax.data.teacher import Teacher

GLOBAL_SEED = 87654321  # TensorFlow's own, if nobody sets one
_LABELS = ('frame_time_s', 'target_time_s', 'target_distance_m')  # the fields of a record that make its examples
_TARGETS = ('target_box', 'target_animal')  # with a teacher also these
_ANIMALS = (*_TARGETS, 'box_time_s', 'box', 'box_confidence', 'box_animal')  # with slots also these


# AutoGraph would rewrite the source of each mapped function at each epoch, for branches on tensors that none has.
as_written = tf.autograph.experimental.do_not_convert


@as_written
def of_clips(records: tf.data.Dataset, video_ids: Collection[str]) -> tf.data.Dataset:
    """Returns the records of these clips only."""
    keys = tf.constant(sorted(video_ids))
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.ones_like(keys, tf.int32)), 0)
    return records.filter(lambda record: table.lookup(record['video_id']) > 0)


@as_written
def training_batches(
    shares: Mapping[int, tf.data.Dataset], plan: BatchPlan, seed: int, epoch: int, first: int = 0
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the shuffled, augmented batches of one epoch. Examples that do not fill a batch are left out.

    first: the number of the first batch; those before it are not decoded.

    A batch has frames [B, S, size, size, 3] float32 0..255, window [B, K, T] int32 (positions among the S frames),
    distance [B, K] float32 in metres, mask [B, K] (0 if a place is unused), and the keys video_id [B], time [B, K] (-1
    if unused). plan.batch_size counts windows: B * K. With slots of animals (plan.animals.most > 0) it also has boxes
    [B, S, A, 5], belief, animal_distance, animal_mask [B, K, A]: see steps.animal_error. With plan.with_sound it has
    also sound [B, S, R, bands] uint8, 0 without sound; without plan.with_frames no frames.
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
        examples = records.flat_map(lambda record: _cut_examples(record, plan, draw)).shuffle(buffer, seed=draw)
        return examples.enumerate().map(lambda index, example: (index * plan.n_shares + number, example))

    def finish(index, example):
        if not plan.with_frames:
            return {name: value for name, value in example.items() if name != 'frame_jpeg'}
        frames = _decode_frames(example.pop('frame_jpeg'), plan.size_px)
        frames = tf.ensure_shape(frames, (cut.frames_per_example, plan.size_px, plan.size_px, 3))
        if 'paste_jpeg' in example:
            frames = _pasted(frames, *(example.pop(name) for name in ('paste_jpeg', 'paste_box', 'paste_cover')))
        drawn = tf.stack([tf.constant(draw, tf.int64), index])
        if plan.animals.most:
            example |= _moved_animals(example, plan.augmentation, drawn)
        return example | {'frames': augment.augment(frames, **plan.augmentation._asdict(), seed=drawn)}

    batch_size = plan.examples_per_share * len(shares)
    turns = tf.data.Dataset.from_tensor_slices(np.repeat(np.arange(len(shares)), plan.examples_per_share))
    dataset = (
        tf.data.Dataset.choose_from_datasets(
            [share(number, shares[number]) for number in sorted(shares)], turns.repeat(), stop_on_empty_dataset=True
        )
        .skip(first * batch_size)
        .map(finish, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch_size, drop_remainder=True)
        .prefetch(2)
    )
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.threading.private_threadpool_size = 2
    return dataset.with_options(options).as_numpy_iterator()


_COUNTS = ('n_examples', 'n_left_out', 'n_taught')


class TrainingIndex(NamedTuple):
    """What each record holds for training, in the order of the records."""

    video_id: list[str]
    n_examples: np.ndarray  # int64, as example_cut.cut_examples makes them of the targets with a known distance
    distance_m: list[np.ndarray]  # the known ones that examples have, with a teacher the mixed ones
    n_left_out: np.ndarray  # int64, the known ones that no example has
    n_taught: np.ndarray  # int64, the teacher's rows among the known ones
    site: list[str]  # '' if unknown

    def counts(self, video_ids: Collection[str]) -> np.ndarray:
        """Returns n_examples, 0 for clips that are not among these."""
        return np.where([video_id in video_ids for video_id in self.video_id], self.n_examples, 0)

    def without(self, is_left_out: np.ndarray) -> 'TrainingIndex':
        """Returns the index in which these records, [n] bool, have no name and nothing to train on. Positions stay."""
        names = ['' if out else name for name, out in zip(self.video_id, is_left_out, strict=True)]
        counts = {name: np.where(is_left_out, 0, getattr(self, name)) for name in _COUNTS}
        distance_m = [known[: 0 if out else None] for known, out in zip(self.distance_m, is_left_out, strict=True)]
        return self._replace(**counts, video_id=names, distance_m=distance_m)

    def to_lists(self) -> list[list]:
        """Returns the columns as lists, for JSON."""
        return [
            [known.tolist() for known in self.distance_m] if name == 'distance_m' else np.asarray(column).tolist()
            for name, column in self._asdict().items()
        ]

    @classmethod
    def of_lists(cls, parts: Sequence[list[list]]) -> 'TrainingIndex':
        """Returns the index of the records of all parts, each the result of to_lists."""
        index = cls(*(list(itertools.chain(*columns)) for columns in zip(*parts, strict=True)))
        counts = {name: np.array(getattr(index, name), np.int64) for name in _COUNTS}
        return index._replace(**counts, distance_m=[np.array(known, np.float32) for known in index.distance_m])

    def median_m(self, video_ids: Collection[str]) -> float:
        """Returns the median distance of these clips, metres. Raises ValueError if none is known."""
        known = [d for video_id, d in zip(self.video_id, self.distance_m, strict=True) if video_id in video_ids]
        if not sum(map(len, known)):
            raise ValueError('no clip of these folds has a distance to train on; add labels and prepare the data again')
        return float(np.median(np.concatenate(known)))


def index_records(
    records: tf.data.Dataset, cut: WindowCut, animals: AnimalCut = NO_ANIMALS, teacher: Teacher | None = None
) -> TrainingIndex:
    """Reads all records once, without their frames."""
    rows = []
    names = (*_fields_of_examples(animals, teacher), 'site')
    for record in records.map(lambda r: {name: r[name] for name in names}).as_numpy_iterator():
        fields = {name: _as_text(value) for name, value in record.items()}
        found = cut_examples(fields, cut, animals, teacher=teacher)
        n_examples = len(found.examples)
        rows.append((fields['video_id'], n_examples, found.label_m, found.n_left_out, found.n_taught, fields['site']))
    return TrainingIndex.of_lists([list(zip(*rows, strict=True)) or [[]] * len(TrainingIndex._fields)])


def share_records(n_examples: np.ndarray, n_shares: int) -> list[tuple[int, int]]:
    """Returns n_shares ranges (first, stop) of the records, with about equally many examples each."""
    before = np.concatenate([[0], np.cumsum(n_examples)])
    ideal = before[-1] * np.arange(1, n_shares) / n_shares
    cuts = np.abs(before[:, None] - ideal).argmin(axis=0).tolist()
    return list(itertools.pairwise([0, *cuts, len(n_examples)]))


def _decode_frames(jpegs: tf.Tensor, size_px: int) -> tf.Tensor:
    """JPEGs [n] -> [n, size, size, 3] uint8, inside tf.data: the pixels of frames.decode_frame."""

    def decode(jpeg: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_jpeg(jpeg, channels=3, dct_method='INTEGER_ACCURATE')
        resized = tf.image.resize(picture, (size_px, size_px), method='bilinear', antialias=False)
        return tf.cast(resized, tf.uint8)

    return tf.map_fn(decode, jpegs, fn_output_signature=tf.TensorSpec((size_px, size_px, 3), tf.uint8))


def _cut_examples(record: dict, plan: BatchPlan, draw: int) -> tf.data.Dataset:
    """A record -> its examples with labels or a teacher's distances, frames still as JPEG."""
    cut, most = plan.windows, plan.animals.most
    s, k = cut.frames_per_example, cut.windows_per_example
    arrays = {
        'frame': ((s,), tf.int32),
        'window': ((k, cut.n_frames), tf.int32),
        'time': ((k,), tf.int32),
        'distance': ((k,), tf.float32),
        'mask': ((k,), tf.float32),
    }
    if most:
        arrays['boxes'] = ((s, most, 5), tf.float32)
        arrays |= dict.fromkeys(('belief', 'animal_distance', 'animal_mask'), ((k, most), tf.float32))
    composites = most > 0 and plan.animals.composite_probability > 0
    pasted = {'paste_frame': ((s,), tf.int32), 'paste_box': ((s, 5), tf.float32), 'paste_cover': ((s, 5), tf.float32)}
    if composites:
        arrays |= pasted
    names = _fields_of_examples(plan.animals, plan.teacher)

    def cut_record(*values):
        fields = {name: _as_text(value) for name, value in zip(names, values, strict=True)}
        examples = cut_examples(fields, cut, plan.animals, draw if composites else None, plan.teacher).examples
        flat = [one._asdict() | dict(zip(pasted, one.pasted, strict=True)) for one in examples]
        return [
            np.array([one[name] for one in flat], dtype.as_numpy_dtype).reshape(-1, *shape)
            for name, (shape, dtype) in arrays.items()
        ]

    found = tf.numpy_function(cut_record, [record[name] for name in names], [dtype for _, dtype in arrays.values()])
    found = dict(zip(arrays, found, strict=True))
    found = {name: tf.ensure_shape(found[name], (None, *shape)) for name, (shape, _) in arrays.items()}
    frame = found.pop('frame')
    found['frame_jpeg'] = tf.gather(record['frame_jpeg'], frame)
    if plan.with_sound:
        found['sound'] = tf.gather(_sound_of_frames(record), frame)
    found['video_id'] = tf.fill(tf.shape(found['time'])[:1], record['video_id'])
    if composites:
        source = found.pop('paste_frame')
        jpegs = tf.gather(record['frame_jpeg'], tf.maximum(source, 0))
        found['paste_jpeg'] = tf.where(source >= 0, jpegs, '')
    return tf.data.Dataset.from_tensor_slices(found)


def _sound_of_frames(record: dict) -> tf.Tensor:
    """Returns the rows around each frame of a record, [n, R, bands] uint8: zeros without sound."""
    sound = record['sound']
    n_missing = tf.shape(record['frame_time_s'])[0] - tf.shape(sound)[0]
    return tf.pad(sound, [[0, n_missing], [0, 0], [0, 0]])


def _fields_of_examples(animals: AnimalCut, teacher: Teacher | None) -> tuple[str, ...]:
    """Returns the names of the fields of a record that make its examples."""
    return ('video_id', *_LABELS, *(_ANIMALS if animals.most else _TARGETS if teacher else ()))


def _as_text(value):
    """Returns bytes, or an array of bytes, as text; numbers as they are."""
    if isinstance(value, bytes):
        return value.decode()
    return [name.decode() for name in value] if value.dtype == object else value


def _pasted(frames: tf.Tensor, jpegs: tf.Tensor, box: tf.Tensor, cover: tf.Tensor) -> tf.Tensor:
    """Returns the frames of an example with what is pasted into them. jpegs: [S], all '' if nothing is."""

    def paste():
        source = tf.ensure_shape(_decode_frames(jpegs, frames.shape[1]), frames.shape)
        return compositing.paste(frames, source, box, cover)

    return tf.cond(tf.equal(jpegs[0], ''), lambda: frames, paste)


def _moved_animals(example: dict, augmentation: Augmentation, seed: tf.Tensor) -> dict:
    """Returns the boxes of an example, and the labels of its slots, after the operation that its frames get."""
    names = OPERATION_SETS[augmentation.operation_set]

    def move(number, boxes, *labels):
        return move_animals(names[number], boxes, *labels) if number < len(names) else (boxes, *labels[1:])

    moved = ('boxes', 'belief', 'animal_mask')
    arguments = [example[name] for name in ('boxes', 'window', 'belief', 'animal_mask')]
    number = augment.number_drawn(*augmentation, seed)
    found = dict(zip(moved, tf.numpy_function(move, [number, *arguments], [tf.float32] * 3), strict=True))
    return {name: tf.ensure_shape(found[name], example[name].shape) for name in moved}
