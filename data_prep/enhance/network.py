"""Applies the small super-resolution network of `python -m chimp_jax.enhance`: doubles a picture, NumPy alone.

The network sees the luma of the small picture and adds detail to the enlarged luma. Its file holds plain arrays: for
each layer k a kernel `kernel_k` [3, 3, inputs, outputs] and a bias `bias_k` [outputs]. Between layers is a ReLU. The
last layer has four outputs: the added luma of the four pixels (upper left, upper right, lower left, lower right) that
take the place of one.
"""

import functools
import hashlib
import io

import numpy as np
from etils import epath
from PIL import Image

FACTOR = 2
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@functools.lru_cache(maxsize=2)
def read_network(path: str, digest: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Returns the layers (kernel, bias) of a file. digest: its SHA-256 when the work began.

    Raises ValueError if chimp_jax.enhance did not write the file, OSError if it has changed.
    """
    content = epath.Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise OSError(f'{path} has changed since the command began')
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name].astype(np.float32) for name in file.files}
        layers = tuple((arrays[f'kernel_{k}'], arrays[f'bias_{k}']) for k in range(len(arrays) // 2))
        inputs = [kernel.shape[2] for kernel, _ in layers] + [FACTOR**2]
        sound = all(
            kernel.shape[:2] == (3, 3) and kernel.shape[3:] == bias.shape == (following,)
            for (kernel, bias), following in zip(layers, inputs[1:], strict=True)
        )
        sound = sound and inputs[0] == 1 and all(np.isfinite(array).all() for array in arrays.values())
    except Exception:  # NumPy and zipfile raise many types for a file that is not theirs
        sound = False
    if not sound or not layers:
        raise ValueError(f'{path} is no network of python -m chimp_jax.enhance; make it again')
    return layers


def added_luma(luma: np.ndarray, layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    """Returns what the network adds to the enlarged luma: luma [H, W] in 0..1 -> [2 H, 2 W]."""
    maps = luma[..., None].astype(np.float32)
    for kernel, bias in layers[:-1]:
        maps = np.maximum(_convolve(maps, kernel, bias), 0)
    maps = _convolve(maps, *layers[-1])
    height, width = luma.shape
    return maps.reshape(height, width, 2, 2).swapaxes(1, 2).reshape(2 * height, 2 * width)


def double(picture: np.ndarray, layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    """Returns a picture of twice the size: RGB [H, W, 3] uint8 -> [2 H, 2 W, 3] uint8."""
    height, width = picture.shape[:2]
    size = (FACTOR * width, FACTOR * height)
    large = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS), np.float32)
    added = 255 * added_luma(picture @ (_LUMA / 255), layers)
    return np.clip(np.rint(large + added[..., None]), 0, 255).astype(np.uint8)


def _convolve(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Returns a 3 x 3 convolution: maps [H, W, inputs] -> [H, W, outputs]; the edges repeat."""
    height, width, n_inputs = maps.shape
    padded = np.pad(maps, ((1, 1), (1, 1), (0, 0)), mode='edge')
    total = np.broadcast_to(bias, (height * width, len(bias))).copy()
    for row in range(3):
        for column in range(3):
            part = padded[row : row + height, column : column + width].reshape(-1, n_inputs)
            total += part @ kernel[row, column]
    return total.reshape(height, width, -1)
