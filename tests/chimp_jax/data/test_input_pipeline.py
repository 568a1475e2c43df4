"""Records -> batches."""

import numpy as np
import pytest
import small
import tensorflow as tf
from small import SIZE_PX, write_data

from chimp_jax.data import input_pipeline
from chimp_jax.data.batch_plan import Augmentation, BatchPlan, WindowCut
from chimp_jax.data.folds import load_folds
from chimp_jax.data.frames import decode_frame
from chimp_jax.data.training_data import TrainingData
from data_prep.records import read_dataset

CUT = WindowCut(n_frames=7, step_s=1, windows_per_example=1, frames_per_example=7)
PLAN = BatchPlan(CUT, Augmentation('a1', 0.5), SIZE_PX, batch_size=4, n_shares=1, shuffle_windows=16)
PLAIN = PLAN._replace(augmentation=Augmentation('a1', 1e-9))  # no window is augmented
SHARED = CUT._replace(windows_per_example=2, frames_per_example=9)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return folder, write_data(folder)


def batches(folder, plan=PLAN, epoch=1, clips=None, shares=None):
    records = read_dataset(folder, 'full', 'train')
    if clips is not None:
        records = input_pipeline.of_clips(records, clips)
    return list(input_pipeline.training_batches(shares or {0: records}, plan, seed=0, epoch=epoch))


def keys(batch_list):
    return [
        (video.decode(), int(t))
        for batch in batch_list
        for video, times in zip(batch['video_id'], batch['time'], strict=True)
        for t in times
        if t >= 0
    ]


def test_an_epoch_has_each_labelled_window_at_most_once_in_full_batches(data):
    folder, records = data
    labelled = {
        (r.video_id, int(t))
        for r in records['train']
        for t, d in zip(r.target_time_s, r.target_distance_m, strict=True)
        if np.isfinite(d)
    }
    assert len(labelled) == 6 * 4 - 3
    found = batches(folder)
    assert len(found) == 21 // 4 and len(set(keys(found))) == len(keys(found)) == 20
    assert set(keys(found)) <= labelled
    assert found[0]['frames'].shape == (4, 7, SIZE_PX, SIZE_PX, 3) and found[0]['frames'].dtype == np.float32


def test_labels_and_frames_belong_to_their_keys(data):
    folder, records = data
    by_name = {r.video_id: r for r in records['train']}
    for batch in batches(folder, PLAIN):
        for video, times, distances, frames in zip(
            batch['video_id'], batch['time'], batch['distance'], batch['frames'], strict=True
        ):
            record, t = by_name[video.decode()], int(times[0])
            assert record.target_distance_m[list(record.target_time_s).index(t)] == distances[0]
            seconds = np.clip(np.arange(t - 3, t + 4), 0, len(record.frame_jpeg) - 1)
            for frame, second in zip(frames, seconds, strict=True):
                expected = decode_frame(record.frame_jpeg[second], SIZE_PX)
                np.testing.assert_array_equal(frame, expected)


