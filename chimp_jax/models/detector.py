"""Finds animals in pictures: YOLOX-tiny with the weights and the settings of zamba's MegadetectorLite."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import flax.traverse_util
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from chimp_jax.models.detector_weights import load_parameters, read_weights
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.models.yolox import TRANSFORMED, YoloX, transformed_kernels
from chimp_jax.programs.traces import kept_trace

SIZE_PX = 640
LEAST_SCORE = 0.25  # zamba: objectness times class probability
MOST_OVERLAP = 0.45  # zamba: intersection over union, above which the weaker box is left out
_PER_ACCELERATOR = 16  # pictures that a GPU or TPU works on together; a CPU core works on one
_AHEAD = 2  # batches that are computed while the boxes of earlier ones are sorted out


class AnimalBoxes(NamedTuple):
    """The animals in one picture, the most certain first."""

    boxes_px: (
        np.ndarray
    )  # [k, 4] x1, y1, x2, y2 in pixels of the picture, from its left and upper edge; may lie outside
    scores: np.ndarray  # [k] 0..1


class Detector:
    """Finds animals in pictures with given parameters of yolox.py, {'backbone': ..., 'head': ...}.

    size_px: side of the square that the network sees; MegadetectorLite was trained with 640. least_score: the detector
    reports no box below it. All devices of this
    process share the pictures. The program has one batch size, so it is compiled once.
    """

    def __init__(self, parameters: dict, size_px: int = SIZE_PX, least_score: float = LEAST_SCORE):
        devices = jax.local_devices()
        mesh = Mesh(np.array(devices), ('pictures',))
        self._shared = NamedSharding(mesh, P('pictures'))
        self._size_px, self._least_score = size_px, least_score
        is_cpu = devices[0].platform == 'cpu'
        self._batch_size = len(devices) * (1 if is_cpu else _PER_ACCELERATOR)
        variables = {'params': parameters}
        if is_cpu:
            variables[TRANSFORMED] = transformed_kernels(parameters)
        self._variables = jax.device_put(variables, NamedSharding(mesh, P()))
        # Each device computes its own pictures, so no device waits for another.
        apply = jax.shard_map(YoloX().apply, mesh=mesh, in_specs=(P(), P('pictures')), out_specs=P('pictures'))
        self._apply = kept_trace(jax.jit(apply), f'detector {YoloX()}', devices)

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[AnimalBoxes]:
        """Returns the animals in each picture.

        pictures: uint8 [h, w, 3] RGB, scaled to fit into size_px x size_px (data_prep's `fitted`). Raises ValueError
        for other pictures.
        """
        for picture in pictures:
            if picture.dtype != np.uint8 or picture.shape[2:] != (3,) or max(picture.shape) > self._size_px:
                expected = f'uint8 [h, w, 3] within {self._size_px} px'
                raise ValueError(f'expected {expected}, not {picture.dtype} {picture.shape}')
        found: list[AnimalBoxes] = []
        running: deque = deque()
        for start in range(0, len(pictures), self._batch_size):
            running.append(self._apply(self._variables, self._batch(pictures[start : start + self._batch_size])))
            if len(running) > _AHEAD:
                found += _sort_out(*running.popleft(), self._least_score)
        for outputs in running:
            found += _sort_out(*outputs, self._least_score)
        return found[: len(pictures)]

    def _batch(self, pictures: Sequence[np.ndarray]) -> jax.Array:
        batch = np.zeros(
            (self._batch_size, self._size_px, self._size_px, 3), np.uint8
        )  # black beside and below a picture
        for place, picture in zip(batch, pictures, strict=False):
            place[: picture.shape[0], : picture.shape[1]] = picture
        return jax.device_put(batch, self._shared)


def load_detector(path: Path | None = None, least_score: float = LEAST_SCORE) -> Detector:
    """Returns the detector with the weights in a file, None for the file that `chimp-distance fetch detector` keeps.

    least_score: the detector reports no box below it.

    Raises PretrainedError in one line if the file is missing, damaged or another one.
    """
    return Detector(read_detector(path), least_score=least_score)


def read_detector(path: Path | None = None) -> dict:
    """Returns the parameters of yolox.py from the weights in a file, None for the file in the cache folder.

    Raises PretrainedError in one line if the file is missing, damaged or another one.
    """
    return to_parameters(load_parameters(read_weights(path), str(path or 'the weights file of the detector')))


def to_parameters(arrays: dict[str, np.ndarray]) -> dict:
    """Returns the arrays {'backbone/.../kernel': array} as the parameters of yolox.py.

    Raises PretrainedError if a name or a shape differs.
    """
    picture = jax.ShapeDtypeStruct((1, SIZE_PX, SIZE_PX, 3), np.uint8)
    variables = jax.eval_shape(partial(YoloX().init, jax.random.key(0)), picture)
    wanted = {
        name: array.shape for name, array in flax.traverse_util.flatten_dict(variables['params'], sep='/').items()
    }
    given = {name: array.shape for name, array in arrays.items()}
    differing = sorted(name for name, _ in wanted.items() ^ given.items())
    if differing:
        raise PretrainedError(f'the weights do not fit the detector YOLOX-tiny: {", ".join(differing[:3])}')
    return flax.traverse_util.unflatten_dict(arrays, sep='/')


def suppress(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the indices of the boxes that stay, the best first (non-maximum suppression).

    boxes: [n, 4] x1, y1, x2, y2. scores: [n]. A box that overlaps a better one by more than MOST_OVERLAP is left out.
    """
    order = np.argsort(-scores, kind='stable')
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    stay = []
    while order.size:
        best, order = order[0], order[1:]
        stay.append(best)
        corners = np.maximum(boxes[best, :2], boxes[order, :2]), np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.prod(np.maximum(corners[1] - corners[0], 0), axis=1)
        order = order[common <= MOST_OVERLAP * (areas[best] + areas[order] - common)]
    return np.array(stay, int)


def _sort_out(boxes: jax.Array, scores: jax.Array, least_score: float) -> list[AnimalBoxes]:
    """boxes: [B, cells, 4]. scores: [B, cells] -> the detections of each picture."""
    found = []
    for candidates, certainties in zip(np.asarray(boxes), np.asarray(scores), strict=True):
        chosen = certainties >= least_score
        candidates, certainties = candidates[chosen], certainties[chosen]
        stay = suppress(candidates, certainties)
        found.append(AnimalBoxes(candidates[stay], certainties[stay]))
    return found
