"""The JSON beside the records: what they hold, how they were made, and checksums."""

import importlib.metadata
import platform
import shlex
import sys

import pandas as pd
from etils import epath

from data_prep.files import sha256
from data_prep.records import NAME, STREAMS, VERSION, describe_features

_PACKAGES = ('av', 'numpy', 'pandas', 'pillow', 'tensorflow-datasets')


def describe_data_set(out: epath.Path, options: dict, counts: dict, clips: pd.DataFrame, n_problems: int) -> dict:
    """counts: {stream: {split: clips}}; clips: clips.csv. Checksums are SHA-256 of whole files."""
    files = [out / 'clips.csv', out / 'folds.csv', out / 'problems.csv', *(out / NAME).glob('*/*/*')]
    return {
        'what': 'TFRecord shards written by tensorflow-datasets, one tf.train.Example a clip',
        'records': {stream: f'{NAME}/{stream}/{VERSION}' for stream in STREAMS},
        'features': describe_features(),
        'clips': counts,
        'targets': {split: int(n) for split, n in clips.groupby('split')['n_targets'].sum().items()},
        'problems': n_problems,
        'sha256': {str(file.relative_to(out)): sha256(file) for file in sorted(files) if file.exists()},
        'versions': {'python': platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        'options': options,
        'command': shlex.join(['python', '-m', 'data_prep.build', *sys.argv[1:]]),
    }
