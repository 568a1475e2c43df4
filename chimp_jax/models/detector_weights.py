"""The weights of MegadetectorLite, the detector of the PyPI package zamba (MIT licence): their file, their conversion.

The weights are a file in zamba's wheel. `chimp-distance fetch detector` keeps this file in the user's cache folder.
"""

import hashlib
import re
import zipfile
from pathlib import Path

import numpy as np

from chimp_jax.models import weight_files
from chimp_jax.models.pretrained import cache_folder
from chimp_jax.models.weight_files import PretrainedError

WHEEL = 'zamba==2.7.2'  # the release that the file was taken from; other releases may hold another file
FILE_IN_WHEEL = 'zamba/object_detection/yolox/assets/yolox_tiny_640_20220528.pth'
SHA256 = '31f8690fc62f9d0756f1e8c09b0b02e5ade106173ed0a30743d47c004f88f4e0'
N_BYTES = 40_571_013
FETCH = 'chimp-distance fetch detector'
_BATCH_NORM_EPSILON = 1e-3  # of YOLOX; PyTorch's default is 1e-5


def weights_path() -> Path:
    """Returns the path of the weights in the user's cache folder, whether the file exists or not."""
    return cache_folder() / Path(FILE_IN_WHEEL).name


def read_weights(path: Path | None = None) -> bytes:
    """Returns the content of the detector's file, after a check of its SHA-256. path: None for the cache folder.

    Raises PretrainedError with the command that fetches the file.
    """
    chosen = path or weights_path()
    try:
        return verified(chosen.read_bytes(), str(chosen))
    except FileNotFoundError:
        raise PretrainedError(f'{chosen} is missing: the weights of the detector; fetch them with: {FETCH}') from None
    except OSError as error:
        raise PretrainedError(f'{chosen} cannot be read: {error.strerror}; fetch it again with: {FETCH}') from None


def verified(content: bytes, source: str) -> bytes:
    """Returns the content if it is the detector's file. Raises PretrainedError if its SHA-256 differs."""
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise PretrainedError(
            f'{source} has SHA-256 {digest}, not {SHA256}, so it is damaged or of another version; fetch the file of '
            f'{WHEEL} with: {FETCH}'
        )
    return content


def take_from(path: Path) -> bytes:
    """Returns the content of the detector's file from zamba's wheel or from the file itself, after a check.

    Raises PretrainedError with the path, what is wrong and what to do.
    """
    try:
        with path.open('rb') as file:
            if path.suffix != '.whl':
                content = file.read(N_BYTES + 1)  # a wrong file may be huge
            else:
                with zipfile.ZipFile(file) as wheel, wheel.open(FILE_IN_WHEEL) as member:
                    content = member.read(N_BYTES + 1)
    except KeyError:
        raise PretrainedError(f'{path} does not hold {FILE_IN_WHEEL}; give the wheel of {WHEEL}') from None
    except zipfile.BadZipFile:
        raise PretrainedError(f'{path} is not a readable wheel; give the wheel of {WHEEL}') from None
    except OSError as error:
        raise PretrainedError(f'{path} cannot be read: {error.strerror}; give a wheel or a .pth file') from None
    return verified(content, f'the weights file in {path}' if path.suffix == '.whl' else str(path))


def convert(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts YOLOX's tensors by PyTorch's names to yolox.py's parameters {'backbone/.../kernel': array}.

    A kernel [F, C, k, k] becomes [k, k, C, F]. The batch norm behind a convolution, with its running mean and variance,
    becomes a factor of the kernel and a bias.
    """
    parameters = {}
    for name, tensor in tensors.items():
        if name.endswith('.bias') and '.bn.' not in name:
            parameters[f'{_our_name(name.removesuffix(".bias"))}/bias'] = tensor
        if not name.endswith('.weight') or tensor.ndim != 4:
            continue
        layer = name.removesuffix('.weight').removesuffix('.conv')
        kernel = tensor.transpose(2, 3, 1, 0).astype(np.float64)
        if f'{layer}.bn.weight' in tensors:
            scale, shift, mean, variance = (
                tensors[f'{layer}.bn.{part}'].astype(np.float64)
                for part in ('weight', 'bias', 'running_mean', 'running_var')
            )
            factor = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
            kernel = kernel * factor
            parameters[f'{_our_name(layer)}/bias'] = (shift - mean * factor).astype(np.float32)
        parameters[f'{_our_name(layer)}/kernel'] = kernel.astype(np.float32)
    return parameters


def _our_name(layer: str) -> str:
    """Returns 'backbone/C3_p4/m_0/conv1' for 'backbone.C3_p4.m.0.conv1'."""
    return re.sub(r'\.(\d+)', r'_\1', layer).replace('stem.conv', 'stem_conv').replace('.', '/')


def load_parameters(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Returns yolox.py's parameters from the content of the detector's file. Raises PretrainedError."""
    return convert(weight_files.read_zip_torch(content, 'model', source))
