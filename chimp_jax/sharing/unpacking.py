"""Adds the members of a package to a folder. Nothing in a package is executed, and everything is checked first."""

import datetime
import json
import math
import re
from typing import NamedTuple

import flax.traverse_util
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from chimp_jax.configs import base
from chimp_jax.ensemble.prediction_tables import KEY, read_predictions
from chimp_jax.field.status import CLIPS
from chimp_jax.members import Member, as_config, find_members
from chimp_jax.models.weight_files import read_safetensors
from chimp_jax.sharing.model_shapes import fitted_variables, weight_shapes
from chimp_jax.sharing.new_member import (
    MEMBER,
    OOF,
    PROVENANCE,
    NewMember,
    check_free,
    is_finished_member,
    write_member,
)
from chimp_jax.sharing.package import WEIGHTS, OpenPackage, PackageError, check_all, open_file, open_package
from chimp_jax.training.member_log import program_versions
from chimp_jax.workdir import check_owner
from data_prep.files import failure_line, sha256, write_whole
from data_prep.inputs.tables import read_table
from data_prep.lock import hold
from data_prep.progress import Progress

_REMEDY = 'unpack it into another folder with --out'
_CARD = 'model_card.md'
# Fields that a stranger's config must not choose freely: (least, most).
_LIMITS = {
    'n_frames': (1, 99),
    'step_s': (1, 60),
    'size_px': (32, 4096),
    'n_folds': (1, 1000),
    'most_animals': (0, 100),
}


class Unpacked(NamedTuple):
    """What an unpacking has done, as RECIPE/fold_K."""

    new: list[str]
    there: list[str]  # equal members that were there already


def unpack(path, out) -> Unpacked:
    """Adds all members of the package to the folder `out`. A killed run is finished by the same command.

    Raises ValueError, before anything is written, if the package is damaged or hostile, or if another member has one of
    the places.
    """
    out = epath.Path(out)
    with open_file(path) as file:
        package = open_package(file, str(path))
        with Progress('check', len(package.manifest['entries']), 'files', passing=True) as progress:
            for _ in check_all(package):
                progress.advance(1)
        places = [(recipe, fold) for recipe in package.recipes() for fold in package.folds(recipe)]
        _check_complete(package, {_name(*place) for place in places})
        if not places:
            raise PackageError(f'{path} holds no member; ask for the package again')
        there = [place for place in places if _is_there(package, out, *place)]
        new = [place for place in places if place not in there]
        origin = {'file': epath.Path(path).name, 'sha256': sha256(path)}
        with Progress('unpack', len(new), 'members') as progress:
            for recipe, fold in new:
                _add_member(package, out, recipe, fold, origin)
                progress.advance(1)
    return Unpacked([_name(*place) for place in new], [_name(*place) for place in there])


def _check_complete(package: OpenPackage, members: set[str]) -> None:
    """Raises PackageError if a file belongs to a member without a member.json."""
    for name in package.manifest['entries']:
        folder = name.rpartition('/')[0]
        if '/fold_' in folder and folder not in members:
            raise PackageError(f'{package.path} has {name} without {folder}/{MEMBER}; ask for the package again')


def _name(recipe: str, fold: int) -> str:
    return f'{recipe}/fold_{fold}'


def _is_there(package: OpenPackage, out: epath.Path, recipe: str, fold: int) -> bool:
    """Returns whether an equal member is in OUT. Raises ValueError if the member cannot be used or added."""
    mine = read_member(package, recipe, fold)
    folder = out / recipe / f'fold_{fold}'
    check_owner(folder.parent, mine.config, _REMEDY)
    _check_places(package, folder.parent, recipe)
    if not is_finished_member(folder):
        check_free(folder)
        return False
    (member,) = (one for one in find_members(out) if one.folder == folder)
    different = _difference(member, mine)
    if different:
        raise ValueError(f"{folder} is another member than the package's ({different} differs); {_REMEDY}")
    return True


def _difference(member: Member, mine: NewMember) -> str:
    """Returns in which file a finished member differs from one of a package, '' if they are equal."""
    if json.loads((member.folder / MEMBER).read_text()) != json.loads(mine.description):
        return MEMBER
    oof = member.folder / OOF
    if (oof.read_bytes() if oof.exists() else None) != mine.oof:
        return OOF
    theirs, ours = (flax.traverse_util.flatten_dict(tree) for tree in (member.weights(), mine.weights))
    equal = theirs.keys() == ours.keys() and all(np.array_equal(theirs[name], ours[name]) for name in ours)
    return '' if equal else 'the weights'


def _check_places(package: OpenPackage, folder: epath.Path, recipe: str) -> None:
    """Raises ValueError if the sites of the recipe's clips are other ones in the folder, or cannot be read."""
    name, path = f'{recipe}/{CLIPS}', folder / CLIPS
    content = package.read(name) if package.has(name) else None
    if content is not None:
        read_table(f'{package.path}:{name}', ['video_id', 'site', 'park'], data=content)
    if path.exists() and path.read_bytes() != content:
        raise ValueError(f"{path} is another table than the package's; {_REMEDY}")