def test_shared_frames_hold_the_same_windows(data):
    folder, records = data
    by_name = {r.video_id: r for r in records['train']}
    shared = batches(folder, PLAIN._replace(windows=SHARED))
    assert sum(int(b['mask'].sum()) for b in shared) == len(keys(shared)) > 12
    for batch in shared:
        for e in range(2):
            record = by_name[batch['video_id'][e].decode()]
            for t, window in zip(batch['time'][e], batch['window'][e], strict=True):
                if t >= 0:
                    seconds = np.clip(np.arange(t - 3, t + 4), 0, len(record.frame_jpeg) - 1)
                    for frame, second in zip(batch['frames'][e][window], seconds, strict=True):
                        expected = decode_frame(record.frame_jpeg[second], SIZE_PX)
                        np.testing.assert_array_equal(frame, expected)


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(data):
    folder, _ = data
    first = batches(folder, epoch=1)
    tf.random.set_seed(7)  # another library's seed changes nothing
    again = batches(folder, epoch=1)
    other = batches(folder, epoch=2)
    for a, b in zip(first, again, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert keys(first) != keys(other)
    # One window over eight epochs: a fresh draw each time.
    pictures = set()
    for epoch in range(1, 9):
        (batch,) = batches(folder, epoch=epoch, clips={'clip 0.mp4'})
        pictures.add(batch['frames'][batch['time'][:, 0] == 0].tobytes())
    assert len(pictures) > 2


def test_only_the_clips_of_the_fold(data):
    folder, _ = data
    assert {video for video, _ in keys(batches(folder, clips={'clip 0.mp4', 'clip 4.mp4'}))} == {
        'clip 0.mp4',
        'clip 4.mp4',
    }


def test_survey_counts_examples_and_the_median(data):
    folder, records = data
    survey = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), CUT)
    by_name = {r.video_id: r for r in records['train']}
    assert set(survey.video_id) == set(by_name)
    labelled = [int(np.isfinite(by_name[name].target_distance_m).sum()) for name in survey.video_id]
    assert survey.n_examples.tolist() == labelled and sum(labelled) == 21  # an example a window
    some = {'clip 1.mp4', 'clip 4.mp4'}
    expected = [n if name in some else 0 for name, n in zip(survey.video_id, labelled, strict=True)]
    assert survey.counts(some).tolist() == expected
    distances = np.concatenate([by_name[name].target_distance_m for name in some])
    assert survey.median_m(some) == pytest.approx(np.nanmedian(distances))
    with pytest.raises(ValueError, match='no clip of these folds has a distance'):
        survey.median_m({'elsewhere.mp4'})


@pytest.mark.parametrize(
    'counts,n_shares,expected',
    [
        ([4, 4, 4, 4], 1, [(0, 4)]),
        ([4, 4, 4, 4], 2, [(0, 2), (2, 4)]),  # 8 and 8
        ([0, 3, 0, 5, 4, 0], 2, [(0, 4), (4, 6)]),  # 8 and 4: cut nearest to 6, of 0, 3, 8, 12
        ([1, 1, 10], 3, [(0, 2), (2, 3), (3, 3)]),  # wanted cuts after 4 and 8; nearest of 0, 1, 2, 12 are 2 and 12
    ],
)
def test_shares_are_ranges_of_about_equally_many_examples(counts, n_shares, expected):
    assert input_pipeline.share_records(np.array(counts), n_shares) == expected


def test_shares_put_together_are_the_batches_of_one_reader(data):
    """What two processes read, each one share, is what one process reads: the same windows, in the same places."""
    folder, _ = data
    survey = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), CUT)
    ranges = input_pipeline.share_records(survey.n_examples, 2)
    shares = {i: read_dataset(folder, 'full', 'train', *where) for i, where in enumerate(ranges)}
    plan = PLAN._replace(n_shares=2)
    together = batches(folder, plan, shares=shares)
    apart = [batches(folder, plan, shares={i: shares[i]}) for i in (0, 1)]
    n_examples = [survey.n_examples[first:stop].sum() for first, stop in ranges]
    assert len(together) == min(n_examples) // 2 > 3 and len(set(keys(together))) == 4 * len(together)
    for whole, *halves in zip(together, *apart, strict=False):
        for name in whole:
            np.testing.assert_array_equal(whole[name], np.concatenate([half[name] for half in halves]))
    of_range = [set(survey.video_id[first:stop]) for first, stop in ranges]
    for clips, half in zip(of_range, apart, strict=True):
        assert {video for video, _ in keys(half)} <= clips


def test_validation_records_are_those_of_the_fold(data):
    folder, records = data
    config = small.config(folder)
    fold = load_folds(folder, 'clip', 2)[1]
    read = list(TrainingData(config.data, batch_size=4, seed=0).validation_records(fold))
    assert sorted(one.video_id for one in read) == ['clip 1.mp4', 'clip 3.mp4', 'clip 5.mp4']
    by_name = {one.video_id: one for one in records['train']}
    for one in read:
        assert one.frame_jpeg == by_name[one.video_id].frame_jpeg
        np.testing.assert_array_equal(one.target_distance_m, by_name[one.video_id].target_distance_m)


def test_a_batch_that_windows_do_not_divide_is_refused(data):
    with pytest.raises(ValueError, match='batch_size=5 .*windows_per_example=2'):
        batches(data[0], PLAN._replace(batch_size=5, windows=SHARED))
