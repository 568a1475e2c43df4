"""Records with animals -> batches: boxes and labels belong to their keys, and move with the frames."""

import dataclasses
import logging

import numpy as np
import pytest
import small
from test_input_pipeline import CUT, PLAIN, PLAN, SHARED, batches

from chimp_jax.data import augment, input_pipeline, operations
from chimp_jax.data.batch_plan import AnimalCut, Augmentation
from chimp_jax.data.folds import load_folds
from chimp_jax.data.frames import decode_frame
from chimp_jax.data.training_data import TrainingData
from data_prep.records import read_dataset

ANIMALS = AnimalCut(2)
PASTED = AnimalCut(3, 1.0)
NAMES = ('boxes', 'belief', 'animal_distance', 'animal_mask')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return folder, {r.video_id: r for r in small.write_data(folder, adapt=small.with_animals)['train']}


def examples(batch_list):
    """Returns the examples one by one: dicts without the batch axis."""
    return [
        {name: values[i] for name, values in batch.items()} for batch in batch_list for i in range(len(batch['time']))
    ]


def left_out(caplog):
    return [message for message in caplog.messages if 'left out' in message]


def labels_of(record):
    return {
        (int(t), name): float(d)
        for t, name, d in zip(record.target_time_s, record.target_animal, record.target_distance_m, strict=True)
    }


def box_of(record, animal, second):
    """The boxes of small.with_animals, from its description."""
    if animal == 'b':
        return [*small.RIGHT, 0.8]
    return [*(small.LEFT if second < len(record.frame_time_s) / 2 else small.LOW), 0.9]


@pytest.mark.parametrize('cut', [CUT, SHARED])
def test_boxes_and_labels_belong_to_their_keys(data, cut):
    folder, records = data
    found = examples(batches(folder, PLAIN._replace(animals=ANIMALS, windows=cut)))
    assert len(found) >= 8
    kinds = set()
    for one in found:
        record = records[one['video_id'].decode()]
        labels, last_s = labels_of(record), len(record.frame_jpeg) - 1
        for k, t in enumerate(one['time'].tolist()):
            if t < 0:
                assert not (one['mask'][k] or one['belief'][k].any() or one['animal_mask'][k].any())
                continue
            seconds = np.clip(np.arange(t - 3, t + 4), 0, last_s)
            for slot, animal in enumerate('ab'):  # a has more confidence
                expected = [box_of(record, animal, second) for second in seconds]
                np.testing.assert_allclose(one['boxes'][one['window'][k], slot], expected, rtol=1e-6)
            both = (t, 'b') in labels
            kinds.add(both)
            assert one['mask'][k] == (not both) and one['animal_mask'][k].tolist() == [both] * 2
            if both:
                assert one['animal_distance'][k].tolist() == [labels[t, 'a'], labels[t, 'b']]
                assert not one['belief'][k].any()
            else:
                assert one['distance'][k] == np.float32(labels[t, 'a'])
                np.testing.assert_allclose(one['belief'][k], [0.9, 0], rtol=1e-6)
    assert kinds == {True, False}


def test_targets_of_one_second_are_one_window(data):
    folder, records = data
    index = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), CUT, ANIMALS)
    for name, n_examples, distance_m in zip(index.video_id, index.n_examples, index.distance_m, strict=True):
        record = records[name]
        known = np.isfinite(record.target_distance_m)
        assert n_examples == len(set(record.target_time_s[known].tolist())) < known.sum()
        assert sorted(distance_m) == sorted(record.target_distance_m[known])
    assert not index.n_left_out.any()


