"""The detector: which boxes stay, in which order pictures come back, and what PyTorch finds in real frames."""

import json
from fractions import Fraction
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from make_clips import SHARED_CLIPS
from yolox_twin import YoloXTwin

from chimp_jax.models import detector, detector_weights, weight_files
from chimp_jax.models.weight_files import PretrainedError
from data_prep.decoding.decode import decode_at_rate
from data_prep.workers.detector_frames import fitted

# Made once by PyTorch 1.13 with the network of pixeltable-yolox 0.4.3, which zamba 2.7.2 installs, from the frames of
# the shared clips: all boxes that stay among those with scores from 0.05 on, the best first.
REFERENCE = Path(__file__).parents[2] / 'fixtures' / 'detector_torch_1_13.json'


def test_a_box_that_overlaps_a_better_one_is_left_out():
    """By hand: boxes of 10 x 10 that are shifted by 3 and 4 pixels overlap by 70 / 130 = 0.54 and 60 / 140 = 0.43."""
    boxes = np.float32([[4, 0, 14, 10], [0, 0, 10, 10], [3, 0, 13, 10], [50, 50, 60, 60]])
    assert detector.suppress(boxes, np.float32([0.5, 0.9, 0.8, 0.3])).tolist() == [1, 0, 3]
    # The boxes at 0 and 7 overlap the one at 3 by 0.54 and by 60 / 140 = 0.43.
    chain = np.float32([[3, 0, 13, 10], [0, 0, 10, 10], [7, 0, 17, 10]])
    assert detector.suppress(chain, np.float32([0.9, 0.5, 0.4])).tolist() == [0, 2]
    assert detector.suppress(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)).tolist() == []


def test_of_equal_scores_the_first_stays():
    boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10]])
    assert detector.suppress(boxes, np.float32([0.5, 0.5])).tolist() == [0]


class MeanColours(nn.Module):
    """In the place of the network, which takes long to compile: a cell for each 16 px, scored by its mean colour."""

    @nn.compact
    def __call__(self, pictures):
        colours = pictures.astype(np.float32).reshape(-1, 4, 16, 4, 16, 3).mean((2, 4)).reshape(-1, 16, 3)
        scores = nn.sigmoid(nn.Dense(1, name='score')(colours / 100))[..., 0]
        return 16 * nn.Dense(4, name='box')(colours), scores


@pytest.fixture(scope='module')
def small():
    """A detector of 64 px pictures, in which a part of the cells are animals."""
    parameters = MeanColours().init(jax.random.key(0), np.zeros((1, 64, 64, 3), np.uint8))['params']
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, 'YoloX', MeanColours)
        patch.setattr(detector, 'transformed_kernels', lambda parameters: {})
        return detector.Detector(parameters, size_px=64)


def test_pictures_come_back_in_order_and_black_fills_the_rest(small):
    """The eight devices of the tests work on eight pictures together. A batch of another size changes no result."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (64 - i, 20 + 4 * i, 3), np.uint8) for i in range(11)]
    together = small(pictures)
    assert len(together) == 11 and sum(len(found.scores) for found in together) > 11
    for i in (0, 8, 10):
        padded = np.zeros((64, 64, 3), np.uint8)
        padded[: 64 - i, : 20 + 4 * i] = pictures[i]
        (alone,) = small(padded[None])
        np.testing.assert_allclose(alone.boxes_px, together[i].boxes_px, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(alone.scores, together[i].scores, atol=1e-6)
    assert len({found.scores.tobytes() for found in together}) == 11
    assert small([]) == []


@pytest.mark.parametrize('picture', [np.zeros((65, 9, 3), np.uint8), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))])
def test_other_pictures_are_refused(small, picture):
    with pytest.raises(ValueError, match='expected uint8'):
        small([picture])


def test_a_missing_or_wrong_file_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with pytest.raises(PretrainedError, match='^.*yolox_tiny.*missing.*: chimp-distance fetch detector$'):
        detector.load_detector()
    other = tmp_path / 'other.pth'
    other.write_bytes(b'other weights')
    with pytest.raises(PretrainedError, match=r'^.*other.pth has SHA-256 [^\n]*: chimp-distance fetch detector$'):
        detector.load_detector(other)


@pytest.fixture(scope='module')
def content():
    try:
        return detector_weights.read_weights()
    except PretrainedError:
        pytest.skip('the weights of the detector are missing; fetch them with: chimp-distance fetch detector')


def test_real_frames_have_the_boxes_of_pytorch(content):
    if not SHARED_CLIPS.exists():
        pytest.skip(f'{SHARED_CLIPS} is missing')
    expected = json.loads(REFERENCE.read_text())
    frames = {}
    for clip in {entry['clip'] for entry in expected}:
        rated = decode_at_rate(SHARED_CLIPS / clip, Fraction(1), lambda rgb, _: fitted(rgb))
        frames |= {(clip, number): picture for number, picture in zip(rated.numbers, rated.contents, strict=True)}
    assert detector.LEAST_SCORE == 0.25
    # Weaker boxes are compared too. They change no better one.
    found = detector.load_detector(least_score=0.05)(
        [frames[entry['clip'], entry['frame_number']] for entry in expected]
    )
    for entry, (boxes_px, scores) in zip(expected, found, strict=True):
        np.testing.assert_allclose(scores, entry['scores'], atol=1e-3)
        np.testing.assert_allclose(boxes_px, entry['boxes_px'], atol=1)
    assert sum(len(scores) for _, scores in found) == 29


def test_the_file_holds_the_tensors_of_the_twin(content):
    twin = YoloXTwin()
    twin(np.zeros((1, 64, 64, 3), np.uint8))
    tensors = weight_files.read_zip_torch(content, 'model', 'x')
    shapes = {name: array.shape for name, array in tensors.items() if not name.endswith('num_batches_tracked')}
    assert shapes == {name: array.shape for name, array in twin.tensors.items()}
