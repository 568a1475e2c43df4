"""Augmentations on hand-worked pictures, in tf.data, and as they are drawn; see test_augment_references too."""

import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from chimp_jax.data import augment, operations

SIDE = 24
TURNS = [45, 135, 225, 315]


def random_window(side=SIDE, n_frames=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n_frames, side, side, 3), dtype=np.uint8)


def gray_picture(rows):
    """[H, W] numbers -> window [1, H, W, 3]."""
    return np.repeat(np.array(rows, np.uint8)[None, :, :, None], 3, axis=3)


def apply_to_gray(rows, name):
    result = augment.apply_operation(gray_picture(rows), name).numpy()
    assert (result == result[..., :1]).all()
    return result[0, :, :, 0].tolist()


def test_sets_are_those_of_the_table():
    a1, a2, a4 = (operations.OPERATION_SETS[name] for name in ('a1', 'a2', 'a4'))
    assert (len(a1), len(a2), len(a4)) == (9, 15, 12)
    assert a2[:9] == a1 and a4[:9] == a1
    assert a2[9] == a4[9] == 'grayscale'
    assert a4[10:] == ('blur_10', 'blur_20')
    assert set(a2) | set(a4) == set(augment.OPERATIONS)
    assert list(operations.OPERATION_SETS) == ['a1', 'a2', 'a4']


@pytest.mark.parametrize(
    'operation_set, probability, n_choices',
    [('a1', 0.5, 18), ('a1', 0.8, 11), ('a2', 0.5, 30), ('a2', 0.8, 19), ('a4', 0.5, 24)],
)
def test_true_probabilities(operation_set, probability, n_choices):
    n_operations = len(operations.OPERATION_SETS[operation_set])
    assert operations.number_of_choices(n_operations, probability) == n_choices


def test_impossible_probability_is_refused():
    for probability in (0, -0.1, 1.01):
        with pytest.raises(ValueError, match='probability must be in'):
            operations.number_of_choices(9, probability)


@pytest.mark.parametrize('name', augment.OPERATIONS)
def test_eager_equals_tf_data_and_treats_all_frames_alike(name):
    window = random_window(n_frames=3)
    eager = augment.apply_operation(window, name)
    assert eager.dtype == (tf.float32 if name.endswith('crop') else tf.uint8) and eager.shape == window.shape
    assert (eager.numpy() != window).any()
    # Blur may be compiled with another order of summation: one grey level at the floor.
    tolerance = 1 if name.startswith('blur') else 0

    static = tf.data.Dataset.from_tensors(window).map(lambda frames: augment.apply_operation(frames, name))
    assert static.element_spec.shape == window.shape
    dynamic = tf.data.Dataset.from_generator(
        lambda: [window], output_signature=tf.TensorSpec([3, None, None, 3], tf.uint8)
    ).map(lambda frames: augment.apply_operation(frames, name))
    assert dynamic.element_spec.shape.as_list() == [3, None, None, 3]
    for dataset in (static, dynamic):
        (mapped,) = dataset.as_numpy_iterator()
        assert np.abs(mapped.astype(float) - eager.numpy()).max() <= tolerance

    for frame in range(3):  # a frame alone gives what it gives in its window
        alone = augment.apply_operation(window[frame : frame + 1], name).numpy()
        assert np.abs(alone[0].astype(float) - eager.numpy()[frame]).max() <= tolerance


HAND_TURNS = {
    'flip_left_right': [[2, 1, 0], [5, 4, 3], [8, 7, 6]],
    'flip_up_down': [[6, 7, 8], [3, 4, 5], [0, 1, 2]],
    'rotate_90': [[2, 5, 8], [1, 4, 7], [0, 3, 6]],
    'rotate_180': [[8, 7, 6], [5, 4, 3], [2, 1, 0]],
    'rotate_270': [[6, 3, 0], [7, 4, 1], [8, 5, 2]],
    # By 45 degrees every pixel of the ring moves one place counter-clockwise: the result's top left
    # (-1, -1 from the centre) shows the point (0, -1.41), whose nearest pixel is the top middle.
    # The crop of 3 px starts at int(0.45) = 0 and the resize from 3 to 3 changes nothing.
    'rotate_45_crop': [[1, 2, 5], [0, 4, 8], [3, 6, 7]],
    'rotate_135_crop': [[5, 8, 7], [2, 4, 6], [1, 0, 3]],
    'rotate_225_crop': [[7, 6, 3], [8, 4, 0], [5, 2, 1]],
    'rotate_315_crop': [[3, 0, 1], [6, 4, 2], [7, 8, 5]],
}


