"""Members on disk: their metrics; which are trained, their configs, weights and out-of-fold (OOF) predictions."""

import json
from typing import Any, NamedTuple

import jax
import pandas as pd
import tensorflow as tf
from etils import epath
from ml_collections import ConfigDict

from chimp_jax import checkpoint
from chimp_jax.ensemble import KEY, join_predictions
from chimp_jax.workdir import write_whole


class Member(NamedTuple):
    """One finished member: a recipe trained on the other clips than those of one fold."""

    recipe: str
    fold: int
    best_epoch: int
    folds_sha256: str  # which clip was in which fold
    config: ConfigDict
    folder: epath.Path

    @property
    def name(self) -> str:
        return f'{self.recipe}/fold_{self.fold}'

    def weights(self) -> dict[str, Any]:
        """{'params', 'batch_stats'} of the best epoch."""
        return checkpoint.restore_weights(self.folder / 'checkpoints', self.best_epoch)

    def fingerprint(self) -> str:
        """What its predictions depend on, besides the clips."""
        return (self.folder / 'member.json').read_text() + self.config.to_json_best_effort()


def write_metrics(folder: epath.Path, history: list[dict]) -> None:
    """metrics.csv, a row an epoch."""
    if history:
        write_whole(folder / 'metrics.csv', pd.DataFrame(history).to_csv(index=False))


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


def find_members(runs) -> list[Member]:
    """The finished members below RUNS, by recipe and fold. Raises ValueError where there is none."""
    found = []
    for marker in epath.Path(runs).glob('*/fold_*/member.json'):
        member = json.loads(marker.read_text())
        said = {name: member.get(name, '') for name in ('recipe', 'fold', 'best_epoch', 'folds_sha256')}
        config = ConfigDict(json.loads((marker.parent.parent / 'config.json').read_text()))
        found.append(Member(**said, config=config, folder=marker.parent))
    if not found:
        raise ValueError(f'{runs} holds no finished member (RECIPE/fold_K/member.json); train one with train.py')
    return sorted(found, key=lambda member: (member.recipe, member.fold))


def load_fold(recipe_folder, fold: int, folds: str, n_folds: int) -> dict[str, Any]:
    """Weights of another recipe's member for the same fold, to start from.

    Raises ValueError where it is not there, or where its folds are of another kind: it would have seen the rows that
    the new member is to be judged by.
    """
    found = [member for member in find_members(epath.Path(recipe_folder).parent) if member.fold == fold]
    found = [member for member in found if member.recipe == epath.Path(recipe_folder).name]
    if not found:
        raise ValueError(f'{recipe_folder} holds no finished member of fold {fold} to start from')
    theirs = found[0].config.data
    if (theirs.folds, theirs.n_folds) != (folds, n_folds):
        raise ValueError(f'{recipe_folder} has {theirs.n_folds} {theirs.folds} folds, not {n_folds} {folds} folds')
    return found[0].weights()


def read_oof(members: list[Member]) -> tuple[pd.DataFrame, pd.Series]:
    """OOF predictions [rows, recipes] indexed by (video_id, time), and the labels of the same rows, in metres.

    A row's prediction comes from the fold that did not train on its clip. Raises ValueError where the recipes do
    not cover the same rows.
    """
    tables: dict[str, pd.DataFrame] = {}
    for recipe in sorted({member.recipe for member in members}):
        parts = []
        for member in members:
            if member.recipe == recipe:
                with (member.folder / 'oof.csv').open() as file:
                    parts.append(pd.read_csv(file))
        tables[recipe] = pd.concat(parts)
    joined = join_predictions(
        {
            recipe: table.drop(columns='distance').rename(columns={'prediction': 'distance'})
            for recipe, table in tables.items()
        }
    )
    labels = next(iter(tables.values())).set_index(KEY)['distance']
    return joined, labels.reindex(joined.index)
