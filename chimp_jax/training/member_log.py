"""The files that training writes beside the checkpoints.

metrics.csv, costs.csv, TensorBoard events, run.json, member.json.
"""

import datetime
import importlib.metadata
import json
import platform
import resource
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
from data_prep.files import read_json
from data_prep.inputs.tables import read_table

COSTS = ['epoch', 'seconds', 'memory_mb']  # columns of costs.csv
PACKAGES = ('chimp_jax', 'jax', 'jaxlib', 'libtpu', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow')


def write_metrics(folder: epath.Path, history: list[dict]) -> None:
    """Writes metrics.csv, one row per epoch; nothing before the first epoch."""
    if history:
        write_shared(folder / 'metrics.csv', pd.DataFrame(history).to_csv(index=False))


def note_cost(folder: epath.Path, epoch: int, seconds: float) -> None:
    """Adds a row to FOLDER/costs.csv: the wall-clock seconds of an epoch with its validation, and `peak_memory_mb`.

    An epoch that is trained again after a kill replaces its row; if it resumed within, the row has the seconds since. A
    kill just before this call leaves a row out.
    """
    path = folder / 'costs.csv'
    before = read_table(path, COSTS).astype(str) if path.exists() else pd.DataFrame(columns=COSTS)
    row = dict(zip(COSTS, (str(epoch), f'{seconds:.3f}', f'{peak_memory_mb():.0f}'), strict=True))
    rows = pd.concat([before[before['epoch'] != row['epoch']], pd.DataFrame([row])])
    write_shared(path, rows.to_csv(index=False))


def peak_memory_mb() -> float:
    """Returns the most memory that this process has used: of its accelerators or, without any, of the machine. MB."""
    statistics = [device.memory_stats() or {} for device in jax.local_devices()]
    if all('peak_bytes_in_use' in found for found in statistics):
        return sum(found['peak_bytes_in_use'] for found in statistics) / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1e6 if sys.platform == 'darwin' else most * 1024 / 1e6  # macOS counts bytes, Linux KiB


def write_places(folder: epath.Path, records) -> None:
    """Writes FOLDER/clips.csv, site and park of each clip, so they are known after the records are deleted.

    Writes nothing if the records have no clips.csv.
    """
    path = epath.Path(records) / 'clips.csv'
    if path.exists():
        columns = ['video_id', 'site', 'park']
        write_shared(folder / 'clips.csv', read_table(path, columns)[columns].to_csv(index=False))


def open_events(folder: epath.Path) -> tf.summary.SummaryWriter:
    """Returns the writer of this start's TensorBoard event file. With several processes only the first writes."""
    return tf.summary.create_file_writer(str(folder)) if jax.process_index() == 0 else tf.summary.create_noop_writer()


def write_events(writer: tf.summary.SummaryWriter, row: dict) -> None:
    """Writes a row of the metrics for TensorBoard."""
    with writer.as_default(step=row['epoch']):
        for name, value in row.items():
            tf.summary.scalar(name, value)
    writer.flush()


def finish_member(folder: epath.Path, recipe: str, fold: int, folds: str, history: list[dict], records) -> dict:
    """Writes member.json, which marks the member as finished, and returns its content. folds: their digest.

    If dataset.json of the records says so, the content has simulated: true, and how the frames were enhanced,
    gamma-corrected and cut.
    """
    best = checkpoint.best_epoch(history)
    member = {'recipe': recipe, 'fold': int(fold), 'best_epoch': best, 'val_mae': history[best - 1]['val_mae']}
    member['folds_sha256'] = folds
    about = read_json(epath.Path(records) / 'dataset.json') or {}
    if about.get('simulated') is True:
        member['simulated'] = True  # the report warns of a member that has seen no real animal
    options = about.get('options', {})
    kept = ('enhance', 'gamma', 'sampling')  # as predictions need them
    member |= {name: options[name] for name in kept if name in options}
    write_shared(folder / 'member.json', json.dumps(member, indent=2) + '\n')
    return member


def note_start(folder: epath.Path) -> None:
    """Appends a row to FOLDER/run.json, a list with one row per start or resume of the training."""
    path = folder / 'run.json'
    rows = read_json(path) or []
    write_shared(path, json.dumps([*rows, describe_start()], indent=2) + '\n')


def describe_start() -> dict:
    """Returns time, command, git revision (or None), versions, kind and number of devices, number of processes."""
    return {
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'command': shlex.join(sys.orig_argv),
        'git': git_revision(Path(__file__).resolve().parents[1]),
        'versions': {'python': platform.python_version()} | program_versions(),
        'device_kind': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'processes': jax.process_count(),
    }


def git_revision(folder: Path) -> str | None:
    """Returns the commit of the checkout whose root is the folder, with '+changes' if files differ from it, or None."""
    try:
        # The folder may be inside a checkout of another project, as site-packages often are.
        if _git(folder, 'rev-parse', '--show-prefix'):
            return None
        revision = _git(folder, 'rev-parse', 'HEAD')
        return revision + '+changes' * bool(_git(folder, 'status', '--porcelain', '--untracked-files=no'))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ['git', '-C', str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def program_versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        for distribution in (name, f'{name}-cpu'):  # tensorflow-cpu is tensorflow
            try:
                found[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