def test_the_published_model_skips_seconds_with_several_animals_and_says_so(data, caplog):
    folder, records = data
    fold = load_folds(folder, 'clip', 2)[1]
    config = small.config(folder)
    with caplog.at_level(logging.WARNING):
        published = TrainingData(config.data, batch_size=2, seed=0)
        n_steps = published.n_steps(fold)
    # Each clip has two such seconds of two labels. In a clip of an odd seed the last target has no label.
    (line,) = left_out(caplog)
    assert '24 labels in 6 clips are left out of training' in line and 'set --config.model.regions=True' in line
    found = examples(published.batches(fold, epoch=1))
    assert len(found) == 2 * n_steps == 6  # two single labels in each of the clips 0, 2, 4
    assert 'boxes' not in found[0]
    for one in found:
        labels = labels_of(records[one['video_id'].decode()])
        assert (one['time'][0], 'b') not in labels and one['distance'][0] == np.float32(labels[one['time'][0], 'a'])
    caplog.clear()
    assert TrainingData(config.data, batch_size=2, seed=0, regions=True).n_steps(fold) == 6  # four seconds each
    assert not left_out(caplog)


def test_boxes_move_as_the_frames(data):
    folder, _ = data
    plain = examples(batches(folder, PLAIN._replace(animals=ANIMALS)))
    moved = examples(batches(folder, PLAN._replace(animals=ANIMALS, augmentation=Augmentation('a1', 1.0))))
    seen = set()
    for before, after in zip(plain, moved, strict=True):
        assert (before['video_id'], before['time'][0]) == (after['video_id'], after['time'][0])
        frames = before['frames'].astype(np.uint8)
        (name,) = [
            name
            for name in operations.OPERATION_SETS['a1']
            if np.array_equal(augment.apply_operation(frames, name), after['frames'])
        ]
        np.testing.assert_array_equal(after['boxes'], operations.box_after(name, before['boxes']))
        there = after['boxes'][:, :, 4] > 0  # [S, A]
        np.testing.assert_array_equal(after['belief'], np.where(there[3], before['belief'], 0))
        np.testing.assert_array_equal(after['animal_mask'], before['animal_mask'] * there.any(axis=0))
        seen.add(name)
    assert len(seen) > 4


def test_labels_of_an_animal_that_leaves_the_picture_do_not_count():
    # Four frames and two windows of three. A turn by 180 degrees loses no box, one by 45 loses the corner's box.
    corner, middle = [0.0, 0.0, 0.1, 0.1, 1.0], [0.4, 0.4, 0.6, 0.6, 1.0]
    boxes = np.array([[corner, middle], [corner, middle], [middle, corner], [middle, corner]], np.float32)
    window, one = np.array([[0, 1, 2], [1, 2, 3]]), np.ones((2, 2), np.float32)
    for name, left in (('rotate_180', np.ones((2, 2))), ('rotate_45_crop', np.array([[0, 1], [1, 0]]))):
        _, belief, mask = operations.move_animals(name, boxes, window, 0.5 * one, one)
        np.testing.assert_array_equal(belief, 0.5 * left)  # by the middle frame
        np.testing.assert_array_equal(mask, one)  # each animal has a box left in some frame of each window
    _, belief, mask = operations.move_animals('rotate_45_crop', boxes, window[:, [0, 0, 1]][:1], one[:1], one[:1])
    assert mask.tolist() == [[0, 1]] and belief.tolist() == [[0, 1]] and mask.dtype == np.float32


