"""Finished members on disk: their configs, weights and out-of-fold (OOF) predictions.

This file imports neither TensorFlow nor JAX, because their imports take seconds.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath
from ml_collections import ConfigDict

from chimp_jax.configs import base
from chimp_jax.ensemble.prediction_tables import BOX, KEY, first_key, join_predictions, read_predictions, with_animal
from data_prep.enhance.spec import AUTO, OFF, parse_enhancement
from data_prep.files import read_json
from data_prep.inputs.tables import numbers_of, read_table, seconds_of


class Member(NamedTuple):
    """One finished member: a recipe trained on all clips but those of one fold."""

    recipe: str
    fold: int
    best_epoch: int
    folds_sha256: str  # of the fold assignment
    config: ConfigDict
    folder: epath.Path
    simulated: bool = False  # trained on clips of data_prep.simulate alone
    enhance: str = ''  # how the `full` frames of its records were enhanced (data_prep.build --enhance); '': not at all
    gamma: str = ''  # the --gamma of its records; '': unknown, as of imported members and older ones
    sampling: str = ''  # the --sampling of its records; '': unknown, too
    weights_sha256: str = ''  # of the weights file that it was imported from; '' if this project trained it

    @property
    def name(self) -> str:
        return f'{self.recipe}/fold_{self.fold}'

    @property
    def hears(self) -> bool:
        """Whether the member hears the sound of the clips."""
        return bool(self.config.model.audio)

    @property
    def sees_full(self) -> bool:
        """Whether the member sees `full` frames, which depend on how the records were made."""
        return self.config.data.stream == 'full' and self.config.model.audio != 'alone'

    @property
    def network(self) -> str:
        """Where the SHA-256 of the network begins that enhanced the member's pictures, '' without one."""
        found = re.search('network=([0-9a-f]+)', self.enhance) if self.sees_full else None
        return found[1] if found else ''

    @property
    def has_no_oof(self) -> bool:
        """Whether the member has no out-of-fold predictions because it was imported, not because a file is missing."""
        return bool(self.weights_sha256) and not (self.folder / 'oof.csv').exists()

    def weights(self) -> dict[str, Any]:
        """Returns {'params', 'batch_stats'} of the best epoch."""
        from chimp_jax import checkpoint  # and with it orbax and JAX

        return checkpoint.restore_weights(self.folder / 'checkpoints', self.best_epoch)

    def fingerprint(self) -> str:
        """Returns a text with everything the member's predictions depend on, besides the clips."""
        stored = ConfigDict(json.loads((self.folder.parent / 'config.json').read_text()))
        return (self.folder / 'member.json').read_text() + stored.to_json_best_effort()


def identities(members: Iterable[Member]) -> dict[str, str]:
    """Returns {name: hash of everything the member's predictions depend on, besides the clips}."""
    return {member.name: hashlib.sha256(member.fingerprint().encode()).hexdigest()[:20] for member in members}


def choose_enhancement(found: Sequence[Member], asked: str | None) -> str:
    """Returns the --enhance with which the members' pictures are made: that of their records.

    asked: of the user, None if it was not given. The members of the stream `down` see no enhanced pictures. Raises
    ValueError if members or the user differ, or if the user must name the file of a network.
    """
    wanted = _of_full_members(found, 'enhance') or OFF
    network = re.search('network=([0-9a-f]+)', wanted)
    if asked is not None and str(parse_enhancement(asked) or OFF) == wanted:
        return asked
    if network:
        spec = wanted.replace(network[0], 'network=FILE')
        raise ValueError(
            f'the members were trained on records that a network enhanced; give --enhance={spec}, where FILE is the '
            f'network whose SHA-256 begins with {network[1]}; its owner made it with python -m chimp_jax.enhance'
        )
    if asked is not None:
        raise ValueError(
            f'--enhance={asked} differs from the records of the members, which were made with {wanted}; leave the flag '
            'out'
        )
    return wanted


def choose_gamma(found: Sequence[Member]) -> str:
    """Returns the --gamma with which the members' pictures are made: that of their records, 'auto' if it is unknown.

    The members of the stream `down` see no corrected pictures. Raises ValueError if members differ.
    """
    return _of_full_members([member for member in found if member.gamma], 'gamma') or AUTO


