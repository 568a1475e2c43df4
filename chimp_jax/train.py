"""Training of members: a recipe's folds, one after the other, each resumable by epoch.

runs/<recipe>/config.json              the recipe's config; another config is refused
runs/<recipe>/clips.csv                site and park of the records' clips
runs/<recipe>/fold_<k>/run.json        command, git revision, versions and devices of each start
runs/<recipe>/fold_<k>/checkpoints/    orbax: the best epoch and the latest two
runs/<recipe>/fold_<k>/metrics.csv     one row an epoch; TensorBoard event files beside it
runs/<recipe>/fold_<k>/oof.csv         predictions of the best epoch for the rows this member did not train on
runs/<recipe>/fold_<k>/member.json     stands when the member is finished
"""

import json
import logging
from collections.abc import Sequence

import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from chimp_jax.data.folds import choose_folds, folds_digest, load_folds
from chimp_jax.data.processes import write_shared
from chimp_jax.members import read_config
from chimp_jax.trainer import Trainer, TrainingError
from chimp_jax.workdir import check_owner
from data_prep.records import split_sizes

log = logging.getLogger(__name__)


def train_recipes(configs: Sequence[ConfigDict], workdir, folds: list[int] | None = None) -> pd.DataFrame:
    """Trains the members of all recipes that are not finished yet; writes and returns the table of `cv_table`.

    A recipe whose training fails (a loss that is not finite) does not stop the others. Raises ValueError for a config
    or data that do not fit, of any recipe, before any training; TrainingError, when all others are done, with the
    recipes that failed.
    """
    for config in configs:
        split_sizes(config.data.records, config.data.stream)
        choose_folds(load_folds(config.data.records, config.data.folds, config.data.n_folds), folds)
        check_owner(epath.Path(workdir) / config.recipe, config)
    failed = []
    for number, config in enumerate(configs, 1):
        log.info('recipe %d of %d: %s', number, len(configs), config.recipe)
        try:
            train_recipe(config, workdir, folds)
        except TrainingError as error:
            log.error('%s: %s', config.recipe, error)
            failed.append(f'{config.recipe}: {error}')
    table = cv_table(configs, workdir)
    write_shared(epath.Path(workdir) / 'cv_mae.csv', table.to_csv(index=False))
    if failed:
        raise TrainingError('; '.join(failed))
    return table


def train_recipe(config: ConfigDict, workdir, folds: Sequence[int] | None = None) -> pd.DataFrame:
    """Trains the members of one recipe that are not finished yet; returns (recipe, fold, best_epoch, val_mae).

    folds: which ones, all by default. Raises ValueError for a config or data that do not fit, before any training.
    """
    folder = epath.Path(workdir) / config.recipe
    all_folds = load_folds(config.data.records, config.data.folds, config.data.n_folds)
    chosen = choose_folds(all_folds, folds)
    check_owner(folder, config)
    rows = []
    trainer = None
    for done, fold in enumerate(chosen):
        marker = folder / f'fold_{fold.number}' / 'member.json'
        if marker.exists():
            log.info('%s fold %d is finished', config.recipe, fold.number)
            rows.append(json.loads(marker.read_text()))
        else:
            trainer = trainer or Trainer(config, folds_digest(all_folds))
            rows.append(trainer.train_member(marker.parent, fold, members_left=len(chosen) - done))
    return pd.DataFrame(rows)


def cv_table(configs: Sequence[ConfigDict], workdir) -> pd.DataFrame:
    """A row a recipe, of the configs and of whatever else was trained in workdir: recipe, folds ('clip' or 'site'),
    members (that are finished, whatever command trained them), n_folds, cv_mae (the mean of their validation MAEs,
    metres; NaN without any)."""
    workdir = epath.Path(workdir)
    known = {config.recipe: config.data for config in configs}
    for path in sorted(workdir.glob('*/config.json')):
        stored = read_config(path.parent)
        known.setdefault(stored.recipe, stored.data)
    rows = []
    for recipe, data in known.items():
        markers = (workdir / recipe).glob('fold_*/member.json')
        errors = pd.Series([json.loads(marker.read_text())['val_mae'] for marker in markers], dtype=float)
        rows.append((recipe, data.folds, len(errors), data.n_folds, errors.mean()))
    return pd.DataFrame(rows, columns=['recipe', 'folds', 'members', 'n_folds', 'cv_mae'])