def test_a_pasted_animal_brings_its_pixels(data):
    folder, records = data
    plain = examples(batches(folder, PLAIN._replace(animals=AnimalCut(3))))
    pasted = examples(batches(folder, PLAIN._replace(animals=PASTED)))
    n_pasted = 0
    for before, after in zip(plain, pasted, strict=True):
        record = records[after['video_id'].decode()]
        labels = labels_of(record)
        t = int(after['time'][0])
        if (t, 'b') in labels or not after['animal_mask'].any():
            np.testing.assert_array_equal(before['frames'], after['frames'])
            assert before['animal_mask'].tolist() == after['animal_mask'].tolist()
            continue
        n_pasted += 1
        # a at the other end of the clip: its only other label, 4 s away. b has the second slot, so a's copy the third.
        other = {2: 6, 6: 2}[t]
        assert after['animal_mask'].tolist() == [[1, 0, 1]] and after['mask'].tolist() == [0]
        np.testing.assert_allclose(after['animal_distance'], [[labels[t, 'a'], 0, labels[other, 'a']]])
        last_s = len(record.frame_jpeg) - 1
        shown_s = np.clip(np.clip(np.arange(t - 3, t + 4), 0, last_s) + other - t, 0, last_s)
        each = (after['frames'], before['frames'], *after['boxes'][:, [0, 2]].swapaxes(0, 1), shown_s)
        for frame, old, host, box, second in zip(*each, strict=True):
            np.testing.assert_allclose(box, box_of(record, 'a', second), rtol=1e-6)
            source = decode_frame(record.frame_jpeg[second], small.SIZE_PX)
            row, column = (int(small.SIZE_PX * (box[i] + box[i + 2]) / 2) for i in (1, 0))
            if (host != box).any():  # else one covers the other
                np.testing.assert_array_equal(frame[row, column], source[row, column])
            np.testing.assert_array_equal(frame[0], old[0])  # the upper row is outside all boxes
    assert n_pasted >= 4


def test_shares_put_together_are_the_batches_of_one_reader_with_animals(data):
    folder, _ = data
    plan = PLAN._replace(n_shares=2, animals=AnimalCut(3, 0.5))
    index = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), CUT, plan.animals)
    ranges = input_pipeline.share_records(index.n_examples, 2)
    shares = {i: read_dataset(folder, 'full', 'train', *where) for i, where in enumerate(ranges)}
    together = batches(folder, plan, shares=shares)
    apart = [batches(folder, plan, shares={i: shares[i]}) for i in (0, 1)]
    assert len(together) > 3
    for whole, *halves in zip(together, *apart, strict=False):
        for name in whole:
            np.testing.assert_array_equal(whole[name], np.concatenate([half[name] for half in halves]))
    again, other = batches(folder, plan, shares=shares), batches(folder, plan, shares=shares, epoch=2)
    for first, second in zip(together, again, strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert any((a[name] != b[name]).any() for a, b in zip(together, other, strict=True) for name in NAMES)


@pytest.mark.parametrize(
    'regions,fields,message',
    [
        (True, {'most_animals': 0}, 'data.most_animals=0 is too small.*set --config.data.most_animals=1 or more'),
        (
            True,
            {'most_animals': 1, 'composite_probability': 0.5},
            'most_animals=1 is too small.*most_animals=2 or more',
        ),
        (True, {'composite_probability': 1.5}, 'data.composite_probability=1.5 is no probability; set 0 to 1'),
        (False, {'composite_probability': 0.5}, 'set --config.model.regions=True, or leave the flag out'),
    ],
)
def test_fields_that_do_not_fit_are_refused(regions, fields, message):
    config = small.config('data')
    config.data.update(fields)
    with pytest.raises(ValueError, match=message):
        TrainingData(config.data, batch_size=4, seed=0, regions=regions)


def test_a_label_without_a_box_among_several_is_counted_in_the_log(tmp_path, caplog):
    def hide_b(record):
        boxes = {name: getattr(record, name) for name in ('box_time_s', 'box', 'box_confidence')}
        is_a = np.array([name == 'a' for name in record.box_animal])
        return dataclasses.replace(record, box_animal=['a'] * is_a.sum(), **{k: v[is_a] for k, v in boxes.items()})

    small.write_data(tmp_path, adapt=lambda record: hide_b(small.with_animals(record)))
    data = TrainingData(small.config(tmp_path).data, batch_size=4, seed=0, regions=True)
    with caplog.at_level(logging.WARNING):
        assert data.n_steps(load_folds(tmp_path, 'clip', 2)[1]) == 3
    (line,) = left_out(caplog)
    assert '12 labels in 6 clips are left out of training' in line and 'data.most_animals=3' in line
