"""The original's data preparation, rewritten from its description, for a comparison with ours.

    python -m bench.original_prep --tables DIR --clips_down DIR --clips_full DIR --out DIR

The ffmpeg program writes every second of every clip as a JPEG file. Every target becomes a NumPy file of its 11 frames
for step 1 and one for step 2. These become one TFRecord file per fold. The search for overexposed clips is left out.
"""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import tensorflow as tf

from chimp_jax.ensemble.prediction_tables import read_predictions

STEPS, HALF, N_FOLDS = (1, 2), 5, 5


def prepare(tables: Path, folders: dict[str, Path], out: Path, steps: Sequence[int] = STEPS) -> None:
    """Writes frames/, windows/ and records/ below `out`. folders: the clips of each stream."""
    targets = read_predictions(tables / 'submission_format.csv', ['distance'])
    clips = list(targets['video_id'].unique())
    for stream in folders:
        files = {clip: _extract(folders[stream] / clip, out / 'frames' / stream / clip) for clip in clips}
        for step in steps:
            windows, records = (out / part / f'{stream}_s{step}' for part in ('windows', 'records'))
            windows.mkdir(parents=True)
            records.mkdir(parents=True)
            for clip, time_s in zip(targets['video_id'], targets['time'], strict=True):
                _write_window(windows / f'{clip}_{time_s}.npz', files[clip], time_s, step)
            for fold in range(N_FOLDS):
                rows = targets[targets['video_id'].isin(clips[fold::N_FOLDS])]
                _write_fold(records / f'fold_{fold}.tfrecord', windows, rows)


def _extract(clip: Path, folder: Path) -> list[Path]:
    """Writes each second of a clip as a JPEG file and returns the files in order."""
    folder.mkdir(parents=True)
    one = ['-threads', '1']
    command = [imageio_ffmpeg.get_ffmpeg_exe(), '-v', 'error', *one, '-i', str(clip), '-filter_threads', '1']
    command += ['-vf', 'fps=fps=1:round=up', '-q:v', '1', *one, str(folder / '%05d.jpg')]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return sorted(folder.iterdir())


def _write_window(path: Path, files: list[Path], time_s: int, step: int) -> None:
    seconds = np.clip(time_s + step * np.arange(-HALF, HALF + 1), 0, len(files) - 1)
    jpegs = [files[second].read_bytes() for second in seconds]
    np.savez(path, jpeg=np.frombuffer(b''.join(jpegs), np.uint8), size=[len(jpeg) for jpeg in jpegs])


def _write_fold(path: Path, windows: Path, rows: pd.DataFrame) -> None:
    """Writes one tf.train.Example for each target."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for clip, time_s, distance_m in zip(rows['video_id'], rows['time'], rows['distance'], strict=True):
            with np.load(windows / f'{clip}_{time_s}.npz') as arrays:
                jpegs = np.split(arrays['jpeg'], np.cumsum(arrays['size'])[:-1])
            feature = {
                'frames': _bytes([jpeg.tobytes() for jpeg in jpegs]),
                'video_id': _bytes([clip.encode()]),
                'time': tf.train.Feature(int64_list=tf.train.Int64List(value=[time_s])),
                'distance': tf.train.Feature(float_list=tf.train.FloatList(value=[distance_m])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    for name in ('--tables', '--clips_down', '--clips_full', '--out'):
        parser.add_argument(name, type=Path, required=True)
    options = parser.parse_args()
    prepare(options.tables, {'down': options.clips_down, 'full': options.clips_full}, options.out)


if __name__ == '__main__':
    main()
