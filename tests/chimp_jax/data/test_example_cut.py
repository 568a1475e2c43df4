"""Examples of a record with animals, by hand: slots, beliefs, labels, and what is left out."""

import numpy as np
import pytest

from chimp_jax.data.batch_plan import NO_ANIMALS, AnimalCut, WindowCut
from chimp_jax.data.example_cut import cut_examples

CUT = WindowCut(n_frames=3, step_s=1, windows_per_example=1, frames_per_example=3)
SHARED = CUT._replace(windows_per_example=2, frames_per_example=5)
LEFT, RIGHT, MIDDLE = (0.1, 0.4, 0.3, 0.8), (0.6, 0.4, 0.8, 0.8), (0.35, 0.4, 0.55, 0.8)
NO_BOX = (np.nan,) * 4


def fields(targets, boxes=(), n_seconds=12):
    """targets: (second, animal, distance, box). boxes: (second, box, confidence, animal)."""
    time, animal, distance, box = zip(*targets, strict=True)
    columns = zip(*boxes, strict=True) if boxes else ([], np.zeros((0, 4)), [], [])
    at, corners, confidence, of_box = columns
    return {
        'video_id': 'a.mp4',
        'frame_time_s': np.arange(n_seconds, dtype=np.int32),
        'target_time_s': np.array(time, np.int32),
        'target_animal': list(animal),
        'target_distance_m': np.array(distance, np.float32),
        'target_box': np.array(box, np.float32),
        'box_time_s': np.array(at, np.float32),
        'box': np.array(corners, np.float32),
        'box_confidence': np.array(confidence, np.float32),
        'box_animal': list(of_box),
    }


def always(box, confidence, animal, seconds=range(12)):
    return [(t, box, confidence, animal) for t in seconds]


def test_a_single_label_of_a_known_animal_believes_in_its_slot_only():
    boxes = always(LEFT, 0.6, '') + always(RIGHT, 0.8, '')
    record = fields([(2, '', 5.0, LEFT), (6, '', 7.0, NO_BOX), (9, '', np.nan, RIGHT)], boxes)
    first, second = cut_examples(record, CUT, AnimalCut(3)).examples
    # Second 2 is about LEFT, by its box: it has the first slot. RIGHT is there as well, with the second one.
    assert first.time.tolist() == [2] and first.distance.tolist() == [5.0] and first.mask.tolist() == [1]
    assert first.frame.tolist() == [1, 2, 3] and first.window.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(first.boxes[:, 0], [[*LEFT, 0.6]] * 3, rtol=1e-6)
    np.testing.assert_allclose(first.boxes[:, 1], [[*RIGHT, 0.8]] * 3, rtol=1e-6)
    assert not first.boxes[:, 2].any()
    np.testing.assert_allclose(first.belief, [[0.6, 0, 0]], rtol=1e-6)
    # Nobody knows which animal the label of second 6 is about: both may be, by their confidence.
    np.testing.assert_allclose(second.belief, [[0.8, 0.6, 0]], rtol=1e-6)
    np.testing.assert_allclose(second.boxes[0, :2, 0], [0.6, 0.1], rtol=1e-6)
    for one in (first, second):
        assert not one.animal_distance.any() and not one.animal_mask.any()


def test_the_belief_has_a_limit_and_needs_a_box_in_the_second():
    record = fields([(2, 'a', 5.0, NO_BOX), (6, 'a', 7.0, NO_BOX)], always(LEFT, 1.0, 'a', [1, 2, 3, 5]))
    first, second = cut_examples(record, CUT, AnimalCut(1)).examples
    np.testing.assert_allclose(first.belief, [[0.9]], rtol=1e-6)  # a tenth of each label trains the whole frame
    assert second.belief.tolist() == [[0]] and second.mask.tolist() == [1]  # a is hidden in second 6: as published
    np.testing.assert_allclose(second.boxes[:, 0, 4], [1, 0, 0])


def test_a_second_with_two_labelled_animals_has_both_labels():
    boxes = always(LEFT, 0.6, 'a') + always(RIGHT, 0.8, 'b')
    record = fields([(2, 'b', 9.0, RIGHT), (2, 'a', 4.0, LEFT), (6, 'a', 5.0, LEFT)], boxes)
    found = cut_examples(record, CUT, AnimalCut(2))
    both, one = found.examples
    assert both.time.tolist() == [2] and both.mask.tolist() == [0] and both.belief.tolist() == [[0, 0]]
    assert both.animal_distance.tolist() == [[9.0, 4.0]] and both.animal_mask.tolist() == [[1, 1]]
    np.testing.assert_allclose(both.boxes[:, :, 0], [[0.6, 0.1]] * 3, rtol=1e-6)  # the more confident one first
    np.testing.assert_allclose(one.belief, [[0.6, 0]], rtol=1e-6)
    assert found.n_left_out == 0 and sorted(found.label_m) == [4, 5, 9]


