"""What training writes of a member as it goes: metrics.csv, TensorBoard's events, member.json at its end."""

import json

import jax
import pandas as pd
import tensorflow as tf
from etils import epath

from chimp_jax import checkpoint
from chimp_jax.ensemble.prediction_tables import read_cells
from chimp_jax.workdir import write_whole


def write_metrics(folder: epath.Path, history: list[dict]) -> None:
    """metrics.csv, a row an epoch."""
    if history:
        write_whole(folder / 'metrics.csv', pd.DataFrame(history).to_csv(index=False))


def write_places(folder: epath.Path, records) -> None:
    """FOLDER/clips.csv: site and park of each clip, so that members tell them where the records are no longer.

    Nothing where the records do not tell.
    """
    path = epath.Path(records) / 'clips.csv'
    if path.exists():
        table = read_cells(path, ['video_id', 'site', 'park'])
        write_whole(folder / 'clips.csv', table[['video_id', 'site', 'park']].to_csv(index=False))


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
    write_whole(folder / 'member.json', json.dumps(member, indent=2) + '\n')
    return member
