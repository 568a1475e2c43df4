"""The published way from clips to distances, in Keras, for a comparison with ours.

    python -m bench.published_way --tables DIR --clips_down DIR --clips_full DIR --recipes full-a4p50-f7s1 --out DIR

Every second of every clip becomes a JPEG file, every target a window of 11 files, and the windows become TFRecord files
(bench/original_prep.py). Then each model encodes all frames of the window of each target. The weights are random.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'  # TensorFlow's fast kernels

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import tensorflow as tf  # noqa: E402

from bench import original_prep  # noqa: E402
from bench.peers import keras_model  # noqa: E402
from configs.recipes import parse_recipe  # noqa: E402

BATCH = 2  # windows per call: 14 or 18 frames


def windows(records: Path, n_frames: int, size_px: int) -> Iterator[tuple[np.ndarray, list]]:
    """Yields batches of windows [B, T, size_px, size_px, 3] uint8 and their (video_id, time)."""
    first = original_prep.HALF - n_frames // 2

    def read(raw):
        layout = {
            'frames': tf.io.FixedLenFeature([2 * original_prep.HALF + 1], tf.string),
            'video_id': tf.io.FixedLenFeature([], tf.string),
            'time': tf.io.FixedLenFeature([], tf.int64),
        }
        example = tf.io.parse_single_example(raw, layout)

        def picture(jpeg):
            decoded = tf.io.decode_jpeg(jpeg, 3, dct_method='INTEGER_ACCURATE')
            return tf.cast(tf.image.resize(decoded, (size_px, size_px)), tf.uint8)

        frames = tf.map_fn(picture, example['frames'][first : first + n_frames], fn_output_signature=tf.uint8)
        return frames, example['video_id'], example['time']

    files = sorted(map(str, records.iterdir()))
    dataset = tf.data.TFRecordDataset(files).map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(BATCH)
    for frames, video_id, time_s in dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        yield frames, list(zip(video_id, time_s, strict=True))


def predict(recipe: str, out: Path, size_px: int) -> pd.Series:
    """Returns the distances of all targets by one model, metres, indexed by (video_id, time)."""
    parts = parse_recipe(recipe)
    model = keras_model(size_px, parts['n_frames'])
    shape = [None, parts['n_frames'], size_px, size_px, 3]
    step = tf.function(
        lambda x: model(tf.cast(x, tf.float32) / 255.0, training=False),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
    )
    records = out / 'records' / f'{parts["stream"]}_s{parts["step_s"]}'
    keys, values = [], []
    for frames, some in windows(records, parts['n_frames'], size_px):
        values += step(frames).numpy()[:, 0].tolist()
        keys += [(video_id.decode(), int(time_s)) for video_id, time_s in some]
    return pd.Series(values, pd.MultiIndex.from_tuples(keys, names=['video_id', 'time']), name=recipe)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ('--tables', '--clips_down', '--clips_full', '--out'):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument('--recipes', nargs='+', required=True)
    parser.add_argument('--size_px', type=int, default=512)
    options = parser.parse_args()
    recipes = [parse_recipe(recipe) for recipe in options.recipes]
    folders = {stream: getattr(options, f'clips_{stream}') for stream in sorted({one['stream'] for one in recipes})}
    original_prep.prepare(options.tables, folders, options.out, sorted({one['step_s'] for one in recipes}))
    columns = [predict(recipe, options.out, options.size_px) for recipe in options.recipes]
    pd.concat(columns, axis=1).mean(axis=1).rename('distance').to_csv(options.out / 'distances.csv')


if __name__ == '__main__':
    main()
