"""Batches of kept features: the features are those of the pictures that training on frames would see."""

import functools

import jax
import numpy as np
import pytest
import small

from chimp_jax.data import augment, input_pipeline, operations
from chimp_jax.data.batch_plan import NO_ANIMALS, AnimalCut, Augmentation, BatchPlan, WindowCut
from chimp_jax.data.frames import decode_records
from chimp_jax.scoring import Scorer
from chimp_jax.training import feature_batches, kept_features
from chimp_jax.training.clip_look import frames_to_encode, plan_calls
from chimp_jax.training.kept_features import Encoder

WINDOWS = WindowCut(n_frames=3, step_s=1, windows_per_example=2, frames_per_example=5)
CLIPS = {'clip 0.mp4': 0, 'clip 2.mp4': 2}


def plan(most: int = 0, batch_size: int = 4, n_shares: int = 1) -> BatchPlan:
    animals = AnimalCut(most) if most else NO_ANIMALS
    return BatchPlan(WINDOWS, Augmentation('a1', 0.5), small.SIZE_PX, batch_size, n_shares, 16, animals)


@functools.cache
def kept(regions: bool):
    """Model, variables, records and their kept features."""
    model = small.model(regions)
    inputs = {'frames': np.zeros((1, 1, 32, 32, 3), np.uint8), 'window': np.zeros((1, 1, 1), np.int32)}
    if regions:
        inputs['boxes'] = np.zeros((1, 1, 1, 5), np.float32)
    variables = jax.jit(model.init)(jax.random.key(0), **inputs)
    if regions:  # the last layer starts at zero
        rng = np.random.default_rng(3)
        delta = {'kernel': rng.normal(0, 0.1, (256, 1280)), 'bias': rng.normal(0, 0.1, 1280)}
        variables['params']['region_branch']['delta'] = jax.tree.map(np.float32, delta)
    records = [small.record(name, 9, [0, 2, 4, 6], seed) for name, seed in CLIPS.items()]
    records = [small.with_animals(one) for one in records] if regions else records
    scorer = Scorer(model, small.SIZE_PX, jax.local_devices()[:2])
    channels = kept_features.count_channels(model, variables, small.SIZE_PX)
    encoder = Encoder(scorer, scorer.place(variables), small.SIZE_PX, mirrored=True, n_channels=channels)
    looks, encoded = {}, {}
    for record in records:
        looks[record.video_id] = look = frames_to_encode(record, regions)
        encoded[record.video_id] = kept_features._encode(look, kept_features._decode((record, look), 32), encoder)
    return model, variables, records, kept_features.KeptFeatures(looks, encoded, encoder)


def batches(regions: bool, epoch: int = 1, seed: int = 0, n_steps: int = 2) -> list[dict]:
    features = kept(regions)[3]
    share = feature_batches.cut_share(CLIPS, plan(3 if regions else 0), features, mirrored=True)
    return list(feature_batches.feature_batches({0: share}, features, plan(), range(n_steps), seed, epoch))


@pytest.mark.parametrize('regions', [False, True])
def test_a_batch_gives_the_distances_of_its_pictures(regions):
    """The model on decoded, flipped pictures and flipped boxes, as training on frames has them."""
    model, variables, records, _ = kept(regions)
    of_look = jax.jit(functools.partial(model.apply, method='distances_of_look'))
    of_pictures = jax.jit(model.apply)
    by_name = {record.video_id: record for record in records}
    flipped = 0
    for batch in batches(regions):
        given = {'features': batch['features'], 'window': batch['window']}
        if regions:
            pooled = kept_features.Pooled(batch['bins'], batch['mean'])
            given |= {'pooled': pooled, 'boxes': batch['boxes']}
        found = np.asarray(of_look(variables, **given))
        for e, name in enumerate(batch['video_id']):
            record = by_name[name.decode()]
            frames = decode_records([record], small.SIZE_PX)
            cut = input_pipeline.cut_examples(vars(record), WINDOWS, AnimalCut(3) if regions else NO_ANIMALS)
            times = batch['time'][e].tolist()
            example = next(one for one in cut.examples if one.time.tolist() == times)
            expected = []
            for flip in (False, True):
                pictures, boxes = frames[example.frame], example.boxes
                if flip:
                    pictures = augment.apply_operation(pictures, 'flip_left_right').numpy()
                    boxes = operations.box_after('flip_left_right', boxes)
                inputs = {'frames': pictures[None], 'window': example.window[None]}
                inputs |= {'boxes': boxes[None]} if regions else {}
                expected.append(np.asarray(of_pictures(variables, **inputs))[0])
            errors = [np.abs(found[e] - one).max() for one in expected]
            assert min(errors) < 2e-5 and np.abs(expected[0] - expected[1]).max() > 1e-4
            flipped += errors[1] < errors[0]
            np.testing.assert_array_equal(batch['distance'][e], example.distance)
            np.testing.assert_array_equal(batch['mask'][e], example.mask)
            if regions:
                np.testing.assert_array_equal(batch['animal_distance'][e], example.animal_distance)
                np.testing.assert_array_equal(batch['belief'][e], example.belief)  # no box leaves the picture
                assert len(np.unique(found[e][0])) == 3  # the frame, two animals; the third slot has the frame's
    assert 0 < flipped < 4