def test_labelled_animals_without_a_box_or_a_slot_are_left_out_and_counted():
    boxes = always(LEFT, 0.6, 'a') + always(RIGHT, 0.8, 'b', range(6)) + always(MIDDLE, 0.4, 'c')
    rows = [(2, 'a', 4.0, NO_BOX), (2, 'b', 9.0, NO_BOX), (2, 'd', 12.0, NO_BOX)]  # d has no box
    rows += [(9, 'b', 8.0, NO_BOX), (9, 'd', 7.0, NO_BOX)]  # b has no box in the window of second 9
    first, *others = cut_examples(fields(rows, boxes), CUT, AnimalCut(3)).examples
    assert not others and first.time.tolist() == [2]
    assert first.animal_distance.tolist() == [[9.0, 4.0, 0.0]] and first.animal_mask.tolist() == [[1, 1, 0]]
    assert cut_examples(fields(rows, boxes), CUT, AnimalCut(3)).n_left_out == 3
    # One slot: b has it, and a is left out, too.
    (first,) = cut_examples(fields(rows, boxes), CUT, AnimalCut(1)).examples
    assert first.animal_distance.tolist() == [[9.0]]
    assert cut_examples(fields(rows, boxes), CUT, AnimalCut(1)).n_left_out == 4


def test_the_published_model_leaves_out_seconds_with_several_animals():
    rows = [(2, 'a', 4.0, LEFT), (2, 'b', 9.0, RIGHT), (5, 'a', 3.0, LEFT), (7, 'a', np.nan, LEFT), (7, 'b', 6.0, LEFT)]
    found = cut_examples(fields(rows), CUT, NO_ANIMALS)
    assert [one.time.tolist() for one in found.examples] == [[5], [7]]  # second 7 has one label
    assert [one.distance.tolist() for one in found.examples] == [[3.0], [6.0]]
    assert found.n_left_out == 2 and sorted(found.label_m) == [3, 6]
    assert found.examples[0].boxes.shape == (3, 0, 5)


def test_windows_that_share_frames_share_slots():
    boxes = always(LEFT, 0.6, 'a') + always(RIGHT, 0.8, 'b', range(3, 12)) + always(MIDDLE, 0.9, 'c')
    record = fields([(1, 'a', 4.0, LEFT), (3, 'a', 5.0, LEFT), (3, 'b', 9.0, RIGHT), (9, 'b', 8.0, RIGHT)], boxes)
    first, second = cut_examples(record, SHARED, AnimalCut(2)).examples
    assert first.frame.tolist() == [0, 1, 2, 3, 4] and first.window.tolist() == [[0, 1, 2], [2, 3, 4]]
    assert first.time.tolist() == [1, 3] and first.mask.tolist() == [1, 0]
    # b and a are labelled and come before the more confident c; b has its slot from second 3 on.
    np.testing.assert_allclose(first.boxes[:, 0, 4], [0, 0, 0, 0.8, 0.8], rtol=1e-6)
    np.testing.assert_allclose(first.boxes[:, 1, 4], [0.6] * 5, rtol=1e-6)
    np.testing.assert_allclose(first.belief, [[0, 0.6], [0, 0]], rtol=1e-6)
    assert first.animal_distance.tolist() == [[0, 0], [9, 5]] and first.animal_mask.tolist() == [[0, 0], [1, 1]]
    assert second.time.tolist() == [9, -1] and second.mask.tolist() == [1, 0]
    np.testing.assert_allclose(second.belief, [[0.8, 0], [0, 0]], rtol=1e-6)


def test_a_record_without_labels_has_no_examples():
    found = cut_examples(fields([(2, 'a', np.nan, LEFT)], always(LEFT, 0.6, 'a')), CUT, AnimalCut(2))
    assert found.examples == [] and len(found.label_m) == 0 and found.n_left_out == 0


# --- compositing ---


def crossing(**changes):
    """One animal: at LEFT until second 5, 4 m away; at RIGHT from second 6 on, 9 m away."""
    rows = [(t, '', 4.0 if t < 6 else 9.0, LEFT if t < 6 else RIGHT) for t in (1, 3, 7, 9)]
    boxes = always(LEFT, 0.6, 'a', range(6)) + always(RIGHT, 0.8, 'a', range(6, 12))
    return fields(rows, boxes) | changes


def composited(record, cut=CUT, most=2, draw=0, probability=1.0):
    return cut_examples(record, cut, AnimalCut(most, probability), draw).examples


def test_the_animal_of_another_second_becomes_a_second_animal():
    near, _, far, _ = composited(crossing())
    # Second 1 takes from second 7 or 9: the boxes of seconds 1 and 3 are the same.
    assert near.time.tolist() == [1] and near.mask.tolist() == [0] and near.belief.tolist() == [[0, 0]]
    assert near.animal_distance.tolist() == [[4.0, 9.0]] and near.animal_mask.tolist() == [[1, 1]]
    assert near.pasted.frame.tolist() in ([6, 7, 8], [8, 9, 10])
    np.testing.assert_allclose(near.boxes[:, 0], [[*LEFT, 0.6]] * 3, rtol=1e-6)
    np.testing.assert_allclose(near.boxes[:, 1], [[*RIGHT, 0.8]] * 3, rtol=1e-6)
    np.testing.assert_array_equal(near.pasted.box, near.boxes[:, 1])
    np.testing.assert_array_equal(near.pasted.cover, near.boxes[:, 0])  # 4 m stays in front of 9 m
    assert far.animal_distance.tolist() == [[9.0, 4.0]] and not far.pasted.cover.any()  # 4 m covers 9 m


