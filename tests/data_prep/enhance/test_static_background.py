import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from data_prep.enhance.background import background_seconds, box_mean, find_background, fuse_background


def scene(n=21, noise=4.0, seed=0):
    """A sloping ground with noise; a bright block of 12 x 12 px moves over it, 4 px per frame."""
    rng = np.random.default_rng(seed)
    ground = np.broadcast_to(np.linspace(60, 160, 120)[None, :, None], (48, 120, 3))
    frames = np.rint(np.clip(ground + rng.normal(0, noise, (n, 48, 120, 3)), 0, 255)).astype(np.uint8)
    for k, frame in enumerate(frames):
        frame[20:32, 4 * k : 4 * k + 12] = 240
    return ground, frames


def test_the_background_has_less_noise_and_no_animal():
    ground, frames = scene()
    background = find_background(frames)
    # The mean of about 20 frames with deviation 4 has 0.9; values far from the median do not count.
    assert np.abs(background.picture - ground).std() < 1.3
    assert np.abs(background.picture - ground).max() < 8  # the block differs by 80 to 180
    error = fuse_background(frames[0], background)[:, 40:].astype(float) - ground[:, 40:]
    assert error.std() < 1.5


def test_what_moves_is_kept_to_the_bit():
    _, frames = scene()
    background = find_background(frames)
    for k in (0, 10, 20):
        assert (fuse_background(frames[k], background)[20:32, 4 * k : 4 * k + 12] == 240).all()


def test_a_frame_keeps_its_brightness():
    ground, frames = scene()
    background = find_background(frames)
    brighter = np.clip(frames[3].astype(int) + 25, 0, 255).astype(np.uint8)
    error = fuse_background(brighter, background)[:, 60:].astype(float) - (ground[:, 60:] + 25)
    assert abs(error.mean()) < 0.7 and error.std() < 1.6


def test_a_static_clip_without_noise_is_unchanged():
    frames = [np.full((8, 8, 3), 77, np.uint8)] * 5
    assert (fuse_background(frames[0], find_background(frames)) == 77).all()


def test_seconds_by_hand():
    assert background_seconds([4, 5, 6, 7]) == []  # too few
    assert background_seconds([1, 2, 3, 5, 8]) == [1, 2, 3, 5, 8]
    assert background_seconds(range(61)) == list(range(0, 61, 2))  # 31 of 61


@pytest.mark.parametrize('shape', [(7, 9), (48, 3)])
def test_the_mean_of_squares_equals_scipy(shape):
    values = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(box_mean(values, 5), uniform_filter(values, 5, mode='nearest'), atol=1e-12)