@pytest.mark.parametrize('name', HAND_TURNS)
def test_flips_and_turns_by_hand(name):
    assert apply_to_gray([[0, 1, 2], [3, 4, 5], [6, 7, 8]], name) == HAND_TURNS[name]


def test_crop_of_512_starts_at_76_and_is_360_wide(monkeypatch):
    crops = []

    def central_crop(images, fraction):
        crops.append((images.numpy(), original(images, fraction).numpy()))
        return original(images, fraction)

    original = tf.image.central_crop
    monkeypatch.setattr(tf.image, 'central_crop', central_crop)
    augment.apply_operation(random_window(512, n_frames=1), 'rotate_45_crop')
    ((before, after),) = crops
    np.testing.assert_array_equal(after, before[:, 76 : 76 + 360, 76 : 76 + 360])


@pytest.mark.parametrize('angle', TURNS)
@pytest.mark.parametrize('side', [16, 64, 96, 128, 160, 224, 512])
def test_no_black_corners(side, angle):
    white = np.full((1, side, side, 3), 255, np.uint8)
    # Interpolated between equal values, to the last bits. A black pixel would be seen.
    assert (augment.apply_operation(white, f'rotate_{angle}_crop').numpy() > 254.999).all()


def test_grayscale_by_hand():
    # 0.2989, 0.587 and 0.114 of 255.5 (TensorFlow scales back by 255.5 and floors).
    red_green_blue = np.array([[[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255] * 3]]], np.uint8)
    result = augment.apply_operation(red_green_blue, 'grayscale').numpy()
    assert result[0, :, :, 0].tolist() == [[76, 149], [29, 255]]


@pytest.mark.parametrize(
    'name, expected',
    [
        # v / 255 * 255.5 + delta * 255.5, cut to 0..255, floor: 100 -> 100.196 + 102.2 = 202.396.
        # The grayscale before it changes no gray: floor(0.9999 * 200 / 255 * 255.5) = 200.
        ('grayscale_brightness_plus_0.4', [[102, 202], [252, 255]]),
        ('grayscale_brightness_plus_0.8', [[204, 255], [255, 255]]),
        ('grayscale_brightness_minus_0.4', [[0, 0], [48, 98]]),
    ],
)
def test_brightness_by_hand(name, expected):
    assert apply_to_gray([[0, 100], [150, 200]], name) == expected


def test_hue_plus_0_8_is_minus_0_2():
    window = random_window(64)
    result = augment.apply_operation(window, 'hue_plus_0.8').numpy()
    backwards = tf.image.adjust_hue(window, -0.2).numpy()
    assert np.abs(result.astype(int) - backwards).max() <= 1
    assert (result == backwards).mean() > 0.99


def test_blur_of_a_point_by_hand():
    # A white point at (20, 20) spreads to where a tap reaches it: taps -4..5 -> 15..24.
    picture = np.zeros((40, 40), np.uint8)
    picture[20, 20] = 255
    blurred = np.array(apply_to_gray(picture, 'blur_10'))
    lit_rows, lit_columns = np.nonzero(blurred)
    assert (lit_rows.min(), lit_rows.max()) == (15, 24)
    assert (lit_columns.min(), lit_columns.max()) == (15, 24)
    # Weight of tap 0: 1 / sum(exp(-x^2 / 50) for x in -4..5) = 1 / 8.536 -> 255 / 8.536^2 = 3.4997.
    assert blurred[20, 20] == blurred.max() == 3


@pytest.mark.parametrize('side', [24, 96])
@pytest.mark.parametrize('name', ['blur_10', 'blur_20'])
def test_blur_of_white_is_254_as_in_the_original(name, side):
    # Measured with TensorFlow 2.4.1 and tensorflow-addons 0.12.1: both kernels give 254.99995, which is floored.
    white = np.full((1, side, side, 3), 255, np.uint8)
    assert (augment.apply_operation(white, name).numpy() == 254).all()
    assert (augment.apply_operation(0 * white, name).numpy() == 0).all()


