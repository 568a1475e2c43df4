"""Makes a finished member of a Keras file of the whole model."""

import datetime
import json
import math
import os
from typing import NamedTuple

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.configs import base, recipes
from chimp_jax.models.conversions import convert_keras
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.sharing.keras_file import KerasModel, read_keras_model
from chimp_jax.sharing.model_shapes import fitted_variables
from chimp_jax.sharing.new_member import MEMBER, NewMember, is_finished_member, write_member
from chimp_jax.training.member_log import program_versions
from data_prep import published_folds
from data_prep.files import sha256
from data_prep.lock import hold

UNKNOWN_FOLDS = 'unknown'
FOLDS = (UNKNOWN_FOLDS, 'published')
_EPOCH = 0  # of the checkpoint: no epoch was trained here


class ImportRequest(NamedTuple):
    """Weights of others and what is known about them."""

    recipe: str  # model ID
    fold: int
    out: str  # the folder of the members
    val_mae_m: float | None = None  # validation MAE in metres, None if unknown
    folds: str = UNKNOWN_FOLDS  # 'published': trained without the clips of this fold of the original
    size_px: int = 512  # of the frames that the weights were trained on
    source: str = ''  # address, paper or person that the file is from


def import_member(path, request: ImportRequest) -> tuple[epath.Path, bool]:
    """Returns the folder of the member, and whether it was there already.

    Raises ValueError, one line, if the request or the file cannot be used, or if another member has the place.
    """
    config = recipe_config(request)
    folder = epath.Path(request.out) / request.recipe / f'fold_{request.fold}'
    path = epath.Path(path).expanduser()
    digest = _digest_of(path)
    description = describe(request, digest)
    if is_finished_member(folder):
        check_same(folder, description, path)
        return folder, True
    weights_of(read_keras_model(path, shapes_only=True), config, str(path))  # refuses another model before it is read
    weights = weights_of(read_keras_model(path), config, str(path))
    with hold(folder):
        if is_finished_member(folder):  # another run has just finished it
            check_same(folder, description, path)
            return folder, True
        write_member(folder, NewMember(config, description, weights, provenance_of(path, digest, request)))
    return folder, False


def _digest_of(path: epath.Path) -> str:
    try:
        if '://' not in str(path) and path.exists() and not os.path.isfile(path):  # a device would never end
            raise PretrainedError(f'{path} is not a file; give a Keras file: .h5, .weights.h5 or .keras')
        return sha256(path)
    except OSError as error:
        raise PretrainedError(f'{path} cannot be read: {error.strerror or error}; give a Keras file') from None


def recipe_config(request: ImportRequest) -> ConfigDict:
    """Returns the published config of the recipe. Raises ValueError if the request has an impossible value."""
    if request.recipe == recipes.ALL:
        raise ValueError(f'--recipe={recipes.ALL} names several recipes; give one model ID, such as full-a4p50-f7s1')
    config = base.get_config(request.recipe)
    if not 0 <= request.fold < config.data.n_folds:
        raise ValueError(f'--fold={request.fold}: there are the folds 0 to {config.data.n_folds - 1}')
    if request.val_mae_m is not None and not (math.isfinite(request.val_mae_m) and request.val_mae_m >= 0):
        raise ValueError(f'--val_mae={request.val_mae_m}: give metres, 0 or more, or leave it out')
    if not 32 <= request.size_px <= 4096:
        raise ValueError(f'--size_px={request.size_px}: give the pixels of the frames, 32 to 4096')
    config.data.size_px = request.size_px
    if request.folds != UNKNOWN_FOLDS:
        config.data.folds = request.folds
    return config


def describe(request: ImportRequest, digest: str) -> str:
    """Returns the content of member.json. Unknown folds have no digest, so nobody scores them out of fold."""
    member = {
        'recipe': request.recipe,
        'fold': request.fold,
        'best_epoch': _EPOCH,
        'val_mae': request.val_mae_m,
        'folds_sha256': '' if request.folds == UNKNOWN_FOLDS else published_folds.SHA256,
        'weights_sha256': digest,
    }
    return json.dumps(member, indent=2) + '\n'


def check_same(folder: epath.Path, description: str, path: epath.Path) -> None:
    """Raises ValueError if the finished member in the folder is not the one that the file makes."""
    there, mine = json.loads((folder / MEMBER).read_text()), json.loads(description)
    if there.get('weights_sha256') != mine['weights_sha256']:
        what = 'was imported from another file' if there.get('weights_sha256') else 'is a trained member'
        raise ValueError(f'{folder} {what}, and {path} would replace it; choose another --fold or another --out')
    different = [
        f'{name} ({there.get(name)!r} there, {mine[name]!r} here)' for name in mine if there.get(name) != mine[name]
    ]
    if different:
        raise ValueError(
            f'{folder} was imported from this file with other settings: {", ".join(different)}; give the same ones, or '
            'choose another --out'
        )


def weights_of(model: KerasModel, config: ConfigDict, source: str) -> dict:
    """Returns {'params', 'batch_stats'} of a Keras model. Raises PretrainedError if it is not the recipe's model."""
    data = config.data
    if model.window is not None and model.window != (data.n_frames, data.size_px, data.size_px):
        window = model.window
        raise PretrainedError(
            f'{source} holds a model for {window.n_frames} frames of {window.height_px} x {window.width_px} px, and '
            f'{config.recipe} has {data.n_frames} frames of {data.size_px} x {data.size_px} px; give its --recipe and '
            '--size_px'
        )
    normalizing = [name for name, arrays in model.layers.items() if arrays and name.startswith('normalization')]
    if normalizing:
        raise PretrainedError(
            f'{source} normalises its pictures in the layer {normalizing[0]!r}, and the recipe only divides them by '
            '255; train from it with --config.start.init instead'
        )
    try:
        arrays = convert_keras(model.layers)
    except ValueError as error:
        raise PretrainedError(f'{source}: {error}') from None
    remedy = f'; give a Keras file of the whole model of {config.recipe}'
    return fitted_variables(config.model, arrays, source, remedy)


def provenance_of(path: epath.Path, digest: str, request: ImportRequest) -> dict:
    """Returns where a member comes from: file name, SHA-256, source, date and the versions that read it."""
    return {
        'file': path.name,
        'sha256': digest,
        'bytes': path.stat().length,
        'source': request.source,
        'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'versions': program_versions(),
    }