def test_order_and_flips_depend_on_seed_and_epoch_alone():
    first, again, other = batches(False), batches(False), batches(False, epoch=2)
    for a, b in zip(first, again, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert any((a['features'] != b['features']).any() for a, b in zip(first, other, strict=True))
    seen = np.concatenate([batch['time'] for batch in first]).ravel().tolist()
    assert sorted(seen) == [0, 0, 2, 2, 4, 4, 6, 6]  # every window of both clips once


def test_half_of_the_examples_are_mirrored():
    n, rows = 1000, np.arange(1000)
    names = ('time', 'window', 'distance', 'mask', 'video_id')
    share = {'frame': np.stack([rows, rows + n])[..., None]} | {name: rows for name in names}
    features = type('Kept', (), {'features': np.arange(2 * n, dtype=np.float32)})
    one = plan(batch_size=2)
    (batch,) = feature_batches.feature_batches(
        {0: share}, features, one._replace(batch_size=2 * n), [0], seed=5, epoch=1
    )
    row = batch['features'][:, 0]
    np.testing.assert_array_equal(np.sort(row % n), rows)
    assert 440 < (row >= n).sum() < 560  # 500 +- 4 standard deviations of sqrt(250) = 16


def test_equal_pictures_and_boxes_are_encoded_once():
    record = small.with_animals(small.record('a.mp4', 6, [0, 2], 0))
    record.frame_jpeg[3] = record.frame_jpeg[1]  # photos of a burst may share their frames
    look = frames_to_encode(record, with_boxes=True)
    assert look.frame.tolist() == [0, 1, 2, 4, 5] and look.row.tolist() == [0, 1, 2, 1, 3, 4]
    # Animal a is at LEFT up to second 2 and at LOW later; the distinct frame of seconds 1 and 3 has both, and b.
    assert np.bincount(look.box_frame).tolist() == [2, 3, 2, 2, 2]
    calls = plan_calls(look)
    assert calls.frame.tolist() == [0, 1, 2, 3, 4] and calls.of_frame.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(calls.boxes[calls.of_box, calls.slot, :4], look.box)


def test_a_frame_of_many_boxes_is_encoded_several_times():
    record = small.record('a.mp4', 2, [0], 0)
    boxes = np.array([[0.1 * i, 0.1, 0.1 * i + 0.05, 0.5] for i in range(9)], np.float32)
    object.__setattr__(record, 'box', boxes)
    object.__setattr__(record, 'box_time_s', np.ones(9, np.float32))
    object.__setattr__(record, 'box_confidence', np.full(9, 0.5, np.float32))
    object.__setattr__(record, 'box_animal', [f'n{i}' for i in range(9)])
    look = frames_to_encode(record, with_boxes=True)
    n = len(look.box)
    calls = plan_calls(look)
    assert n >= 9 and calls.boxes.shape == (len(calls.frame), 4, 5)
    assert np.bincount(calls.frame)[1] == 3 and len(set(zip(calls.of_box, calls.slot, strict=True))) == n
    np.testing.assert_array_equal(calls.boxes[calls.of_box, calls.slot, :4], look.box)
    np.testing.assert_array_equal(calls.frame[calls.of_box], look.box_frame)
