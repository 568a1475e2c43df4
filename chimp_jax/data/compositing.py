"""Compositing: the animal of another second of the clip is pasted into an example, as a second animal.

Both seconds have one labelled animal, whose box is known. Both animals keep their places and their distances, because
the camera is the same. So labels of single animals give seconds with two.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from chimp_jax.animals import slots

MOST_COVERED = 0.3  # of the smaller box, at the seconds of the labels
MARGIN = 0.1  # of the box's side: the paste fades to nothing within this distance outside the box


class Labels(NamedTuple):
    """The labels of a record for training: m rows about animals in M seconds."""

    time: np.ndarray  # [M] int32, ascending
    middle: np.ndarray  # [M] position of the frame of the second among the record's frames
    is_single: np.ndarray  # [M] bool: the second has one labelled animal
    second: np.ndarray  # [m] position of the row's second
    distance_m: np.ndarray  # [m]
    track: np.ndarray  # [m] the track of the animal, -1 if unknown
    is_certain: np.ndarray  # [m] bool: the track is known by name or box


class Donor(NamedTuple):
    """What is pasted into an example."""

    host: int  # the track of the animal in the example
    track: int  # the track that is pasted
    frame: np.ndarray  # [n] for each frame of the record the frame that it takes pixels from, -1 for none
    host_m: np.ndarray  # [K'] distances of the host in the example's seconds
    donor_m: np.ndarray  # [K'] distances of the pasted animal


class Pasted(NamedTuple):
    """The pixels to paste into S frames.

    frame [S] int32: positions among the record's frames, -1 in all frames if nothing is pasted. box [S, 5]: what is
    pasted (confidence 0: nothing). cover [S, 5]: a nearer animal, which the pasted one must not cover.
    """

    frame: np.ndarray
    box: np.ndarray
    cover: np.ndarray


def nothing_pasted(n_frames: int) -> Pasted:
    """Returns the plan that leaves the frames as they are."""
    return Pasted(np.full(n_frames, -1, np.int32), *np.zeros((2, n_frames, 5), np.float32))


def choose_donor(
    labels: Labels, tracks: slots.Tracks, times_s: np.ndarray, seconds: Sequence[int], random: np.random.Generator
) -> Donor | None:
    """Returns a random donor for an example of these seconds (positions among labels.time), None if none fits.

    times_s: [n] seconds of the record's frames. The donor is the animal some whole seconds earlier or later. At each of
    the example's seconds it has a label and a box, and it overlaps the host little.
    """
    row_at = _single_rows(labels, tracks, len(times_s))
    host = row_at[labels.middle[seconds]]
    if (host < 0).any() or len(set(labels.track[host])) > 1:
        return None
    host_box = tracks.box[labels.track[host], labels.middle[seconds]]
    for start in random.permutation(np.nonzero(row_at >= 0)[0]):
        shifted_s = np.clip(times_s + times_s[start] - times_s[labels.middle[seconds[0]]], times_s[0], times_s[-1])
        place = np.searchsorted(times_s, shifted_s)
        place = np.where(times_s[place] == shifted_s, place, -1)
        frame = place[labels.middle[seconds]]
        donor = np.where(frame >= 0, row_at[frame], -1)
        if (donor >= 0).all() and len(set(labels.track[donor])) == 1:
            box = tracks.box[labels.track[donor], frame]
            if (_covered(host_box, box) <= MOST_COVERED).all():
                distances = labels.distance_m[host], labels.distance_m[donor]
                return Donor(int(labels.track[host[0]]), int(labels.track[donor[0]]), place, *distances)
    return None


def _single_rows(labels: Labels, tracks: slots.Tracks, n_frames: int) -> np.ndarray:
    """Returns for each frame [n] the row of its second's only label, -1 unless its animal has a box in this frame."""
    row_at = np.full(n_frames, -1)
    rows = np.nonzero(labels.is_single[labels.second] & labels.is_certain)[0]
    frames = labels.middle[labels.second[rows]]
    seen = tracks.padded()[labels.track[rows], frames, 4] > 0
    row_at[frames[seen]] = rows[seen]
    return row_at


def _covered(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the share of the smaller box that the larger one covers, for pairs of boxes [k, 4 or more]."""
    shared = np.minimum(first[:, 2:4], second[:, 2:4]) - np.maximum(first[:, :2], second[:, :2])
    areas = [np.prod(box[:, 2:4] - box[:, :2], axis=1) for box in (first, second)]
    return np.prod(np.maximum(shared, 0), axis=1) / np.maximum(np.minimum(*areas), 1e-12)


def plan_paste(donor: Donor, tracks: slots.Tracks, frame: np.ndarray, host_box: np.ndarray) -> Pasted:
    """Returns what to paste into the frames [S] of an example: the nearer animal is in front. host_box: [S, 5]."""
    source = donor.frame[frame]
    box = np.where(source[:, None] >= 0, tracks.box[donor.track, source], 0)
    is_nearer = donor.host_m[0] < donor.donor_m[0]
    source = np.where(box[:, 4] > 0, source, frame)  # its own frame, where nothing is pasted
    return Pasted(source.astype(np.int32), box.astype(np.float32), np.where(is_nearer, host_box, 0).astype(np.float32))


def paste(frames: tf.Tensor, source: tf.Tensor, box: tf.Tensor, cover: tf.Tensor) -> tf.Tensor:
    """Returns the frames [S, H, W, 3] uint8 with the pixels of `source`, of the same shape, inside the boxes [S, 5].

    The paste is whole inside the box and fades to nothing outside, within MARGIN of its width and height. Inside the
    box `cover` [S, 5] the frames stay as they are, with the same fading.
    """
    height_px, width_px = frames.shape[1:3]
    weight = _weights(box, height_px, width_px) * (1 - _weights(cover, height_px, width_px))
    below, above = tf.cast(frames, tf.float32), tf.cast(source, tf.float32)
    return tf.cast(tf.round(below + weight[..., None] * (above - below)), tf.uint8)


def _weights(box: tf.Tensor, height_px: int, width_px: int) -> tf.Tensor:
    """Returns [S, H, W]: 1 inside a box, 0 far outside, linear in between; all 0 without a box."""

    def along(low, high, size_px):
        centre = (tf.range(size_px, dtype=tf.float32) + 0.5) / size_px
        margin = tf.maximum(MARGIN * (high - low), 1e-6)
        inwards = tf.minimum(centre - low + margin, high + margin - centre) / margin
        return tf.clip_by_value(inwards, 0.0, 1.0)

    x1, y1, x2, y2, confidence = (part for part in tf.split(box, 5, axis=-1))  # [S, 1] each
    rows, columns = along(y1, y2, height_px), along(x1, x2, width_px)
    return rows[:, :, None] * columns[:, None, :] * tf.cast(confidence > 0, tf.float32)[:, :, None]
