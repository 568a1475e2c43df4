"""Boxes move with their pictures: a painted rectangle's bounds after the real operation are the moved box."""

import numpy as np
import pytest
from test_augment import gray_picture

from chimp_jax.data import augment, operations

SIDE = 300
TURNS = [f'rotate_{angle}_crop' for angle in (45, 135, 225, 315)]
WHOLE = [name for name in augment.OPERATIONS if name not in TURNS]


def painted(*pixels):
    """Returns a black picture with a white rectangle: columns x1..x2 - 1, rows y1..y2 - 1."""
    x1, y1, x2, y2 = pixels
    picture = np.zeros((SIDE, SIDE), np.uint8)
    picture[y1:y2, x1:x2] = 255
    return picture


def bounds(picture):
    """Returns x1, y1, x2, y2 in pixels of what is light."""
    light = picture > 60  # a blurred edge: the middle grey is 127, but corners are darker
    rows, columns = np.nonzero(light.any(axis=1))[0], np.nonzero(light.any(axis=0))[0]
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def moved(name, pixels):
    box = operations.box_after(name, np.array([[*np.array(pixels) / SIDE, 0.75]], np.float32))
    assert box.shape == (1, 5) and box.dtype == np.float32
    return box[0]


@pytest.mark.parametrize('name', augment.OPERATIONS)
@pytest.mark.parametrize('pixels', [(120, 100, 150, 190), (160, 130, 215, 150), (100, 175, 130, 200)])
def test_a_box_moves_as_its_rectangle(name, pixels):
    after = augment.apply_operation(gray_picture(painted(*pixels)), name).numpy()[0, :, :, 0]
    box = moved(name, pixels)
    limit_px = {True: 3.5, False: 0.01}[name in TURNS]  # a tip of 45 degrees is lost in less than a pixel, stretched
    if 'brightness_plus' in name:  # black is light then, so white is the brightest
        after = np.where(after == after.max(), 255, 0)
    if name.startswith('blur'):
        limit_px = 6  # the edges of the light part move outwards, by less than one sigma
    np.testing.assert_allclose(box[:4] * SIDE, bounds(after), atol=limit_px)
    assert box[4] == 0.75


def test_turns_and_flips_by_hand():
    box = np.array([0.1, 0.2, 0.4, 0.3, 0.9])
    expected = {
        'flip_left_right': [0.6, 0.2, 0.9, 0.3],
        'flip_up_down': [0.1, 0.7, 0.4, 0.8],
        'rotate_90': [0.2, 0.6, 0.3, 0.9],  # counter-clockwise: the right edge becomes the upper one
        'rotate_180': [0.6, 0.7, 0.9, 0.8],
        'rotate_270': [0.7, 0.1, 0.8, 0.4],
        'grayscale': [0.1, 0.2, 0.4, 0.3],
    }
    for name, corners in expected.items():
        np.testing.assert_allclose(operations.box_after(name, box), [*corners, 0.9], atol=1e-12, err_msg=name)
    # A square of side 0.14 in the middle: its diagonal is 0.14 * sqrt(2), stretched by 1 / 0.7: 0.2828.
    square = np.array([0.43, 0.43, 0.57, 0.57, 0.9])
    for name in TURNS:
        half = 0.1 * np.sqrt(2)
        np.testing.assert_allclose(
            operations.box_after(name, square), [0.5 - half, 0.5 - half, 0.5 + half, 0.5 + half, 0.9]
        )


def test_a_box_that_a_crop_cuts_is_clipped_or_gone():
    # After a counter-clockwise turn by 45 degrees a point right of the middle by d is up and right by d / sqrt(2), and
    # the crop stretches by 1 / 0.7: the picture's border is at d = 0.35 sqrt(2) = 0.495. A square of side s has a
    # turned half-width of s / sqrt(2), stretched s * 1.0102.
    def square(away, side):
        return np.array([0.5 + away - side / 2, 0.5 - side / 2, 0.5 + away + side / 2, 0.5 + side / 2, 1.0])

    inside = operations.box_after('rotate_45_crop', square(0.2, 0.1))
    middle, half = 0.2 / 0.7 / np.sqrt(2), 0.1 / 0.7 / np.sqrt(2)
    np.testing.assert_allclose(
        inside, [0.5 + middle - half, 0.5 - middle - half, 0.5 + middle + half, 0.5 - middle + half, 1]
    )
    cut = operations.box_after('rotate_45_crop', square(0.45, 0.1))  # the middle is at 0.9546, the edge at 1.0556
    np.testing.assert_allclose(cut, [0.9546 - 0.1010, 0, 1, 0.0454 + 0.1010, 1], atol=1e-4)
    assert not operations.box_after('rotate_45_crop', square(0.497, 0.1)).any()  # the middle is outside
    assert operations.box_after('rotate_45_crop', square(0.494, 0.1)).any()  # inside: a quarter of the box is left
    np.testing.assert_array_equal(operations.box_after('rotate_45_crop', square(0, 1)), [0, 0, 1, 1, 1])  # fills it


def test_no_box_stays_no_box_and_shapes_are_free():
    boxes = np.zeros((2, 3, 4, 5), np.float32)
    boxes[0, 1, 2] = [0.1, 0.2, 0.4, 0.3, 0.5]
    for name in augment.OPERATIONS:
        after = operations.box_after(name, boxes)
        assert after.shape == boxes.shape and after.dtype == np.float32
        assert (after[..., 4] > 0).sum() <= 1 and not after[1].any()


def test_the_number_drawn_is_the_operation_that_is_applied():
    window = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    names = operations.OPERATION_SETS['a1']
    seen = set()
    for seed in range(20):
        number = int(augment.number_drawn('a1', 0.5, [seed, 3]))
        applied = window if number >= len(names) else augment.apply_operation(window, names[number])
        np.testing.assert_array_equal(augment.augment(window, 'a1', 0.5, [seed, 3]), applied)
        seen.add(min(number, len(names)))
    assert len(seen) > 5 and len(names) in seen
