"""Trains the parts of one variant, in a process of its own: then its memory is the variant's alone."""

import logging

import numpy as np
import pandas as pd

from chimp_jax import predict
from chimp_jax.ablate.study import BASE, Study
from chimp_jax.data import processes
from chimp_jax.ensemble.prediction_tables import KEY, without_empty_animal
from chimp_jax.members import find_members
from chimp_jax.train import check_configs, train_recipe
from chimp_jax.trainer import TrainingError
from data_prep.lock import FolderInUse

log = logging.getLogger(__name__)


def train_variant(study: Study, name: str) -> None:
    """Trains or predicts the parts of a variant that are not finished. Parts that another run works on are left to it.

    Raises TrainingError after all other seeds if the training of one failed, ValueError if a config does not fit.
    """
    if study.variant(name).tta:
        _predict_variant(study, name)
        return
    failed = []
    for seed in range(study.n_seeds):
        config, folder = study.config(name, seed), study.seed_folder(seed)
        check_configs([config], folder)
        try:
            train_recipe(config, folder, skip_busy=True)
        except TrainingError as error:
            failed.append(f'seed {seed}: {error}')
    if failed:
        raise TrainingError('; '.join(failed))


def _predict_variant(study: Study, name: str) -> None:
    """Writes oof.csv of a test-time augmentation, from the base's members of each seed."""
    if study.left(BASE):
        raise ValueError(f'{name} predicts with the members of {BASE}, which are not finished; run the command again')
    operations = predict.operations(study.variant(name).tta)
    for seed, folder in enumerate(study.folders(name)):
        if (folder / 'oof.csv').exists():
            continue
        try:
            with processes.hold_shared(folder):
                members = [one for one in find_members(study.seed_folder(seed)) if one.recipe == BASE]
                records = study.base.data.records
                found = predict.predict_split(members, records, predict.OOF, folder / 'parts', operations)
                rows = pd.DataFrame(
                    {'distance': found.labels, 'prediction': found.members(augmented=True).mean(axis=1)}
                )
                # In float32, as oof.csv of training: equal labels are equal texts.
                rows = without_empty_animal(rows.dropna().astype(np.float32).rename_axis(KEY).reset_index())
                processes.write_shared(folder / 'oof.csv', rows.to_csv(index=False))
        except FolderInUse:
            log.info('%s of seed %d: another run works on it', name, seed)
