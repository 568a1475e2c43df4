"""The original's data preparation, written anew from its description, to compare ours with.

    python -m bench.original_prep --tables DIR --clips_down DIR --clips_full DIR --out DIR

Every second of every clip becomes a JPEG file (the ffmpeg program), every target a NumPy file of its 11 frames for
step 1 and one for step 2, and these become one TFRecord file a fold. Its search for overexposed clips is left out.
"""

import argparse
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pandas as pd
import tensorflow as tf

STEPS, HALF, N_FOLDS = (1, 2), 5, 5


def prepare(tables: Path, folders: dict[str, Path], out: Path, steps: Sequence[int] = STEPS) -> None:
    """folders: of the clips of each stream. Makes frames/, windows/ and records/ below `out`."""
    targets = pd.read_csv(tables / 'submission_format.csv')
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
    """The JPEG files of a clip's seconds, in their order."""
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
    """One tf.train.Example for each target."""
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