def test_windows_that_share_frames_get_an_animal_with_a_label_in_each():
    first, second = composited(crossing(), SHARED)
    # Seconds 1 and 3 take from 7 and 9: six seconds later. No other shift has two labels.
    assert first.time.tolist() == [1, 3] and first.frame.tolist() == [0, 1, 2, 3, 4]
    assert first.pasted.frame.tolist() == [6, 7, 8, 9, 10]
    assert first.animal_distance.tolist() == [[4, 9], [4, 9]] and first.animal_mask.tolist() == [[1, 1], [1, 1]]
    assert second.pasted.frame.tolist() == [0, 1, 2, 3, 4]


def test_at_the_edge_of_a_clip_frames_repeat_in_both():
    rows = [(0, '', 4.0, LEFT), (8, '', 9.0, RIGHT)]
    record = fields(rows, always(LEFT, 0.6, 'a', range(6)) + always(RIGHT, 0.8, 'a', range(6, 12)))
    first, second = composited(record)
    assert first.frame.tolist() == [0, 0, 1] and first.pasted.frame.tolist() == [8, 8, 9]
    assert second.frame.tolist() == [7, 8, 9] and second.pasted.frame.tolist() == [0, 0, 1]  # 8 s earlier, clamped


def test_a_frame_in_which_the_donor_has_no_box_stays_as_it_is():
    boxes = always(LEFT, 0.6, 'a', range(4)) + always(RIGHT, 0.8, 'b', [7])
    first, _ = composited(fields([(1, 'a', 4.0, LEFT), (7, 'b', 9.0, RIGHT)], boxes))
    assert first.pasted.frame.tolist() == [0, 7, 2] and first.pasted.box[:, 4].astype(bool).tolist() == [
        False,
        True,
        False,
    ]
    np.testing.assert_array_equal(first.boxes[:, 1], first.pasted.box)


OVERLAPPING = (0.2, 0.4, 0.4, 0.8)  # half of LEFT
INSIDE = (0.25, 0.5, 0.29, 0.6)  # all of it is in LEFT, but the IoU is 0.05


@pytest.mark.parametrize('other', [OVERLAPPING, INSIDE])
def test_animals_that_would_hide_each_other_are_not_pasted(other):
    boxes = always(LEFT, 0.6, 'a', range(4)) + always(other, 0.8, 'b', range(6, 12))
    record = fields([(1, 'a', 4.0, LEFT), (7, 'b', 9.0, other)], boxes)
    for one in composited(record):
        assert (one.pasted.frame == -1).all() and one.mask.tolist() == [1] and not one.animal_mask.any()


def test_only_seconds_with_one_known_animal_are_combined():
    two = crossing()
    two['target_time_s'] = np.array([1, 3, 7, 7], np.int32)  # second 7 has two labels
    two['target_animal'] = ['a', 'a', 'a', 'b']
    assert all((one.pasted.frame == -1).all() for one in composited(two))
    unknown = crossing(target_box=np.full((4, 4), np.nan, np.float32))
    assert all((one.pasted.frame == -1).all() for one in composited(unknown))


def test_the_pasted_animal_takes_an_empty_slot_or_the_least_confident_one():
    boxes = always(LEFT, 0.6, 'a', range(6)) + always(RIGHT, 0.8, 'a', range(6, 12)) + always(MIDDLE, 0.5, 'c')
    record = crossing(
        **{
            name: fields([(0, '', 1.0, LEFT)], boxes)[name]
            for name in ('box_time_s', 'box', 'box_confidence', 'box_animal')
        }
    )
    three, two = composited(record, most=3)[0], composited(record, most=2)[0]
    np.testing.assert_allclose(three.boxes[1, :, 4], [0.6, 0.5, 0.8], rtol=1e-6)
    assert three.animal_mask.tolist() == [[1, 0, 1]]
    np.testing.assert_allclose(two.boxes[1, :, 4], [0.6, 0.8], rtol=1e-6)


def test_compositing_depends_on_draw_clip_and_place_alone():
    record = crossing()

    def pasted(draw, probability=0.5, **changes):
        return [one.pasted.frame.tolist() for one in composited(record | changes, draw=draw, probability=probability)]

    assert pasted(3) == pasted(3)
    assert len({str(pasted(draw)) for draw in range(20)}) > 4
    assert len({str(pasted(3, video_id=f'{i}.mp4')) for i in range(20)}) > 4
    share = np.mean([np.array(pasted(draw))[:, 0] >= 0 for draw in range(100)])
    assert abs(share - 0.5) < 0.1  # of 400, standard deviation 0.025
    assert all(frame == [-1] * 3 for frame in pasted(3, probability=0.0))
