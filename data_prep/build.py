"""The command: clips and tables -> frame store -> records.

    python -m data_prep.build --tables DIR --clips_down DIR --clips_full DIR --out DIR

TABLES holds train_labels.csv, submission_format.csv or both, and their metadata tables where there are any; without
it every whole second of every clip becomes a target of the split `test`. OUT gets chimp_records/{down,full}/,
folds.csv, clips.csv, problems.csv and dataset.json.
Exit code 0, or 3 where problems.csv has rows, or 1 where the command failed; started again, it goes on where it
stopped.
"""

import argparse
import hashlib
import json
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import absl.logging
import pandas as pd
from etils import epath

from data_prep import frame_store, guard
from data_prep.clip_record import JPEG_QUALITY
from data_prep.folds import read_or_make_folds
from data_prep.frame_store import ClipTask, make_frames
from data_prep.labels import TABLES, Problem, Targets, find_clips, list_clips, read_tables
from data_prep.records import NAME, STREAMS, VERSION, Record, describe_features, write_records

_CLIP_COLUMNS = 'site park duration_s height_px width_px frame_rate white_fraction gamma'.split()


def build(tables, clips_down, clips_full, out, n_folds=5, seed=0, workers=1, delete_frames=True) -> list[Problem]:
    """Makes the data set in `out` and returns its problems. Nothing is done where it is complete.

    tables: folder of the tables; None makes every second of every clip a target. clips_down,
    clips_full: folders of the two copies of each clip; where one is None the other serves both
    streams. Raises ValueError where the job cannot be done, with what to do about it.
    """
    if workers < 1:
        raise ValueError(f'{workers} workers cannot decode anything')
    folders = _folders(clips_down, clips_full)
    out = epath.Path(out)
    options = _options(tables, clips_down, clips_full, n_folds, seed)
    _check_options(out, options)
    if (out / 'dataset.json').exists():
        print(f'{out} is complete; nothing to do')
        _finish_frames(out, delete_frames)
        return _read_problems(out)
    targets = read_tables(tables) if tables else list_clips(folders[0])
    for note in (note for table in targets.values() for note in table.notes):
        print(f'note: {note}')
    if 'train' in targets:  # of all its clips, whether they can be decoded or not
        read_or_make_folds(out / 'folds.csv', targets['train'].rows, n_folds, seed)
    targets = {split: find_clips(table, folders) for split, table in targets.items()}
    problems = [problem for table in targets.values() for problem in table.problems]
    problems += make_frames(_tasks(targets, clips_down, clips_full, out), workers, len(problems))
    problems.sort()
    _write_table(out / 'problems.csv', pd.DataFrame(problems, columns=Problem._fields))
    counts = _make_records(out, targets)
    clips = _clip_table(out, targets)
    _write_table(out / 'clips.csv', clips)
    _write_json(out / 'dataset.json', _description(options, counts, clips, problems))
    _finish_frames(out, delete_frames)
    return problems


def _options(tables, clips_down, clips_full, n_folds: int, seed: int) -> dict:
    """Everything that changes the result."""
    names = [name for pair in TABLES.values() for name in pair] if tables else []
    files = [Path(tables) / name for name in names]
    return {
        'clips_down': str(clips_down),
        'clips_full': str(clips_full),
        'n_folds': n_folds,
        'seed': seed,
        'jpeg_quality': JPEG_QUALITY,
        'version': VERSION,
        'tables_sha256': {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.exists()},
    }


def _check_options(out: epath.Path, options: dict) -> None:
    path = out / 'options.json'
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        _write_json(path, options)
        return
    before = json.loads(path.read_text())
    names = [name for name in before | options if before.get(name) != options.get(name)]
    if names:
        changes = '; '.join(f'{name}: {before.get(name)} before, {options.get(name)} now' for name in names)
        raise ValueError(f'{out} was begun with other options ({changes}); take another --out or remove it')


def _folders(clips_down, clips_full) -> list[Path]:
    folders = [Path(folder) for folder in (clips_down, clips_full) if folder]
    if not folders:
        raise ValueError('give --clips_down, --clips_full or both')
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f'there is no folder {folder}')
    return folders


def _tasks(targets: dict[str, Targets], clips_down, clips_full, out: epath.Path) -> list[ClipTask]:
    return [
        ClipTask(
            frames=str(out / 'frames'),
            video_id=video_id,
            down_path=str(Path(clips_down) / video_id) if clips_down else None,
            full_path=str(Path(clips_full) / video_id) if clips_full else None,
            target_time_s=rows['time_s'].tolist() if rows['time_s'].notna().all() else None,
            target_distance_m=rows['distance_m'].tolist() if rows['time_s'].notna().all() else None,
            site=rows['site'].iloc[0],
            park=rows['park'].iloc[0],
        )
        for table in targets.values()
        for video_id, rows in table.rows.groupby('video_id')
    ]