def choose_sampling(found: Sequence[Member]) -> str:
    """Returns the --sampling with which the members' pictures are cut: that of their records, else 'timestamp'.

    The members of the stream `down` see pictures cut by timestamp. Raises ValueError if members differ.
    """
    return _of_full_members([member for member in found if member.sampling], 'sampling') or 'timestamp'


def _of_full_members(found: Sequence[Member], option: str) -> str:
    """Returns the option of the records of all members that see `full` frames, '' without such a member.

    Raises ValueError if members differ.
    """
    names = {getattr(member, option): member.name for member in found if member.sees_full}
    if len(names) > 1:
        (one, name), (other, other_name) = sorted(names.items())[:2]
        raise ValueError(
            f'{name} was trained on records with --{option}={one or OFF}, {other_name} with --{option}={other}; put '
            'the members of each into a folder of their own'
        )
    return next(iter(names), '')


def check_records(found: Sequence[Member], records) -> None:
    """Raises ValueError if records were made otherwise than those of a member's training.

    Compares how the `full` frames were enhanced, corrected and cut, and whether the records have the sound that a
    member hears. What dataset.json or an older member does not tell is not compared.
    """
    made = (read_json(epath.Path(records) / 'dataset.json') or {}).get('options', {})
    for member in found:
        pairs = [
            ('enhance', made.get('enhance') or OFF, member.enhance or OFF),
            ('gamma', made.get('gamma'), member.gamma),
            ('sampling', made.get('sampling'), member.sampling),
        ]
        for option, here, there in pairs if member.sees_full else ():
            if here and there and here != there:
                raise ValueError(
                    f'{records} was prepared with --{option}={here}, and {member.name} was trained on records with '
                    f'--{option}={there}; prepare these clips again as those of the member'
                )
        if made and member.hears and not made.get('audio'):
            raise ValueError(
                f'{member.name} hears the sound of the clips, and {records} was prepared without; prepare these clips '
                'again with python -m data_prep.build --audio and another --out'
            )


def find_members(runs) -> list[Member]:
    """Returns the finished members below RUNS, sorted. Raises ValueError if there is none or one is damaged."""
    found = []
    for marker in epath.Path(runs).glob('*/fold_*/member.json'):
        try:
            member = json.loads(marker.read_text())
            config = read_config(marker.parent.parent)
            fields = {name: member[name] for name in ('recipe', 'fold', 'best_epoch', 'folds_sha256')}
            simulated = member.get('simulated') is True  # absent in members of version 0.1
            texts = {name: str(member.get(name, '')) for name in ('enhance', 'gamma', 'sampling', 'weights_sha256')}
            found.append(Member(**fields, config=config, folder=marker.parent, simulated=simulated, **texts))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{marker} or the config.json above it is damaged: {error!r}; train it again') from error
    if not found:
        raise ValueError(
            f'{runs} holds no finished member (RECIPE/fold_K/member.json); train one with train.py, or get one with: '
            'chimp-distance fetch published'
        )
    return sorted(found, key=lambda member: (member.recipe, member.fold))


def read_config(folder: epath.Path) -> ConfigDict:
    """Returns the config in FOLDER/config.json, with the fields that configs have today.

    Version 0.1 kept config.start (`init` and `output_bias`) in config.model. It accepted float64, and float16 without
    loss scaling. Its weights are float32 whatever the dtype, so its members of these dtypes are computed in float32.
    """
    return as_config(json.loads((folder / 'config.json').read_text()))


