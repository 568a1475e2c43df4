"""Every operation of the sets against an independent NumPy, SciPy or colorsys form, on 100 random windows each.

fixtures/augment_tf_2_4_1.npz holds a window [1, 24, 24, 3] with noise, black and white areas, and what the functions of
the original made of it: TensorFlow 2.4.1 and tensorflow-addons 0.12.1 on Python 3.8, run once. The functions are
tfa.image.rotate(window, degrees * pi / 180) then tf.image.central_crop(0.7) and tf.image.resize; tfa.image.
gaussian_filter2d(window, (10, 10) or (20, 20), sigma=5); tf.image.rgb_to_grayscale, adjust_brightness and adjust_hue.
"""

import colorsys
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import small
from PIL import Image

from chimp_jax.commands import augment_sheet, entry
from chimp_jax.data import augment

ORIGINAL = Path(__file__).parents[2] / 'fixtures' / 'augment_tf_2_4_1.npz'
# Side of a window -> where the central crop of 0.7 starts: floor(0.15 * side), by hand.
CROP_START = {21: 3, 24: 3, 27: 4, 33: 4, 48: 7}


def random_windows(n=100):
    """Windows of one or two frames; every other one is of strong contrast, so that 0 and 255 are frequent."""
    rng = np.random.default_rng(5)
    for index in range(n):
        side = rng.choice(list(CROP_START))
        shape = (rng.integers(1, 3), side, side, 3)
        noise = rng.normal(128, 200, shape) if index % 2 else rng.uniform(0, 256, shape)
        yield np.clip(noise, 0, 255).astype(np.uint8)


def bilinear_matrix(n_in, n_out):
    """Half-pixel bilinear interpolation without antialiasing: [n_out, n_in] weights."""
    weights = np.zeros((n_out, n_in))
    for index in range(n_out):
        point = (index + 0.5) * n_in / n_out - 0.5
        low = math.floor(point)
        for pixel, weight in ((low, low + 1 - point), (low + 1, point - low)):
            weights[index, min(max(pixel, 0), n_in - 1)] += weight
    return weights


def turned_and_cropped(window, degrees):
    """From the definition, in float64 -> the exact values, and which pixels draw on no tie of the nearest neighbour."""
    side = window.shape[1]
    centre, angle = (side - 1) / 2, math.radians(degrees)
    row, column = np.mgrid[:side, :side]
    right, up = column - centre, centre - row
    # The point that a counter-clockwise turn brings here.
    x = centre + right * math.cos(angle) + up * math.sin(angle)
    y = centre - (up * math.cos(angle) - right * math.sin(angle))
    tie = np.minimum(np.abs(x % 1 - 0.5), np.abs(y % 1 - 0.5)) < 1e-3
    near_x, near_y = np.round(x).astype(int), np.round(y).astype(int)
    inside = (near_x >= 0) & (near_x < side) & (near_y >= 0) & (near_y < side)
    turned = window[:, near_y.clip(0, side - 1), near_x.clip(0, side - 1)] * inside[:, :, None]
    start = CROP_START[side]
    kept = slice(start, side - start)
    weights = bilinear_matrix(side - 2 * start, side)
    exact = np.einsum('yr,xc,nrck->nyxk', weights, weights, turned[:, kept, kept].astype(float))
    return exact, (weights @ tie[kept, kept] @ weights.T) == 0


def gray(window):
    # TensorFlow scales back by 255.5.
    return (window @ np.array([0.2989, 0.587, 0.114]) / 255 * 255.5)[..., None] * [1, 1, 1]


def brighter(window, delta):
    """Brightness of the whole grey levels; NaN where float32 may have floored the grey either way."""
    level = gray(window)
    either = (np.abs(level - np.round(level)) < 1e-3) & (level > 0)
    level = np.where(either, np.nan, np.floor(level))
    return np.clip((level / 255 + delta) * 255.5, 0, 255)


def turned_hue(window, delta):
    exact = np.empty(window.shape)
    for index in np.ndindex(window.shape[:3]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(window[index] / 255))
        exact[index] = colorsys.hsv_to_rgb((hue + delta) % 1, saturation, value)
    return exact * 255.5