def _add_member(package: OpenPackage, out: epath.Path, recipe: str, fold: int, origin: dict) -> None:
    mine = read_member(package, recipe, fold)
    folder = out / recipe / f'fold_{fold}'
    before = package.read_json(f'{_name(recipe, fold)}/{PROVENANCE}') if mine.provenance else None
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    provenance = {'package': origin, 'date': now, 'versions': program_versions()}
    with hold(folder):
        check_owner(folder.parent, mine.config, _REMEDY)
        for name in (CLIPS, _CARD):
            if package.has(f'{recipe}/{name}'):
                write_whole(folder.parent / name, package.read(f'{recipe}/{name}'))
        write_member(folder, mine._replace(provenance=provenance | ({'before': before} if before else {})))


def read_member(package: OpenPackage, recipe: str, fold: int) -> NewMember:
    """Returns a member of a package after all its parts have been checked. Raises ValueError, in one line."""
    place = _name(recipe, fold)
    config = _checked_config(package.read_json(f'{recipe}/config.json'), recipe, package.path)
    description = package.read(f'{place}/{MEMBER}').decode(errors='replace')
    _check_description(package.read_json(f'{place}/{MEMBER}'), recipe, fold, f'{place}/{MEMBER} in {package.path}')
    source = f'{place}/{WEIGHTS} in {package.path}'
    arrays = read_safetensors(package.read(f'{place}/{WEIGHTS}'), source)
    other = sorted({str(array.dtype) for array in arrays.values()} - {'float32'})
    if other:
        raise PackageError(f'{source} holds {", ".join(other)}, not float32; ask for the package again')
    weights = fitted_variables(config.model, arrays, source, '; ask for the package again')
    oof = package.read(f'{place}/{OOF}') if package.has(f'{place}/{OOF}') else None
    if oof is not None:
        _check_oof(oof, f'{package.path}:{place}/{OOF}')
    provenance = package.read_json(f'{place}/{PROVENANCE}') if package.has(f'{place}/{PROVENANCE}') else {}
    return NewMember(config, description, weights, provenance, oof)


def _checked_config(content: dict, recipe: str, path: str) -> ConfigDict:
    """Returns a stranger's config. Raises PackageError if its model or its windows cannot be used."""
    try:
        config = as_config(content)
        data, model = config.data, config.model
        wrong = [f'data.{name}' for name, (least, most) in _LIMITS.items() if not _is_between(data[name], least, most)]
        wrong += ['data.stream'] * (data.stream not in ('down', 'full'))
        wrong += ['data.n_frames'] * (data.n_frames % 2 == 0)  # the target is in the middle
        wrong += ['recipe'] * (config.recipe != recipe)
        wrong += [f'data.{name}' for name in base.get_config().data if name not in data]
        wrong += _unlike(config, base.get_config())
        wrong += [f'model.{name}' for name in sorted(set(model) ^ set(base.get_config().model))]
        if wrong:
            raise ValueError(f'{wrong[0]} cannot be used')
        weight_shapes(model)
    except Exception as error:  # a hostile config raises almost anything
        raise PackageError(
            f'{recipe}/config.json in {path}: {failure_line(error)}; ask for the package again, or update the program'
        ) from None
    return config


def _is_between(value, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _unlike(given: ConfigDict, usual: ConfigDict, place: str = '') -> list[str]:
    """Returns the fields of a config that no config has, or whose values are of another kind."""
    wrong = []
    for name, value in given.items():
        if name not in usual:
            wrong.append(f'{place}{name}')
        elif isinstance(usual[name], ConfigDict) and isinstance(value, ConfigDict):
            wrong += _unlike(value, usual[name], f'{place}{name}.')
        elif not _is_like(value, usual[name]):
            wrong.append(f'{place}{name}')
    return wrong


def _is_like(value, usual) -> bool:
    if isinstance(usual, tuple):
        return isinstance(value, list | tuple) and all(_is_like(one, 0.0) for one in value)
    if type(usual) is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is type(usual)


def _check_oof(content: bytes, source: str) -> None:
    """Raises ValueError, with the line, if out-of-fold rows cannot be joined with those of other members."""
    rows = read_predictions(source, ['distance', 'prediction'], data=content)
    for is_wrong, what in (
        (~np.isfinite(rows[['distance', 'prediction']]).all(axis=1), 'lacks a number'),
        (rows.duplicated(KEY), 'has the target of an earlier line'),
    ):
        if is_wrong.any():
            raise PackageError(f'{source}:{rows.index[is_wrong][0]} {what}; ask for the package again')


def _check_description(member: dict, recipe: str, fold: int, source: str) -> None:
    error_m, digests = member.get('val_mae'), [member.get('folds_sha256'), member.get('weights_sha256', '')]
    is_number = type(error_m) in (int, float) and math.isfinite(error_m)
    for name, is_right in (
        ('recipe', member.get('recipe') == recipe),
        ('fold', type(member.get('fold')) is int and member['fold'] == fold),
        ('best_epoch', _is_between(member.get('best_epoch'), 0, 1_000_000)),
        ('val_mae', error_m is None or is_number),
        ('folds_sha256', all(isinstance(one, str) and re.fullmatch(r'[0-9a-f]{0,64}', one) for one in digests)),
    ):
        if not is_right:
            raise PackageError(f'{source}: {name} is {member.get(name)!r}; ask for the package again')
