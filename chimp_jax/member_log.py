"""What training writes of a member as it goes: metrics.csv, TensorBoard's events, member.json at its end."""

import datetime
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import pandas as pd
import tensorflow as tf
from etils import epath

from chimp_jax import checkpoint
from chimp_jax.data.processes import write_shared
from data_prep.inputs.tables import read_table

PACKAGES = ('chimp_jax', 'jax', 'jaxlib', 'libtpu', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow')


def write_metrics(folder: epath.Path, history: list[dict]) -> None:
    """metrics.csv, a row an epoch."""
    if history:
        write_shared(folder / 'metrics.csv', pd.DataFrame(history).to_csv(index=False))


def write_places(folder: epath.Path, records) -> None:
    """FOLDER/clips.csv: site and park of each clip, so that members tell them where the records are no longer.

    Nothing where the records do not tell.
    """
    path = epath.Path(records) / 'clips.csv'
    if path.exists():
        table = read_table(path, ['video_id', 'site', 'park'])
        write_shared(folder / 'clips.csv', table[['video_id', 'site', 'park']].to_csv(index=False))


def open_events(folder: epath.Path) -> tf.summary.SummaryWriter:
    """TensorBoard's event file of this start; of several processes the first writes it."""
    return tf.summary.create_file_writer(str(folder)) if jax.process_index() == 0 else tf.summary.create_noop_writer()


def write_events(writer: tf.summary.SummaryWriter, row: dict) -> None:
    """A row of the metrics for TensorBoard."""
    with writer.as_default(step=row['epoch']):
        for name, value in row.items():
            tf.summary.scalar(name, value)
    writer.flush()


def finish_member(folder: epath.Path, recipe: str, fold: int, folds: str, history: list[dict]) -> dict:
    """Writes member.json and returns what it says: the member is finished. folds: their digest."""
    best = checkpoint.best_epoch(history)
    member = {'recipe': recipe, 'fold': int(fold), 'best_epoch': best, 'val_mae': history[best - 1]['val_mae']}
    member['folds_sha256'] = folds
    write_shared(folder / 'member.json', json.dumps(member, indent=2) + '\n')
    return member


def note_start(folder: epath.Path) -> None:
    """Appends a row to FOLDER/run.json, a list with a row for each time that the run was started or resumed."""
    path = folder / 'run.json'
    rows = json.loads(path.read_text()) if path.exists() else []
    write_shared(path, json.dumps([*rows, describe_start()], indent=2) + '\n')


def describe_start() -> dict:
    """Time, command, git revision (None where there is none), versions, kind and number of devices and processes."""
    return {
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'command': shlex.join(sys.orig_argv),
        'git': git_revision(Path(__file__).resolve().parents[1]),
        'versions': {'python': platform.python_version()} | _versions(),
        'device_kind': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'processes': jax.process_count(),
    }


def git_revision(folder: Path) -> str | None:
    """The commit of the checkout that the folder is the root of, with '+changes' where files differ from it."""
    try:
        # The folder may lie in a checkout of something else, as site-packages do in people's projects.
        if _git(folder, 'rev-parse', '--show-prefix'):
            return None
        revision = _git(folder, 'rev-parse', 'HEAD')
        return revision + '+changes' * bool(_git(folder, 'status', '--porcelain', '--untracked-files=no'))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ['git', '-C', str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        for distribution in (name, f'{name}-cpu'):  # tensorflow-cpu is tensorflow
            try:
                found[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