def _make_records(out: epath.Path, targets: dict[str, Targets]) -> dict[str, dict[str, int]]:
    """The quick stage: frame store -> tfds records. Returns {stream: {split: clips}}."""
    counts = {}
    (out / NAME).rmtree(missing_ok=True)  # of a run that was killed after it had written one stream
    for stream in STREAMS:
        started = time.monotonic()
        by_split = {
            split: lambda stream=stream, table=table: _stored_records(out, stream, table)
            for split, table in targets.items()
        }
        counts[stream] = write_records(by_split, out, stream)
        print(f'records {stream}: {counts[stream]}, {time.monotonic() - started:.0f} s', flush=True)
    return counts


def _stored_records(out: epath.Path, stream: str, table: Targets) -> Iterator[Record]:
    for video_id in sorted(table.rows['video_id'].unique()):
        if frame_store.is_stored(out / 'frames', video_id):
            yield frame_store.load(out / 'frames', stream, video_id)


def _clip_table(out: epath.Path, targets: dict[str, Targets]) -> pd.DataFrame:
    """One row for each clip with a record, about its full copy."""
    return pd.DataFrame(
        {'video_id': record.video_id, 'split': split}
        | {name: getattr(record, name) for name in _CLIP_COLUMNS}
        | {'n_frames': len(record.frame_jpeg), 'n_targets': len(record.target_time_s)}
        for split, table in targets.items()
        for record in _stored_records(out, 'full', table)
    )


def _description(options: dict, counts: dict, clips: pd.DataFrame, problems: list[Problem]) -> dict:
    return {
        'what': 'TFRecord shards written by tensorflow-datasets, one tf.train.Example a clip',
        'records': {stream: f'{NAME}/{stream}/{VERSION}' for stream in STREAMS},
        'features': describe_features(),
        'clips': counts,
        'targets': {split: int(rows['n_targets'].sum()) for split, rows in clips.groupby('split')},
        'problems': len(problems),
        'options': options,
        'command': shlex.join(['python', '-m', 'data_prep.build', *sys.argv[1:]]),
    }


def _finish_frames(out: epath.Path, delete_frames: bool) -> None:
    if delete_frames and (out / 'frames').exists():
        (out / 'frames').rmtree()


def _read_problems(out: epath.Path) -> list[Problem]:
    with (out / 'problems.csv').open() as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    return [Problem(*row) for row in table.itertuples(index=False)]


def _write_table(path: epath.Path, table: pd.DataFrame) -> None:
    _write(path, table.to_csv(index=False))


def _write_json(path: epath.Path, content: dict) -> None:
    _write(path, json.dumps(content, indent=2) + '\n')


def _write(path: epath.Path, text: str) -> None:
    unfinished = path.with_name(path.name + '.tmp')
    unfinished.write_text(text)
    unfinished.replace(path)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='python -m data_prep.build', description=__doc__.split('\n')[0])
    parser.add_argument(
        '--tables',
        help='folder of train_labels.csv, submission_format.csv, ...; without: every second',
    )
    parser.add_argument('--clips_down', help='folder of the downsampled clips')
    parser.add_argument('--clips_full', help='folder of the original clips')
    parser.add_argument('--out', required=True, help='folder of the data set')
    parser.add_argument('--n_folds', type=int, default=5)
    parser.add_argument('--seed', type=int, default=0, help='of the folds')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    parser.add_argument(
        '--delete_frames',
        choices=('True', 'False'),
        default='True',
        help='the frame store, when records are done',
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    # TensorFlow's and tfds' notes on themselves would bury ours; TensorFlow computes nothing here.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    absl.logging.set_verbosity('error')
    options = vars(_parse(arguments))
    options['delete_frames'] = options['delete_frames'] == 'True'
    try:
        problems = build(**options)
    except (ValueError, OSError, guard.WorkerError) as error:
        print(f'build failed: {str(error).strip().splitlines()[-1]}', file=sys.stderr)
        return 1
    where = f', see {options["out"]}/problems.csv' if problems else ''
    print(f'{len(problems)} problems{where}')
    return 3 if problems else 0


if __name__ == '__main__':
    raise SystemExit(main())
