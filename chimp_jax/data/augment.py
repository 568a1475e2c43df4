"""Augmentation of a window: at most one named operation, the same for all frames.

Source: Ivanov 2021, section 5. All operations act on uint8 windows [S, H, W, 3] with H = W and use TensorFlow only, so
they run inside tf.data. Rotation and blur are those of tensorflow-addons, which is no longer maintained. The test
compares all operations with what the original's TensorFlow 2.4.1 and tensorflow-addons 0.12.1 gave. There is no empty
set: without augmentation, do not call `augment`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf

from chimp_jax.data.operations import CROP_FRACTION, OPERATION_SETS, number_of_choices

BLUR_SIGMA_PX = 5.0


def _rotate_and_crop(window: tf.Tensor, angle_degrees: int) -> tf.Tensor:
    """Turns counter-clockwise about the centre, keeps the central 0.7, stretches it to full size.

    Returns float32: as in the original, the values between grey levels remain up to the division by 255.
    As tfa.image.rotate(interpolation='nearest'): float32 coordinates, pixels from outside are 0.
    The crop leaves no zeros for sides above 113 px, nor for 64 and 96 px. At a few small sides (such as 32 px)
    tf.image.central_crop rounds outwards, and a corner pixel is black.
    """
    size_px = tf.shape(window)[1:3]
    height_span, width_span = tf.unstack(tf.cast(size_px - 1, tf.float32))
    # The angle is rounded to float32 first. At 225 and 315 degrees this decides which of two pixels is nearest.
    angle = float(np.float32(math.radians(angle_degrees)))
    cosine, sine = tf.constant(math.cos(angle), tf.float32), tf.constant(math.sin(angle), tf.float32)
    x_offset = (width_span - (cosine * width_span - sine * height_span)) / 2
    y_offset = (height_span - (sine * width_span + cosine * height_span)) / 2
    # One row for all frames. It maps a point of the result to the point of the picture that it shows.
    transform = tf.stack([[cosine, -sine, x_offset, sine, cosine, y_offset, 0.0, 0.0]])
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=window,
        transforms=transform,
        output_shape=size_px,
        fill_value=0.0,
        interpolation='NEAREST',
        fill_mode='CONSTANT',
    )
    cropped = tf.image.central_crop(turned, CROP_FRACTION)
    return tf.image.resize(cropped, size_px, method='bilinear')


def _grayscale(window: tf.Tensor) -> tf.Tensor:
    return tf.image.grayscale_to_rgb(tf.image.rgb_to_grayscale(window))


def _grayscale_brightness(window: tf.Tensor, delta: float) -> tf.Tensor:
    """Changes the brightness by `delta`, a fraction of full scale. TensorFlow saturates at 0 and 255."""
    return tf.image.adjust_brightness(_grayscale(window), delta)


def _gaussian_taps(kernel_px: int) -> np.ndarray:
    """Returns the weights of an even kernel: taps -4..5 for 10, -9..10 for 20; float32, sum 1 - 2e-7.

    In the original, rounding brings flat white to just below 255, which the floor makes 254, with both kernels. The
    sum of the weights does the same here, whatever the order of the additions.
    """
    offset_px = np.arange(-kernel_px // 2 + 1, kernel_px // 2 + 1)
    weights = np.exp(-(offset_px**2) / (2 * BLUR_SIGMA_PX**2))
    return (weights / weights.sum() * (1 - 2e-7)).astype(np.float32)


def _gaussian_blur(window: tf.Tensor, kernel_px: int) -> tf.Tensor:
    """Blurs as tfa.image.gaussian_filter2d(padding='REFLECT', sigma=5), then casts (floor).

    Two passes of k taps replace one pass of k * k taps. They are 3 to 7 times faster at 512 px, and equal to about 2e-4
    before the cast.
    """
    before_px = (kernel_px - 1) // 2
    after_px = kernel_px - 1 - before_px
    if any(side is not None and side <= after_px for side in window.shape[1:3]):
        raise ValueError(
            f'blur_{kernel_px} reflects {after_px} pixels at the border, so pictures must be larger than that; '
            f'got {window.shape[1]} x {window.shape[2]}; use another augmentation set or a larger data.size_px'
        )
    border = [before_px, after_px]
    padded = tf.pad(tf.cast(window, tf.float32), [[0, 0], border, border, [0, 0]], 'REFLECT')
    taps = np.repeat(_gaussian_taps(kernel_px)[:, None, None, None], 3, axis=2)  # [k, 1, 3, 1]
    for kernel in (taps, taps.transpose(1, 0, 2, 3)):
        padded = tf.nn.depthwise_conv2d(padded, kernel, strides=[1, 1, 1, 1], padding='VALID')
    return tf.cast(padded, tf.uint8)


OPERATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    'flip_left_right': tf.image.flip_left_right,
    'flip_up_down': tf.image.flip_up_down,
    'rotate_90': partial(tf.image.rot90, k=1),
    'rotate_180': partial(tf.image.rot90, k=2),
    'rotate_270': partial(tf.image.rot90, k=3),
    'rotate_45_crop': partial(_rotate_and_crop, angle_degrees=45),
    'rotate_135_crop': partial(_rotate_and_crop, angle_degrees=135),
    'rotate_225_crop': partial(_rotate_and_crop, angle_degrees=225),
    'rotate_315_crop': partial(_rotate_and_crop, angle_degrees=315),
    'grayscale': _grayscale,
    'grayscale_brightness_plus_0.4': partial(_grayscale_brightness, delta=0.4),
    'grayscale_brightness_plus_0.8': partial(_grayscale_brightness, delta=0.8),
    'grayscale_brightness_minus_0.4': partial(_grayscale_brightness, delta=-0.4),
    'hue_plus_0.4': partial(tf.image.adjust_hue, delta=0.4),
    'hue_plus_0.8': partial(tf.image.adjust_hue, delta=0.8),
    'blur_10': partial(_gaussian_blur, kernel_px=10),
    'blur_20': partial(_gaussian_blur, kernel_px=20),
}


def apply_operation(window: tf.Tensor, name: str) -> tf.Tensor:
    """Applies one named operation to every frame: [S, H, W, 3] uint8, H = W -> the same shape.

    Returns float32 with values 0..255 for the turns with a crop, uint8 for all others.
    """
    if name not in OPERATIONS:
        raise ValueError(f'unknown operation {name!r}; known: {", ".join(OPERATIONS)}')
    window = tf.convert_to_tensor(window)
    _, height_px, width_px, _ = window.shape
    if window.dtype != tf.uint8 or (None not in (height_px, width_px) and height_px != width_px):
        raise ValueError(
            f'{name} needs a square uint8 window [S, H, H, 3], got {window.dtype.name} '
            f'{window.shape}: resize and cast before the augmentation'
        )
    return tf.ensure_shape(OPERATIONS[name](window), window.shape)


def number_drawn(operation_set: str, probability: float, seed: tf.Tensor) -> tf.Tensor:
    """Returns which operation of the set `augment` applies for this seed: its number, or a greater one for none."""
    n_choices = number_of_choices(len(OPERATION_SETS[operation_set]), probability)
    return tf.random.stateless_uniform([], seed, minval=0, maxval=n_choices, dtype=tf.int32, alg='philox')


def augment(window: tf.Tensor, operation_set: str, probability: float, seed: tf.Tensor) -> tf.Tensor:
    """Applies a random operation of the set, or none, to the window; eager or inside tf.data.

    window: [S, H, W, 3] uint8, H = W. seed: [2] int32 or int64. Equal seeds give equal results, so the caller passes a
    new seed for each example and epoch. Returns the window's shape, float32 with values 0..255.
    """
    if operation_set not in OPERATION_SETS:
        known = ', '.join(OPERATION_SETS)
        raise ValueError(f'unknown augmentation set {operation_set!r}; known: {known}')
    names = OPERATION_SETS[operation_set]
    window = tf.convert_to_tensor(window)
    choice = number_drawn(operation_set, probability, seed)
    branches = [lambda name=name: tf.cast(apply_operation(window, name), tf.float32) for name in names]
    augmented = tf.switch_case(choice, branches, default=lambda: tf.cast(window, tf.float32))
    return tf.ensure_shape(augmented, window.shape)
