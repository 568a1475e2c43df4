"""The definition of a record, everything stored about one clip, and the functions that write and read records.

On disk: DIRECTORY/chimp_records/<stream>/1.2.0/, TFRecord shards of a tensorflow-datasets builder, one example per
clip. Importing this file does not import TensorFlow, which takes seconds: the worker processes that decode clips use
only the class.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from etils import epath

from data_prep.buckets import s3_paths
from data_prep.sound.log_mel import BANDS, ROWS
from data_prep.workers import memory

STREAMS = ('down', 'full')
NAME = 'chimp_records'
VERSION = '1.2.0'
LOST = 'lost.csv'  # beside the records: the targets that no record contains


@dataclass(frozen=True, eq=False)
class Record:
    """One clip in one stream: its distinct frames, their seconds, its targets, the known boxes of its animals.

    A box is x1, y1, x2, y2 in 0..1 of width and height from the upper left. The boxes are sorted by time, animal and
    falling confidence.
    """

    video_id: str  # path below the clips folder, as in the tables
    frame_jpeg: list[bytes]  # n frames, RGB
    frame_time_s: np.ndarray  # int32 [n], ascending
    target_time_s: np.ndarray  # int32 [m], may be past the last frame
    target_distance_m: np.ndarray  # float32 [m], NaN if unknown
    target_box: np.ndarray  # float32 [m, 4], NaN if unknown
    target_animal: list[str]  # m names of animals, '' if unknown
    box_time_s: np.ndarray  # float32 [b], ascending
    box: np.ndarray  # float32 [b, 4]
    box_confidence: np.ndarray  # float32 [b], 0..1; 1 if a person drew the box
    box_animal: list[str]  # b names of animals, '' if unknown
    site: str  # '' if unknown
    park: str  # '' if unknown
    duration_s: float
    height_px: int
    width_px: int
    frame_rate: float  # average, pictures per second
    white_fraction: float  # share of white channel values in the whitest of the judged frames, 0..1
    gamma: bool  # the clip is overexposed: its `full` frames are corrected, its `down` frames never
    sound: np.ndarray | None = None  # uint8 [n, 50, 64]: log-mel rows around each frame (sound/log_mel.py), n = 0
    # without sound; None in records without the field


def write_records(
    ids_by_split: Mapping[str, Sequence[str]],
    load: Callable[[str], Record],
    directory,
    stream: str,
    beam_options=None,
    with_sound: bool = False,
) -> dict[str, int]:
    """Writes one stream's records and returns their number in each split.

    ids_by_split: the video_ids of each split; an empty split is left out. load: returns the record of a video_id.
    beam_options: apache_beam PipelineOptions; if given, Beam's workers call `load`, which they must be able to import,
    and write the records. with_sound: the records have the field `sound`. The order on disk depends only on the
    video_ids, because tfds sorts by their hash.
    Raises ValueError if there is no record at all or the stream exists already, OSError if the disk is full.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import shuffle

    from data_prep.tfds_builder import RecordBuilder

    ids_by_split = {split: ids for split, ids in ids_by_split.items() if ids}  # tfds refuses an empty split
    if not ids_by_split:
        raise ValueError(f'no clip gave a record for the stream {stream!r}; see problems.csv')
    keyed = functools.partial(_keyed_example, load)
    builder = RecordBuilder(
        name=NAME,
        version=VERSION,
        features=_features(with_sound),
        split_datasets={split: _examples(ids, keyed, beam_options) for split, ids in ids_by_split.items()},
        config=stream,
        data_dir=str(directory),
        description='Frames of whole seconds of camera-trap clips, one example a clip.',
    )
    if builder.is_prepared():
        raise ValueError(f'{builder.data_dir} exists already; delete it first')
    tfds.disable_progress_bar()
    # Above this size tfds sorts by files. The order is the same.
    shuffle.MAX_MEM_BUFFER_SIZE = min(shuffle.MAX_MEM_BUFFER_SIZE, memory.bytes_for(0.5))
    # tfds prints a message about a download and makes a folder for it, although it downloads nothing.
    config = tfds.download.DownloadConfig(try_download_gcs=False, beam_options=beam_options)
    try:
        with tempfile.TemporaryDirectory() as unused, contextlib.redirect_stdout(None):
            builder.download_and_prepare(download_dir=unused, download_config=config)
    except RuntimeError as error:  # tfds re-raises TensorFlow's disk errors as this type
        raise OSError(f'the records of the stream {stream!r} cannot be written: {error}') from error
    return split_sizes(directory, stream)


def _examples(video_ids: Sequence[str], keyed: Callable[[str], tuple[str, dict]], beam_options):
    """Returns the (key, example) pairs that tfds writes: an iterator, or a Beam transform."""
    if beam_options is None:
        return map(keyed, video_ids)
    import apache_beam as beam

    return beam.Create(video_ids) | beam.Reshuffle() | beam.Map(keyed)


def _keyed_example(load: Callable[[str], Record], video_id: str) -> tuple[str, dict]:
    record = load(video_id)
    example = {field.name: getattr(record, field.name) for field in fields(record)}
    example = {name: value for name, value in example.items() if value is not None}
    return video_id, example | {name: dtype(example[name]) for name, dtype in _SCALARS.items()}


