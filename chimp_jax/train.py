"""Training of members: the folds of one recipe or several, one after the other, each resumable by epoch.

runs/<recipe>/config.json              the recipe's config; a different config is refused
runs/<recipe>/clips.csv                site and park of the records' clips
runs/<recipe>/fold_<k>/run.json        command, git revision, versions and devices of each start
runs/<recipe>/fold_<k>/checkpoints/    orbax: the best epoch and the latest two
runs/<recipe>/fold_<k>/metrics.csv     one row per epoch; TensorBoard event files beside it
runs/<recipe>/fold_<k>/costs.csv       one row per epoch: seconds and memory, which no two runs have equal
runs/<recipe>/fold_<k>/oof.csv         out-of-fold predictions of the best epoch
runs/<recipe>/fold_<k>/member.json     written last, when training has finished
runs/<recipe>/fold_<k>/running.lock    present while a run trains this member
"""

import logging
from collections.abc import Sequence

import jax
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from chimp_jax.data import processes
from chimp_jax.data.folds import Fold, choose_folds, folds_digest, load_folds
from chimp_jax.members import as_config
from chimp_jax.trainer import Trainer, TrainingError
from chimp_jax.training.config_checks import check_configs
from chimp_jax.workdir import check_owner
from data_prep.files import OLD_S, read_json
from data_prep.lock import FolderInUse
from data_prep.progress import Progress
from data_prep.records import split_sizes

log = logging.getLogger(__name__)


def train_recipes(configs: Sequence[ConfigDict], workdir, folds: Sequence[int] | None = None) -> pd.DataFrame:
    """Trains the members of all recipes that are not finished yet. Writes and returns the table of `cv_table`.

    If the training of one recipe fails (a loss that is not finite), the others still run. Raises ValueError before any
    training if a config or the data do not fit, TrainingError with the failed recipes after all others have run.
    """
    check_configs(configs, workdir)
    for config in configs:
        split_sizes(config.data.records, config.data.stream)
    progress = _open_progress(configs, folds)
    failed = []
    for number, config in enumerate(configs, 1):
        log.info('recipe %d of %d: %s', number, len(configs), config.recipe)
        try:
            train_recipe(config, workdir, folds, progress)
        except TrainingError as error:
            log.error('%s: %s', config.recipe, error)
            progress.advance(0, problems=1)
            failed.append(f'{config.recipe}: {error}')
    progress.close()
    table = cv_table(configs, workdir)
    processes.write_shared(epath.Path(workdir) / 'cv_mae.csv', table.to_csv(index=False))
    for folder in {epath.Path(workdir), *(epath.Path(workdir) / config.recipe for config in configs)}:
        processes.clean_shared(folder, deep=False, older_s=OLD_S)
    if failed:
        raise TrainingError('; '.join(failed))
    return table


def train_recipe(
    config: ConfigDict,
    workdir,
    folds: Sequence[int] | None = None,
    progress: Progress | None = None,
    skip_busy: bool = False,
) -> pd.DataFrame:
    """Trains the members of one recipe that are not finished yet.

    Returns a row (recipe, fold, best_epoch, val_mae) for each member.
    folds: their numbers, all by default. progress counts epochs; by default the recipe opens its own.
    skip_busy: leaves a member that another run trains to that run; else FolderInUse is raised.
    Raises ValueError before any training if the config or the data do not fit.
    """
    folder = epath.Path(workdir) / config.recipe
    all_folds = load_folds(config.data.records, config.data.folds, config.data.n_folds)
    chosen = choose_folds(all_folds, folds)
    check_owner(folder, config)
    progress = progress or _open_progress([config], folds)
    rows = []
    trainer = None
    for fold in chosen:
        member_folder = folder / f'fold_{fold.number}'
        if row := _finished(member_folder):
            log.info('%s fold %d is finished', config.recipe, fold.number)
            progress.skip(config.train.epochs, work=config.train.epochs)
            rows.append(row)
            continue
        try:
            with processes.hold_shared(member_folder):
                row = _finished(member_folder)  # by another run, between the look above and the lock
                if row is None:
                    trainer = trainer or Trainer(config, folds_digest(all_folds))
                    row = trainer.train_member(member_folder, fold, progress)
                    processes.clean_shared(member_folder)
                rows.append(row)
        except FolderInUse as busy:
            if not skip_busy:
                raise
            log.info('%s fold %d is left to another run: %s', config.recipe, fold.number, busy)
            progress.skip(config.train.epochs, work=config.train.epochs)
    return pd.DataFrame(rows)


def cv_table(configs: Sequence[ConfigDict], workdir) -> pd.DataFrame:
    """Returns a row per recipe, for the configs and for all other recipes that were trained in workdir.

    Columns: recipe; folds (config.data.folds); members, the finished ones, whatever command trained them; n_folds;
    cv_mae, the mean of their validation MAEs in metres, NaN without any or if one is unknown, as of imported weights.
    """
    workdir = epath.Path(workdir)
    known = {config.recipe: config.data for config in configs}
    for path in sorted(workdir.glob('*/config.json')):
        if content := read_json(path):
            stored = as_config(content)
            known.setdefault(stored.recipe, stored.data)
    rows = []
    for recipe, data in known.items():
        members = map(_finished, (workdir / recipe).glob('fold_*'))
        errors = pd.Series([member['val_mae'] for member in members if member], dtype=float)
        rows.append((recipe, data.folds, len(errors), data.n_folds, errors.mean(skipna=False)))
    return pd.DataFrame(rows, columns=['recipe', 'folds', 'members', 'n_folds', 'cv_mae'])


def _finished(folder: epath.Path) -> dict | None:
    """Returns the content of a member's member.json, None if the member is not finished."""
    return read_json(folder / 'member.json')


def _open_progress(configs: Sequence[ConfigDict], folds: Sequence[int] | None) -> Progress:
    """Returns one bar over all members of a command. It counts epochs; with several processes the first one shows it.

    Raises ValueError if the records of a config lack one of the folds.
    """
    n_epochs = sum(len(_chosen(config, folds)) * config.train.epochs for config in configs)
    shown = n_epochs if jax.process_index() == 0 else 0
    return Progress('train', shown, 'epochs', work=float(shown))


def _chosen(config: ConfigDict, folds: Sequence[int] | None) -> list[Fold]:
    return choose_folds(load_folds(config.data.records, config.data.folds, config.data.n_folds), folds)
