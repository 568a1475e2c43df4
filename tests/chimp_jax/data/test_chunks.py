"""Chunks: bounded, complete, and no window is changed by a cut."""

import dataclasses

import numpy as np
import pytest
import small

from chimp_jax.data import chunks
from data_prep.windows import window_seconds

LEFT, RIGHT = (0.1, 0.4, 0.3, 0.8), (0.6, 0.4, 0.8, 0.8)


def with_boxes(record, *rows):
    """rows: (second, box, confidence, name)."""
    time_s, box, confidence, animal = zip(*rows, strict=True)
    return dataclasses.replace(
        record,
        box_time_s=np.array(time_s, np.float32),
        box=np.array(box, np.float32),
        box_confidence=np.array(confidence, np.float32),
        box_animal=list(animal),
    )


def test_chunks_keep_every_clip_in_order():
    clips = [small.timed(str(i), np.arange(n), last_s=n - 1) for i, n in enumerate([3, 4, 9, 1])]
    names = [[clip.video_id for clip in chunk] for chunk in chunks.in_chunks(clips, 8)]
    assert names == [['0', '1'], ['2'], ['3']]  # 3 + 4 <= 8 < 3 + 4 + 9; 9 stands alone; 9 + 1 > 8


@pytest.mark.parametrize('targets', [range(200), range(0, 200, 7), [199, 3, 90, 91, 210], [5]])
@pytest.mark.parametrize('n_frames,step_s', [(7, 1), (9, 2), (11, 2)])
def test_cutting_a_long_clip_changes_no_window(targets, n_frames, step_s):
    whole = small.record('long.mp4', 200, list(targets), seed=0)
    whole = dataclasses.replace(whole, target_animal=[f'animal {t}' for t in targets])
    pieces = list(chunks.split_long([whole], most_frames=40))
    windows = {}
    for piece in pieces:
        assert len(piece.frame_time_s) <= 40
        assert piece.target_animal == [f'animal {t}' for t in piece.target_time_s]
        plan = chunks.plan_windows([piece], [True], n_frames, step_s)
        seconds = piece.frame_time_s[plan.frame][plan.window]
        assert [piece.frame_jpeg[i] for i in plan.frame] == [
            whole.frame_jpeg[s] for s in piece.frame_time_s[plan.frame]
        ]
        windows |= dict(zip(piece.target_time_s.tolist(), seconds.tolist(), strict=True))
    expected = window_seconds(list(targets), n_frames, step_s, 0, 199).tolist()
    assert windows == dict(zip(targets, expected, strict=True))
    assert sum(len(piece.target_time_s) for piece in pieces) == len(targets)


def test_a_plan_leaves_out_what_is_not_asked():
    # Clip a has frames 0 to 3, b 4 to 9; b's target at second 2 needs seconds 1, 2, 3: frames 5, 6, 7.
    a, b = small.timed('a', np.arange(4), last_s=3), small.timed('b', np.array([2]), last_s=5)
    assert len(b.frame_time_s) == 6
    plan = chunks.plan_windows([a, b], [False, True], 3, 1)
    assert plan.frame.tolist() == [5, 6, 7] and plan.window.tolist() == [[0, 1, 2]]


def test_a_digest_tells_clips_times_and_pictures_apart():
    record = small.record('a', 5, [0, 2], 0)
    others = [small.record('b', 5, [0, 2], 0), small.record('a', 5, [0, 3], 0), small.record('a', 5, [0, 2], 2)]
    boxed = with_boxes(record, (0, LEFT, 0.9, ''))
    others += [boxed, with_boxes(record, (0, LEFT, 0.8, '')), with_boxes(record, (0, RIGHT, 0.9, ''))]
    others += [with_boxes(record, (1, LEFT, 0.9, '')), with_boxes(record, (0, LEFT, 0.9, 'a'))]
    others += [dataclasses.replace(boxed, target_animal=['a', ''])]
    others += [dataclasses.replace(boxed, target_box=np.array([LEFT, LEFT], np.float32))]
    digests = {chunks.record_digest(one) for one in [record, *others]}
    assert len(digests) == 1 + len(others) and chunks.record_digest(small.record('a', 5, [0, 2], 0)) in digests


