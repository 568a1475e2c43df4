"""The names of the augmentations, in their published sets, and what they do to boxes. augment.py does them to pictures.

This file does not import TensorFlow, because prediction needs only the names.
"""

import math

import numpy as np

CROP_FRACTION = 0.7  # of the side: the part of a square without black corners after a turn by 45 degrees

_A1 = (
    'flip_left_right',
    'flip_up_down',
    'rotate_90',
    'rotate_180',
    'rotate_270',
    'rotate_45_crop',
    'rotate_135_crop',
    'rotate_225_crop',
    'rotate_315_crop',
)
# There is no a3 (Ivanov 2021).
OPERATION_SETS: dict[str, tuple[str, ...]] = {
    'a1': _A1,
    'a2': _A1
    + (
        'grayscale',
        'grayscale_brightness_plus_0.4',
        'grayscale_brightness_plus_0.8',
        'grayscale_brightness_minus_0.4',
        'hue_plus_0.4',
        'hue_plus_0.8',
    ),
    'a4': _A1 + ('grayscale', 'blur_10', 'blur_20'),
}


def number_of_choices(n_operations: int, probability: float) -> int:
    """Returns the number of ids to draw from, so that about `probability` of them name an operation.

    Published rounding: the true probability is n / round(n / p), so a1p80 augments 9 of 11 examples (0.818) and a2p80
    15 of 19 (0.789).
    """
    if not 0 < probability <= 1:
        raise ValueError(f'augmentation probability must be in (0, 1], got {probability}')
    return round(n_operations / probability)


def box_after(operation: str, boxes: np.ndarray) -> np.ndarray:
    """Returns the boxes [..., 5] after a named operation on their pictures: x1, y1, x2, y2 in shares, confidence.

    A box that is turned by 45 degrees becomes the smallest upright box around it, cut at the picture's border. It is
    gone (all 0) if its middle leaves the picture; else at least half of its width and height are left, or it fills the
    picture. The crop of a turned picture is rounded to pixels, the box is not: an edge may be one pixel off.
    """
    boxes = np.asarray(boxes)
    if operation not in _MOVES:
        return boxes
    move = _MOVES[operation]
    x1, y1, x2, y2, confidence = np.moveaxis(boxes.astype(float), -1, 0)
    corners = np.stack([np.stack(corner, axis=-1) for corner in ((x1, y1), (x2, y1), (x1, y2), (x2, y2))])
    moved = (corners - 0.5) @ move.T + 0.5
    low, high = moved.min(axis=0), moved.max(axis=0)
    middle = (low + high) / 2
    stays = (confidence > 0) & ((middle >= 0) & (middle <= 1)).all(axis=-1)
    found = np.concatenate([np.clip(low, 0, 1), np.clip(high, 0, 1), confidence[..., None]], axis=-1)
    return np.where(stays[..., None], found, 0).astype(boxes.dtype)


def move_animals(
    operation: str, boxes: np.ndarray, window: np.ndarray, belief: np.ndarray, animal_mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns boxes [S, A, 5], belief and animal_mask [K, A] of an example after a named operation on its S frames.

    window: [K, T] positions among the frames. If the box of the window's middle frame has left the picture, there is
    no belief in it. If all boxes that a slot had in a window have left, its label does not count.
    """
    moved = box_after(operation, boxes)
    there = moved[window][..., 4] > 0  # [K, T, A]
    middle = there[:, window.shape[1] // 2]
    return moved, np.where(middle, belief, 0).astype(belief.dtype), animal_mask * there.any(axis=1)


def _turn(angle_degrees: int, scale: float = 1.0) -> np.ndarray:
    """Returns the matrix of a counter-clockwise turn in a picture, whose y axis points down."""
    cosine, sine = math.cos(math.radians(angle_degrees)), math.sin(math.radians(angle_degrees))
    return scale * np.array([[cosine, sine], [-sine, cosine]])


# Where a point of the picture goes, from the middle. The other operations move nothing.
_MOVES = {'flip_left_right': np.diag([-1, 1]), 'flip_up_down': np.diag([1, -1])}
_MOVES |= {f'rotate_{angle}': _turn(angle).round() for angle in (90, 180, 270)}
_MOVES |= {f'rotate_{angle}_crop': _turn(angle, 1 / CROP_FRACTION) for angle in (45, 135, 225, 315)}
