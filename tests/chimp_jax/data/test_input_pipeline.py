"""Records -> batches and clips."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small import SIZE_PX, write_data

from chimp_jax.data import input_pipeline
from data_prep.records import read_dataset

PLAN = {'n_frames': 7, 'step_s': 1, 'windows_per_example': 1, 'frames_per_example': 7}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    return folder, write_data(folder)


def jpeg(rgb):
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, 'JPEG', quality=100, subsampling=0)
    return stream.getvalue()


def numpy_bilinear(picture, size):
    """Half-pixel centres, no antialiasing, clamped at the edges, then floor: written from the definition."""
    height, width, _ = picture.shape

    def taps(n_in, n_out):
        centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
        low = np.floor(centre).astype(int)
        return np.clip(low, 0, n_in - 1), np.clip(low + 1, 0, n_in - 1), (centre - low)

    top, bottom, down = taps(height, size)
    left, right, across = taps(width, size)
    down, across = down[:, None, None], across[None, :, None]
    picture = picture.astype(float)
    upper = picture[top][:, left] * (1 - across) + picture[top][:, right] * across
    lower = picture[bottom][:, left] * (1 - across) + picture[bottom][:, right] * across
    return np.floor(upper * (1 - down) + lower * down + 1e-4).astype(np.uint8)


def test_a_frame_is_resized_without_antialiasing_and_floored():
    rgb = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    content = jpeg(rgb)
    decoded = tf.io.decode_jpeg(content, dct_method='INTEGER_ACCURATE').numpy()
    mine = input_pipeline.decode_frame(content, 16).numpy()
    np.testing.assert_array_equal(mine, numpy_bilinear(decoded, 16))
    smoothed = np.asarray(Image.fromarray(decoded).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(mine.astype(int) - smoothed).mean() > 5  # PIL's is another picture


def batches(folder, epoch=1, seed=0, clips=None, shares=None, **changes):
    records = read_dataset(folder, 'full', 'train')
    if clips is not None:
        records = input_pipeline.of_clips(records, clips)
    settings = PLAN | {
        'size_px': SIZE_PX,
        'augmentation': 'a1',
        'augmentation_probability': 0.5,
        'batch_size': 4,
        'n_shares': 1,
        'seed': seed,
        'epoch': epoch,
        'shuffle_windows': 16,
    }
    return list(input_pipeline.training_batches(shares or {0: records}, **settings | changes))


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
    assert found[0]['frames'].shape == (4, 7, SIZE_PX, SIZE_PX, 3) and found[0]['frames'].dtype == np.uint8


def test_labels_and_frames_belong_to_their_keys(data):
    folder, records = data
    by_name = {r.video_id: r for r in records['train']}
    for batch in batches(folder, augmentation_probability=1e-9):
        for video, times, distances, frames in zip(
            batch['video_id'], batch['time'], batch['distance'], batch['frames'], strict=True
        ):
            record, t = by_name[video.decode()], int(times[0])
            assert record.target_distance_m[list(record.target_time_s).index(t)] == distances[0]
            seconds = np.clip(np.arange(t - 3, t + 4), 0, len(record.frame_jpeg) - 1)
            for frame, second in zip(frames, seconds, strict=True):
                expected = input_pipeline.decode_frame(record.frame_jpeg[second], SIZE_PX)
                np.testing.assert_array_equal(frame, expected)


def test_shared_frames_hold_the_same_windows(data):
    folder, records = data
    by_name = {r.video_id: r for r in records['train']}
    shared = batches(folder, windows_per_example=2, frames_per_example=9, augmentation_probability=1e-9)
    assert sum(int(b['mask'].sum()) for b in shared) == len(keys(shared)) > 12
    for batch in shared:
        for e in range(2):
            record = by_name[batch['video_id'][e].decode()]
            for t, window in zip(batch['time'][e], batch['window'][e], strict=True):
                if t >= 0:
                    seconds = np.clip(np.arange(t - 3, t + 4), 0, len(record.frame_jpeg) - 1)
                    for frame, second in zip(batch['frames'][e][window], seconds, strict=True):
                        expected = input_pipeline.decode_frame(record.frame_jpeg[second], SIZE_PX)
                        np.testing.assert_array_equal(frame, expected)


def test_order_and_augmentation_depend_on_seed_and_epoch_alone(data):
    folder, _ = data
    first, again, other = (
        batches(folder, epoch=1),
        batches(folder, epoch=1),
        batches(folder, epoch=2),
    )
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
    survey = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), **PLAN)
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
    survey = input_pipeline.index_records(read_dataset(folder, 'full', 'train'), **PLAN)
    ranges = input_pipeline.share_records(survey.n_examples, 2)
    shares = {i: read_dataset(folder, 'full', 'train', *where) for i, where in enumerate(ranges)}
    settings = {'n_shares': 2, 'batch_size': 4, 'shuffle_windows': 16}
    together = batches(folder, shares=shares, **settings)
    apart = [batches(folder, shares={i: shares[i]}, **settings) for i in (0, 1)]
    n_examples = [survey.n_examples[first:stop].sum() for first, stop in ranges]
    assert len(together) == min(n_examples) // 2 > 3 and len(set(keys(together))) == 4 * len(together)
    for whole, *halves in zip(together, *apart, strict=False):
        for name in whole:
            np.testing.assert_array_equal(whole[name], np.concatenate([half[name] for half in halves]))
    of_range = [set(survey.video_id[first:stop]) for first, stop in ranges]
    for clips, half in zip(of_range, apart, strict=True):
        assert {video for video, _ in keys(half)} <= clips


def test_clips_hold_every_stored_frame_once(data):
    folder, records = data
    found = {c.video_id: c for c in input_pipeline.clips(read_dataset(folder, 'full', 'test'), SIZE_PX)}
    assert set(found) == {r.video_id for r in records['test']}
    for record in records['test']:
        clip = found[record.video_id]
        assert clip.frames.shape == (len(record.frame_jpeg), SIZE_PX, SIZE_PX, 3)
        assert clip.target_time_s.tolist() == record.target_time_s.tolist()


def test_a_batch_that_windows_do_not_divide_is_refused(data):
    with pytest.raises(ValueError, match='batch_size=5 .*windows_per_example=2'):
        batches(data[0], batch_size=5, windows_per_example=2, frames_per_example=9)
