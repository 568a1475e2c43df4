"""Slots: which track a target is about, and which tracks have a place."""

import numpy as np
import pytest

from chimp_jax.animals import slots
from chimp_jax.animals.slots import ClipBoxes, Tracks

LEFT, RIGHT, MIDDLE = (0.1, 0.4, 0.3, 0.8), (0.6, 0.4, 0.8, 0.8), (0.4, 0.4, 0.6, 0.8)
NO_BOX = (np.nan,) * 4


def clip(*rows):
    """rows: (second, box, confidence, name)."""
    time_s, box, confidence, animal = zip(*rows, strict=True) if rows else ([], np.zeros((0, 4)), [], [])
    return ClipBoxes(np.array(time_s, np.float32), np.array(box), np.array(confidence), list(animal))


def about(tracks, targets):
    """targets: (second, name, box); the tracks are at seconds 0, 1, 2, ..."""
    second = np.array([row[0] for row in targets])
    found = slots.targets_about(
        tracks, second, second, [row[1] for row in targets], np.array([row[2] for row in targets], float)
    )
    return [None if j < 0 else tracks.name[j] for j in found.track], found.is_certain.tolist()


def test_tracks_have_their_boxes_at_the_seconds_of_the_frames():
    found = slots.tracks_at(clip((0, RIGHT, 0.9, 'b'), (2, RIGHT, 0.7, 'b'), (1, LEFT, 0.8, 'a')), np.arange(4))
    assert found.name == ['a', 'b'] and found.is_given.tolist() == [True, True]
    # a has one box, at second 1; b is interpolated at second 1 and has none at second 3, a second after its last box.
    np.testing.assert_allclose(found.box[0, 1], [*LEFT, 0.8], rtol=1e-6)
    np.testing.assert_allclose(found.box[1, :3, 4], [0.9, 0.8, 0.7], rtol=1e-6)
    np.testing.assert_allclose(found.box[1, 1, :4], RIGHT, rtol=1e-6)
    assert not found.box[0, [0, 2, 3]].any() and not found.box[1, 3].any()


def test_a_clip_without_boxes_has_no_tracks():
    found = slots.tracks_at(clip(), np.arange(3))
    assert found.name == [] and found.box.shape == (0, 3, 5)
    assert about(found, [(0, 'a', NO_BOX), (1, '', LEFT), (2, '', NO_BOX)]) == ([None] * 3, [False] * 3)


def test_a_target_is_about_its_name_then_its_box_then_the_most_confident_box():
    unnamed = (0, LEFT, 0.6, ''), (0, RIGHT, 0.9, ''), (1, LEFT, 0.6, '')
    two = slots.tracks_at(clip(*unnamed, (8, MIDDLE, 0.5, 'c')), np.arange(9))
    # Found tracks are named from left to right: 1 is LEFT, 2 is RIGHT.
    assert two.name == ['1', '2', 'c']
    assert about(two, [(0, '1', RIGHT)]) == (['1'], [True])  # the name, not the box
    nearly_right = (0.62, 0.4, 0.82, 0.8)
    assert about(two, [(0, '', nearly_right)]) == (['2'], [True])
    assert about(two, [(0, '', NO_BOX)]) == (['2'], [False])  # 0.9 > 0.6
    assert about(two, [(1, '', NO_BOX)]) == (['1'], [False])  # only LEFT is there
    assert about(two, [(1, '', RIGHT)]) == (['1'], [False])  # its box overlaps none
    assert about(two, [(1, '2', NO_BOX)]) == (['2'], [True])  # hidden at this second, but this animal
    # Animal d has no box. The box of second 8 belongs to c, by a table; the boxes of second 0 have no names.
    assert about(two, [(8, 'd', NO_BOX)]) == ([None], [False])
    assert about(two, [(8, 'd', MIDDLE)]) == ([None], [False])
    assert about(two, [(0, 'd', NO_BOX)]) == (['2'], [False])


def test_targets_of_one_second_are_about_different_tracks():
    two = slots.tracks_at(clip((0, LEFT, 0.6, ''), (0, RIGHT, 0.9, '')), [0])
    between = (0.25, 0.4, 0.45, 0.8)  # overlaps LEFT by a quarter of its width
    assert about(two, [(0, '', between), (0, 'x', LEFT)]) == ([None, '1'], [False, True])
    assert about(two, [(0, '1', RIGHT), (0, '', LEFT)]) == (['1', None], [True, False])  # LEFT is taken
    assert about(two, [(0, 'x', NO_BOX), (0, 'y', NO_BOX)]) == ([None, None], [False, False])  # no guess


@pytest.mark.parametrize('most', [1, 2, 3])
def test_slots_of_a_frame_are_its_most_confident_tracks(most):
    box = np.zeros((3, 2, 5), np.float32)
    box[:, :, 0] = np.array([1, 2, 3])[:, None] / 10
    box[:, 0, 4] = [0.5, 0.9, 0.5]  # frame 0: the second, then the first of equals
    box[:, 1, 4] = [0.0, 0.2, 0.4]  # frame 1: the third, the second; the first is absent
    slot, boxes = slots.ranked_slots(box, most)
    ranks = np.array([[1, -1], [0, 1], [2, 0]])
    np.testing.assert_array_equal(slot, np.where(ranks < most, ranks, -1))
    expected = np.array([[0.9, 0.5, 0.5], [0.4, 0.2, 0.0]])[:, :most]
    np.testing.assert_allclose(boxes[..., 4], expected, rtol=1e-6)
    lefts = np.array([[0.2, 0.1, 0.3], [0.3, 0.2, 0.0]])[:, :most]
    np.testing.assert_allclose(boxes[..., 0], lefts, rtol=1e-6)


def test_slots_of_an_example_hold_the_animals_of_its_targets_first():
    box = np.zeros((4, 2, 5), np.float32)
    box[:, :, 4] = [[0.1, 0.2], [0.9, 0.3], [0, 0], [0.4, 0.95]]
    assert slots.example_slots(box, [0], 3).tolist() == [0, 3, 1]  # 0.95, then 0.9; the third is absent
    assert slots.example_slots(box, [0, 2], 3).tolist() == [0, 2, 3]  # an animal of a target may be hidden
    assert slots.example_slots(box, [], 5).tolist() == [3, 1, 0, -1, -1]
    assert slots.example_slots(box, [0, 1, 3], 2).tolist() == [3, 1]  # too many: the most confident
    assert slots.example_slots(np.zeros((0, 1, 5)), [], 2).tolist() == [-1, -1]


def test_tracks_of_equal_confidence_keep_their_order():
    box = np.zeros((3, 1, 5), np.float32)
    box[..., 4] = 0.5
    tracks = Tracks(['1', '2', '3'], np.zeros(3, bool), box)
    assert about(tracks, [(0, '', NO_BOX)])[0] == ['1']
    assert slots.example_slots(box, [2], 2).tolist() == [2, 0]