def test_a_window_about_an_animal_has_its_tokens():
    """Two animals: a at the left from second 0 on, b at the right in seconds 2 and 3 only."""
    record = dataclasses.replace(small.record('a', 4, [1, 2, 2], 0), target_animal=['', 'b', 'a'])
    rows = [(t, LEFT, 0.9, 'a') for t in range(4)] + [(t, RIGHT, 0.8 + 0.15 * (t == 3), 'b') for t in (2, 3)]
    record = with_boxes(record, *rows)
    # A chosen clip comes after a clip that is left out: its frames are 2 to 5 of the chunk.
    plan = chunks.plan_windows([small.record('x', 2, [0], 0), record], [False, True], 3, 1, most_animals=2)
    assert plan.frame.tolist() == [2, 3, 4, 5] and plan.boxes.shape == (4, 2, 5)
    # Slots by confidence: a, then b; in second 3 b, then a. Tokens of frame f: 3 f, 3 f + 1, 3 f + 2.
    np.testing.assert_allclose(plan.boxes[..., 0], [[0.1, 0], [0.1, 0], [0.1, 0.6], [0.6, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(plan.boxes[..., 4], [[0.9, 0], [0.9, 0], [0.9, 0.8], [0.95, 0.9]], rtol=1e-6)
    assert plan.window.tolist() == [
        [3 * 0 + 1, 3 * 1 + 1, 3 * 2 + 1],  # second 1: its only box is of a
        [3 * 1 + 0, 3 * 2 + 2, 3 * 3 + 1],  # b: the whole frame in second 1, where it has no box
        [3 * 1 + 1, 3 * 2 + 1, 3 * 3 + 2],
    ]
    assert plan.without_slot.tolist() == [False, False, False]
    # One slot: b has none in second 2, a has none in second 3. Nothing of this is silent.
    plan = chunks.plan_windows([record], [True], 3, 1, most_animals=1)
    assert plan.window.tolist() == [[1, 3, 5], [2, 4, 7], [3, 5, 6]]
    assert plan.without_slot.tolist() == [False, True, True]


def test_a_target_whose_animal_is_not_seen_is_marked():
    names = ['a', 'c', '', '']
    record = dataclasses.replace(small.record('a', 9, [0, 0, 4, 8], 0), target_animal=names)
    plan = chunks.plan_windows([with_boxes(record, (0, LEFT, 0.9, 'a'))], [True], 3, 1, most_animals=3)
    # c has no box; the seconds 4 and 8 have one target without a name and no box: the published whole frame.
    assert plan.without_slot.tolist() == [False, True, False, False]
    assert (plan.window % 4).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_without_a_region_branch_boxes_change_nothing():
    record = small.record('a', 9, [0, 4, 8], 0)
    plans = [chunks.plan_windows([one], [True], 3, 1) for one in (record, with_boxes(record, (0, LEFT, 0.9, 'a')))]
    assert plans[0].boxes is None and plans[0].without_slot is None
    np.testing.assert_array_equal(plans[0].window, plans[1].window)
    # With slots and no box, the same windows over the tokens of the whole frames.
    plan = chunks.plan_windows([record], [True], 3, 1, most_animals=2)
    np.testing.assert_array_equal(plan.window, plans[0].window * 3)
    np.testing.assert_array_equal(plan.frame, plans[0].frame)
    assert not plan.boxes.any() and plan.boxes.shape == (len(plan.frame), 2, 5) and not plan.without_slot.any()


def test_cutting_a_long_clip_changes_no_window_about_an_animal():
    """Four animals come and go. The same boxes are in the window of every target."""
    rng = np.random.default_rng(0)
    walk = {name: [rng.uniform(0, 0.7), rng.choice([-1, 1]) * 0.002] for name in 'abcd'}
    present = {name: rng.random(20) < 0.5 for name in walk}  # in each 10 s
    rows = [
        (t, (x + v * t, 0.3, x + v * t + 0.1, 0.6), round(rng.uniform(0.3, 1), 3), name)
        for t in range(200)
        for name, (x, v) in walk.items()
        if present[name][t // 10]
    ]
    targets = sorted([(t, name) for t in range(0, 200, 3) for name in 'abcd'])
    whole = small.record('long.mp4', 200, [t for t, _ in targets], seed=0)
    whole = with_boxes(dataclasses.replace(whole, target_animal=[name for _, name in targets]), *rows)

    def shown(pieces):
        found = {}
        for piece in pieces:
            plan = chunks.plan_windows([piece], [True], 7, 1, most_animals=2)
            tokens = np.concatenate([np.zeros((len(plan.frame), 1, 5)), plan.boxes], axis=1).reshape(-1, 5)
            keys = zip(piece.target_time_s.tolist(), piece.target_animal, strict=True)
            found |= dict(zip(keys, zip(tokens[plan.window].tolist(), plan.without_slot, strict=True), strict=True))
        return found

    pieces = list(chunks.split_long([whole], most_frames=40))
    assert len(pieces) > 4 and shown(pieces) == shown([whole])
    lacking = np.array([without for _, without in shown([whole]).values()])
    assert 0.1 < lacking.mean() < 0.9


def burst(video_id, first_s, jpegs):
    """The record of a photo at second 0 among the photos of its burst."""
    seconds = np.arange(first_s, first_s + len(jpegs), dtype=np.int32)
    one = small.record(video_id, len(jpegs), [0], 0)
    return dataclasses.replace(one, frame_jpeg=list(jpegs), frame_time_s=seconds)


def test_photos_of_a_burst_share_their_frames():
    a, b, c, other = b'a', b'b', b'c', b'other'
    pieces = [burst('1', 0, [a, b, c]), burst('x', 0, [other]), burst('2', -1, [a, b, c]), burst('3', -2, [a, b, c])]
    plan = chunks.plan_windows(pieces, [True] * 4, 3, 1)
    assert plan.frame.tolist() == [0, 1, 2, 3]  # in place of 10
    # by hand: the frames before, at and after each photo; the edge repeats
    assert plan.window.tolist() == [[0, 0, 1], [3, 3, 3], [0, 1, 2], [1, 2, 2]]
    jpegs = [jpeg for piece in pieces for jpeg in piece.frame_jpeg]
    assert chunks.first_of_equal(jpegs).tolist() == [0, 1, 2, 3, 0, 1, 2, 0, 1, 2]
    # the first record with a frame need not be asked for
    plan = chunks.plan_windows(pieces, [False, False, True, False], 3, 1)
    assert plan.frame.tolist() == [0, 1, 2] and plan.window.tolist() == [[0, 1, 2]]


def test_equal_frames_with_other_boxes_are_other_frames():
    one, two = burst('1', 0, [b'a', b'b']), burst('2', -1, [b'a', b'b'])
    with_box = [with_boxes(one, (0, LEFT, 0.9, '')), with_boxes(two, (-1, LEFT, 0.9, '')), two]
    plan = chunks.plan_windows(with_box, [True] * 3, 3, 1, most_animals=1)
    # The first two have the same box in frame a and none in frame b; the third has none.
    assert plan.frame.tolist() == [0, 1, 4]
    assert plan.boxes[:, 0, 4].tolist() == [pytest.approx(0.9), 0, 0]