def as_config(config: dict[str, Any]) -> ConfigDict:
    """Returns the content of a config.json with the fields that configs have today. See read_config."""
    if 'start' not in config:
        if config['model'].get('dtype') in ('float16', 'float64'):
            config['model']['dtype'] = 'float32'
        config['start'] = {name: config['model'].pop(name) for name in ('init', 'output_bias')}
    config['model'].setdefault('regions', False)  # members before version 1.2 had no region branch
    config['data'].setdefault('most_animals', 3)
    config['data'].setdefault('composite_probability', 0.0)
    for name, value in (('teacher', ''), ('teacher_share', 0.5), ('unlabelled', '')):  # older members
        config['data'].setdefault(name, value)
    config['train'].setdefault('frozen', '')  # members before version 1.3 trained all weights
    config['train'].setdefault('save_minutes', 10.0)
    config['model'].setdefault('audio', '')
    config['model'].setdefault('temporal', 'lstm')  # and had an LSTM and the published loss
    config['train'].setdefault('loss', 'mae')
    config['train'].setdefault('bin_edges_m', base.get_config().train.bin_edges_m)
    return ConfigDict(config)


def load_fold(recipe_folder, fold: int, folds: str, n_folds: int) -> dict[str, Any]:
    """Returns the weights of another recipe's member of the same fold, to start from.

    Raises ValueError if there is no such member, or if its folds differ: it would have seen validation rows of the new
    member.
    """
    found = [member for member in find_members(epath.Path(recipe_folder).parent) if member.fold == fold]
    found = [member for member in found if member.recipe == epath.Path(recipe_folder).name]
    if not found:
        raise ValueError(f'{recipe_folder} holds no finished member of fold {fold} to start from; train it first')
    theirs = found[0].config.data
    if (theirs.folds, theirs.n_folds) != (folds, n_folds):
        raise ValueError(f'{recipe_folder} has {theirs.n_folds} {theirs.folds} folds, not {n_folds} {folds} folds')
    return found[0].weights()


def read_oof(members: list[Member]) -> tuple[pd.DataFrame, pd.Series]:
    """Returns OOF predictions [rows, recipes] indexed by KEY, and the labels of these rows, in metres.

    A row's prediction comes from the fold that did not train on its clip. Rows and columns are sorted, so the order of
    members and of their rows has no effect. Raises ValueError with the name of the member or recipe if a member has no
    oof.csv, a key occurs twice, a distance is not finite, or the recipes differ in their rows or labels.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for member in sorted(members, key=lambda member: (member.recipe, member.fold)):
        path = member.folder / 'oof.csv'
        if not path.exists():
            why = 'because it was imported: ' if member.has_no_oof else f'({path}): train it with train.py, or '
            raise ValueError(
                f'{member.name} has no out-of-fold predictions {why}combine without them (mean, median, published or a '
                'weights.json)'
            )
        tables.setdefault(member.recipe, []).append(read_predictions(path, ['distance', 'prediction']))
    rows = {recipe: pd.concat(parts) for recipe, parts in tables.items()}
    try:
        predictions = join_predictions(
            {recipe: table.assign(distance=table['prediction']) for recipe, table in rows.items()}
        )
    except ValueError as error:
        raise ValueError(
            f'{error}. If the recipes were trained on different labels, combine them without their out-of-fold '
            'predictions: --weights mean'
        ) from None
    labels = join_predictions({f'labels of {recipe}': table for recipe, table in rows.items()})
    first = labels.iloc[:, 0]
    for name, column in labels.items():
        different = labels.index[column != first]
        if len(different):
            raise ValueError(f'{name} are not the {first.name}: {first_key(different)}; train both on the same records')
    return predictions, first.rename('distance')


def read_oof_feet(members: list[Member], index: pd.MultiIndex) -> np.ndarray:
    """Returns the foot of the animal's box in each OOF row, [n, 2]: column and row as shares of the picture.

    index: KEY of the rows. NaN where the records had no box. Members of version 0.1 kept no boxes.
    """
    feet = pd.DataFrame(np.nan, index, ['x', 'y'])
    for member in members:
        table = read_table(member.folder / 'oof.csv', numbers=['time', *BOX])
        if set(BOX) <= set(table):
            table = with_animal(table).assign(time=seconds_of(table, member.name))
            keys = pd.MultiIndex.from_frame(table[KEY])
            left, top, width, height = (numbers_of(table, name, member.name).to_numpy() for name in BOX)
            found = pd.DataFrame({'x': left + width / 2, 'y': top + height}, keys)
            feet = feet.fillna(found.reindex(index))
    return feet.to_numpy(float)
