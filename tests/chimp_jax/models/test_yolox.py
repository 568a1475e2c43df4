"""YOLOX-tiny equals a second implementation in TensorFlow that reads weights by PyTorch's names and shapes."""

import jax
import numpy as np
import pytest
from yolox_twin import YoloXTwin

from chimp_jax.models.detector import to_parameters
from chimp_jax.models.detector_weights import convert
from chimp_jax.models.weight_files import PretrainedError
from chimp_jax.models.yolox import TRANSFORMED, YoloX, max_of_five, transformed_kernels, twice

SIZE_PX = (64, 96)
N_CELLS = 8 * 12 + 4 * 6 + 2 * 3


@pytest.fixture(scope='module')
def pictures():
    return np.random.default_rng(1).integers(0, 256, (2, *SIZE_PX, 3), np.uint8)


@pytest.fixture(scope='module')
def twin(pictures):
    """The second implementation, with weights, and its boxes and scores."""
    twin = YoloXTwin()
    return twin, *twin(pictures)


# The form in tiles takes XLA 10 s. tests/chimp_jax/ops/test_convolution.py holds its convolutions to the plain ones.
@pytest.mark.parametrize('in_tiles', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_network_equals_its_twin(twin, pictures, in_tiles):
    twin, boxes, scores = twin
    parameters = to_parameters(convert(twin.tensors))
    variables = {'params': parameters}
    if in_tiles:
        variables[TRANSFORMED] = transformed_kernels(parameters)
    ours = jax.jit(YoloX().apply, compiler_options={'xla_backend_optimization_level': 0})
    our_boxes, our_scores = ours(variables, pictures)
    assert our_boxes.shape == boxes.shape == (2, N_CELLS, 4)
    np.testing.assert_allclose(our_scores, scores, atol=2e-4)
    assert np.ptp(scores) > 0.5
    # Random weights give boxes of any size, so the tolerance is a share of the size.
    size = np.abs(boxes[..., 2:] - boxes[..., :2]).max(-1, keepdims=True)
    assert (np.abs(our_boxes - boxes) <= 2e-3 * (8 + size)).all()


def test_the_number_of_parameters(twin):
    """PyTorch counts 5,032,866 in the original; each of the 8,664 channels before a batch norm loses its factor."""
    twin = twin[0]
    learned = {name: array for name, array in twin.tensors.items() if 'running' not in name}
    assert sum(array.size for array in learned.values()) == 5_032_866
    parameters = to_parameters(convert(twin.tensors))
    assert sum(array.size for array in jax.tree.leaves(parameters)) == 5_032_866 - 8_664


def test_which_kernels_are_transformed(twin):
    """By hand: of 48 channels or more, dark3 and dark4 have 3 each, dark5 has 1, the pyramid 4, the head 12."""
    transformed = transformed_kernels(to_parameters(convert(twin[0].tensors)))
    shapes = [kernel.shape for kernel in jax.tree.leaves(transformed)]
    assert sorted(shapes) == [(36, 48, 48)] * 4 + [(36, 96, 96)] * 17 + [(36, 192, 192)] * 2


def test_weights_of_another_size_are_refused(twin):
    arrays = convert(twin[0].tensors)
    arrays['head/stems_0/kernel'] = np.zeros((1, 1, 128, 96), np.float32)  # of YOLOX-S
    with pytest.raises(PretrainedError, match='YOLOX-tiny: head/stems_0/kernel'):
        to_parameters(arrays)


def test_the_maximum_at_the_edge_by_hand():
    column = np.float32([-9, -5, -7, -3, -8, -6]).reshape(1, 6, 1, 1)
    assert max_of_five(column).ravel().tolist() == [-5, -3, -3, -3, -3, -3]
    assert max_of_five(column.reshape(1, 1, 6, 1)).ravel().tolist() == [-5, -3, -3, -3, -3, -3]


def test_each_pixel_is_repeated():
    assert twice(np.float32([[1, 2]]).reshape(1, 1, 2, 1))[0, :, :, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]