def blurred(window, n_taps):
    taps = np.arange(1 - n_taps // 2, n_taps // 2 + 1)  # -4..5 and -9..10
    weights = np.exp(-(taps**2) / 50) / np.exp(-(taps**2) / 50).sum()
    exact = window.astype(float)
    for axis in (1, 2):
        # SciPy centres an even kernel on tap n // 2; ours is one before it. Its `mirror` is REFLECT.
        exact = scipy.ndimage.correlate1d(exact, weights, axis=axis, mode='mirror', origin=-1)
    return exact


# name -> window -> the value that is floored
REFERENCES = {
    'flip_left_right': lambda w: w[:, :, ::-1],
    'flip_up_down': lambda w: w[:, ::-1],
    'rotate_90': lambda w: np.rot90(w, 1, (1, 2)),
    'rotate_180': lambda w: np.rot90(w, 2, (1, 2)),
    'rotate_270': lambda w: np.rot90(w, 3, (1, 2)),
    'grayscale': gray,
    'grayscale_brightness_plus_0.4': lambda w: brighter(w, 0.4),
    'grayscale_brightness_plus_0.8': lambda w: brighter(w, 0.8),
    'grayscale_brightness_minus_0.4': lambda w: brighter(w, -0.4),
    'hue_plus_0.4': lambda w: turned_hue(w, 0.4),
    'hue_plus_0.8': lambda w: turned_hue(w, 0.8),
    'blur_10': lambda w: blurred(w, 10),
    'blur_20': lambda w: blurred(w, 20),
}
TURNS = {f'rotate_{degrees}_crop': degrees for degrees in (45, 135, 225, 315)}


def assert_floor_of(result, exact, slack=1e-2):
    """`result` is floor(exact); one off is allowed only within `slack` of a whole number. NaN is not compared."""
    known = np.isfinite(exact)
    assert known.mean() > 0.98
    result, exact = result[known], exact[known]
    difference = np.abs(result.astype(int) - np.floor(exact))
    assert (difference[np.abs(exact - np.round(exact)) > slack] == 0).all()
    assert difference.max() <= 1


def test_every_operation_has_a_reference():
    assert REFERENCES.keys() | TURNS.keys() == augment.OPERATIONS.keys()


@pytest.mark.parametrize('name', REFERENCES)
def test_operation_equals_its_reference(name):
    whole_numbers = name.startswith(('flip', 'rotate'))
    for window in random_windows():
        result = augment.apply_operation(window, name).numpy()
        exact = REFERENCES[name](window)
        if whole_numbers:
            np.testing.assert_array_equal(result, exact)
        else:
            assert_floor_of(result, exact)


@pytest.mark.parametrize('name', augment.OPERATIONS)
def test_operation_equals_the_original(name):
    with np.load(ORIGINAL) as original:
        window, expected = original['window'], original[name]
    result = augment.apply_operation(window, name)
    assert result.dtype == expected.dtype
    # Another processor may round the interpolated values otherwise. Whole levels are equal.
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('name', TURNS)
def test_turn_crop_and_resize_equal_the_definition(name):
    compared = []
    for window in random_windows():
        exact, untied = turned_and_cropped(window, TURNS[name])
        result = augment.apply_operation(window, name).numpy()
        assert result.dtype == np.float32  # not floored: the values between grey levels remain
        np.testing.assert_allclose(result[:, untied], exact[:, untied], atol=1e-3)
        compared.append(untied.mean())
    assert np.mean(compared) > 0.8


def test_turn_equals_scipy():
    # On an odd side the centre is a pixel, and by 45 degrees no nearest neighbour is a tie.
    for window in random_windows():
        side = window.shape[1]
        if side % 2:
            turned = scipy.ndimage.rotate(window, 45, axes=(2, 1), order=0, reshape=False, mode='grid-constant')
            kept = slice(CROP_START[side], side - CROP_START[side])
            weights = bilinear_matrix(side - 2 * CROP_START[side], side)
            exact = np.einsum('yr,xc,nrck->nyxk', weights, weights, turned[:, kept, kept].astype(float))
            np.testing.assert_allclose(augment.apply_operation(window, 'rotate_45_crop'), exact, atol=1e-3)


def test_the_sheet_shows_the_operations_in_their_order(tmp_path, capsys):
    small.write_data(tmp_path)
    picture = augment_sheet.middle_frame(str(tmp_path), 'full', 'clip 2.mp4', 32)
    sheet = np.asarray(augment_sheet.draw_sheet(picture, tile_px=32))
    assert sheet.shape == (3 * (32 + 16), 6 * (32 + 4), 3)
    np.testing.assert_array_equal(sheet[16:48, :32], picture)
    np.testing.assert_array_equal(sheet[16:48, 36:68], picture[:, ::-1])  # the first operation
    np.testing.assert_array_equal(sheet[-32:, -36:-4], augment.apply_operation(picture[None], 'blur_20')[0])  # the last
    assert entry.main(['augment_sheet', f'--records={tmp_path}', f'--out={tmp_path}/sheet.jpg', '--size_px=64']) == 0
    assert Image.open(tmp_path / 'sheet.jpg').size == (6 * 228, 3 * 240)
    arguments = ['augment_sheet', f'--records={tmp_path}', '--video_id=none.mp4', f'--out={tmp_path}/x.jpg']
    assert entry.main(arguments) == 1
    assert 'no training clip none.mp4 in the stream full' in capsys.readouterr().err
