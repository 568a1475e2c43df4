"""What compositing does to the pixels, by hand on tiny frames."""

import numpy as np

from chimp_jax.data import compositing

NOTHING = [0, 0, 0, 0, 0]


def frames(level, side=10, n=1):
    return np.full((n, side, side, 3), level, np.uint8)


def paste(below, above, box, cover):
    """Returns one channel of the first frame."""
    found = compositing.paste(below, above, np.array([box], np.float32), np.array([cover], np.float32)).numpy()
    assert found.dtype == np.uint8 and (found == found[..., :1]).all()
    return found[0, :, :, 0]


def test_the_box_is_pasted_whole_and_fades_outside():
    # Side 10. Columns 2 to 6 (0.2..0.7), rows 3 to 4. The margin is 0.05 across and 0.02 down, so the next column's
    # centre, 0.05 outside, has weight 0, and so has the next row's.
    found = paste(frames(100), frames(200), [0.2, 0.3, 0.7, 0.5, 1], NOTHING)
    expected = np.full((10, 10), 100)
    expected[3:5, 2:7] = 200
    np.testing.assert_array_equal(found, expected)


def test_the_edge_is_soft():
    # Side 20, a box of 0.4: the margin is 0.04. The next centre is 0.025 outside: weight (0.04 - 0.025) / 0.04 = 0.375,
    # in a corner 0.375 * 0.375 = 0.1406. 100 + 80 * 0.375 = 130; 100 + 80 * 0.1406 = 111.25.
    found = paste(frames(100, 20), frames(180, 20), [0.3, 0.3, 0.7, 0.7, 0.4], NOTHING)
    assert (found[6:14, 6:14] == 180).all()
    assert (found[6:14, 5] == 130).all() and (found[6:14, 14] == 130).all() and (found[5, 6:14] == 130).all()
    assert found[5, 5] == found[14, 14] == 111
    assert (found[:5] == 100).all() and (found[:, 15:] == 100).all()


def test_the_nearer_animal_stays_in_front():
    # Columns 2 to 5 are pasted, columns 4 to 7 are covered.
    found = paste(frames(100), frames(200), [0.2, 0, 0.6, 1, 1], [0.4, 0, 0.8, 1, 1])
    assert found[0].tolist() == [100, 100, 200, 200, 100, 100, 100, 100, 100, 100]


def test_frames_without_a_box_stay_as_they_are():
    below, above = frames(100, n=2), frames(200, n=2)
    boxes = np.array([NOTHING, [0.0, 0.0, 0.5, 1.0, 1.0]], np.float32)
    found = compositing.paste(below, above, boxes, np.zeros((2, 5), np.float32)).numpy()
    np.testing.assert_array_equal(found[0], below[0])
    assert found[1, 0, :, 0].tolist() == [200] * 5 + [100] * 5


def test_pixels_come_from_the_same_place():
    source = np.random.default_rng(0).integers(0, 256, (1, 10, 10, 3), dtype=np.uint8)
    found = compositing.paste(
        frames(0), source, np.array([[0.2, 0.3, 0.7, 0.5, 1]], np.float32), np.zeros((1, 5), np.float32)
    )
    np.testing.assert_array_equal(found.numpy()[0, 3:5, 2:7], source[0, 3:5, 2:7])