def test_augmented_frames_are_float32_whatever_is_drawn():
    window = random_window(16)
    drawn = [augment.augment(window, 'a1', 0.8, tf.constant([seed, 7])).numpy() for seed in range(20)]
    assert {frames.dtype for frames in drawn} == {np.dtype(np.float32)}
    whole = [(frames == np.floor(frames)).all() for frames in drawn]
    assert 0 < sum(whole) < 20  # only the turns with a crop have values between grey levels


def test_blur_of_a_small_picture_is_refused():
    with pytest.raises(ValueError, match='blur_20 reflects 10 pixels.*10 x 10'):
        augment.apply_operation(random_window(10), 'blur_20')
    with pytest.raises(ValueError, match='blur_10 reflects 5 pixels'):
        augment.apply_operation(random_window(5), 'blur_10')
    assert augment.apply_operation(random_window(11), 'blur_20').shape == (2, 11, 11, 3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown operation 'zoom'; known: flip_left_right, .*"):
        augment.apply_operation(random_window(), 'zoom')
    with pytest.raises(ValueError, match="unknown augmentation set 'a3'; known: a1, a2, a4"):
        augment.augment(random_window(), 'a3', 0.5, tf.constant([0, 0]))
    with pytest.raises(ValueError, match='needs a square uint8 window.*float32'):
        augment.apply_operation(random_window().astype(np.float32), 'grayscale')
    with pytest.raises(ValueError, match=r'needs a square uint8 window.*\(2, 24, 20, 3\)'):
        augment.apply_operation(random_window()[:, :, :20], 'rotate_90')


def augmented_by_seed(window, operation_set, probability, n_draws):
    return tf.data.Dataset.range(n_draws).map(
        lambda index: augment.augment(window, operation_set, probability, tf.stack([index, tf.constant(7, tf.int64)]))
    )


@pytest.mark.parametrize('operation_set, probability, n_choices', [('a1', 0.8, 11), ('a2', 0.8, 19), ('a4', 0.5, 24)])
def test_every_operation_is_drawn_equally_often(operation_set, probability, n_choices):
    window = random_window(16, n_frames=1)
    names = operations.OPERATION_SETS[operation_set]
    # Blur may differ by one level between eager and compiled: count it by its picture in tf.data.
    pictures = {}
    for name in names:
        (picture,) = tf.data.Dataset.from_tensors(window).map(
            lambda frames, name=name: augment.apply_operation(frames, name)
        )
        pictures[picture.numpy().astype(np.float32).tobytes()] = name
    pictures[window.astype(np.float32).tobytes()] = 'none'
    assert len(pictures) == len(names) + 1
    n_draws = 100 * n_choices
    drawn = augmented_by_seed(window, operation_set, probability, n_draws)
    assert drawn.element_spec.shape == window.shape
    counts = Counter(pictures[result.tobytes()] for result in drawn.as_numpy_iterator())
    # 100 expected of each, standard deviation below 10: five of them are 50.
    for name in names:
        assert abs(counts[name] - 100) < 50, name
    unchanged_share = 1 - len(names) / n_choices
    deviation = math.sqrt(n_draws * unchanged_share * (1 - unchanged_share))
    assert abs(counts['none'] - n_draws * unchanged_share) < 5 * deviation


def test_seed_decides_and_eager_equals_tf_data():
    window = random_window(16)
    mapped = list(augmented_by_seed(window, 'a1', 0.8, 20).as_numpy_iterator())
    again = list(augmented_by_seed(window, 'a1', 0.8, 20).as_numpy_iterator())
    assert all((one == other).all() for one, other in zip(mapped, again, strict=True))
    assert len({result.tobytes() for result in mapped}) > 5
    for index, expected in enumerate(mapped):
        seed = tf.constant([index, 7], tf.int32)  # the width of the seed does not matter
        result = augment.augment(window, 'a1', 0.8, seed)
        np.testing.assert_array_equal(result.numpy(), expected)


def test_augment_with_a_shape_known_only_at_run_time():
    windows = [random_window(16), random_window(96)]
    dataset = tf.data.Dataset.from_generator(
        lambda: windows, output_signature=tf.TensorSpec([2, None, None, 3], tf.uint8)
    ).map(lambda window: augment.augment(window, 'a4', 1.0, tf.constant([3, 4])))
    assert [result.shape for result in dataset.as_numpy_iterator()] == [
        (2, 16, 16, 3),
        (2, 96, 96, 3),
    ]