def read_dataset(directory, stream: str, split: str, first: int = 0, stop: int | None = None):
    """Returns a tf.data.Dataset of dicts, one per clip, always in the same order: records first..stop-1, or all.

    Keys are Record's fields. `frame_jpeg` [n] stays encoded, so that only the frames of a window are decoded. Strings
    are tf.string, times int32, other numbers float32, gamma bool. Raises ValueError if the split is missing.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    sizes = split_sizes(directory, stream)
    if split not in sizes:
        raise ValueError(f'{_folder(directory, stream)} has no split {split!r}; it has {", ".join(sizes)}')
    stop = sizes[split] if stop is None else stop
    part = tfds.core.ReadInstruction(split, from_=first, to=stop, unit='abs')
    # AutoGraph would rewrite the source of the decoders at each call, for branches on tensors that none has.
    read = tf.autograph.experimental.do_not_convert(tfds.builder_from_directory(_folder(directory, stream)).as_dataset)
    dataset = read(
        part if first < stop else split,  # tfds refuses to read nothing
        shuffle_files=False,
        decoders={'frame_jpeg': tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(try_autocache=False, interleave_cycle_length=1),
    )
    return dataset.take(stop - first)


def read_records(directory, stream: str, split: str) -> Iterator[Record]:
    """Yields the records of a split, in the same order."""
    return to_records(read_dataset(directory, stream, split))


def to_records(dataset) -> Iterator[Record]:
    """Yields the examples of read_dataset as Record objects."""
    for example in dataset.as_numpy_iterator():
        texts = {name: example[name].decode() for name in _TEXTS}
        lists = {name: [text.decode() for text in example[name]] for name in _TEXT_LISTS}
        numbers = {name: example[name].item() for name in _SCALARS}
        yield Record(**{**example, 'frame_jpeg': list(example['frame_jpeg']), **texts, **lists, **numbers})


def split_sizes(directory, stream: str) -> dict[str, int]:
    """Returns the number of clips in each split. Raises ValueError if the stream has not been written."""
    import tensorflow_datasets as tfds

    folder = _folder(directory, stream)
    if not folder.exists():
        others = sorted(path.name for path in folder.parent.glob('[0-9]*'))
        if others:
            raise ValueError(
                f'{folder.parent} holds records of version {others[-1]}, but {VERSION} is needed; prepare the data '
                'again with python -m data_prep.build and another --out'
            )
        raise ValueError(f'{folder} is missing; make it with python -m data_prep.build --out {directory}')
    splits = tfds.builder_from_directory(folder).info.splits
    return {name: info.num_examples for name, info in splits.items()}


def have_sound(directory, stream: str) -> bool:
    """Returns whether the records of a stream have the field `sound`. Raises ValueError if there are none."""
    import tensorflow_datasets as tfds

    split_sizes(directory, stream)  # raises
    return 'sound' in tfds.builder_from_directory(_folder(directory, stream)).info.features


def describe_features(with_sound: bool) -> dict[str, str]:
    """Returns {name: type and shape} of the features, for dataset.json."""
    return {name: repr(feature) for name, feature in _features(with_sound).items()}


_TEXTS = ('video_id', 'site', 'park')
_TEXT_LISTS = ('target_animal', 'box_animal')
_NUMBER_LISTS = {
    'frame_time_s': np.int32,
    'target_time_s': np.int32,
    'target_distance_m': np.float32,
    'box_time_s': np.float32,
    'box_confidence': np.float32,
}
_BOX_LISTS = ('target_box', 'box')
_SCALARS = {
    'duration_s': np.float32,
    'height_px': np.int32,
    'width_px': np.int32,
    'frame_rate': np.float32,
    'white_fraction': np.float32,
    'gamma': np.bool_,
}


def _features(with_sound: bool):
    import tensorflow_datasets as tfds

    # As bytes: tfds would store integers one by one.
    sound = tfds.features.Tensor(shape=(None, ROWS, BANDS), dtype=np.uint8, encoding='zlib')
    return tfds.features.FeaturesDict(
        {name: tfds.features.Text() for name in _TEXTS}
        | {name: tfds.features.Sequence(tfds.features.Text()) for name in _TEXT_LISTS}
        | {'frame_jpeg': tfds.features.Sequence(tfds.features.Image(encoding_format='jpeg'))}
        | {name: tfds.features.Tensor(shape=(None,), dtype=dtype) for name, dtype in _NUMBER_LISTS.items()}
        | {name: tfds.features.Tensor(shape=(None, 4), dtype=np.float32) for name in _BOX_LISTS}
        | {name: tfds.features.Scalar(dtype) for name, dtype in _SCALARS.items()}
        | ({'sound': sound} if with_sound else {})
    )


def _folder(directory, stream: str) -> epath.Path:
    if stream not in STREAMS:
        raise ValueError(f'no stream {stream!r}; there are {", ".join(STREAMS)}')
    if str(directory).startswith(s3_paths.PREFIX):
        raise ValueError(
            f'{directory}: TensorFlow cannot read records in S3; copy the folder to a disk that all machines reach, '
            'such as with: aws s3 sync'
        )
    return epath.Path(directory) / NAME / stream / VERSION
