"""Frames for evaluation have the pixels that TensorFlow makes, as in training and in the published pipeline."""

import io
import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from small import SIZE_PX, record, write_data

from chimp_jax.data import frames, input_pipeline
from data_prep.records import read_records

CLIPS = Path(__file__).resolve().parents[4] / 'shared' / 'data' / 'clips'


def jpeg(rgb, quality=100, subsampling=0):
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, 'JPEG', quality=quality, subsampling=subsampling)
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
    mine = frames.decode_frame(content, 16)
    np.testing.assert_array_equal(mine, numpy_bilinear(decoded, 16))
    smoothed = np.asarray(Image.fromarray(decoded).resize((16, 16), Image.Resampling.BILINEAR))
    assert np.abs(mine.astype(int) - smoothed).mean() > 5  # PIL's is another picture


def by_tensorflow(content, size_px):
    decoded = tf.io.decode_jpeg(content, channels=3, dct_method='INTEGER_ACCURATE')
    resized = tf.image.resize(decoded, (size_px, size_px), method='bilinear', antialias=False)
    return tf.cast(resized, tf.uint8).numpy()


def assert_equals_tensorflow(content, size_px):
    expected = by_tensorflow(content, size_px)
    np.testing.assert_array_equal(frames.decode_frame(content, size_px), expected)
    in_training = input_pipeline._decode_frames(tf.constant([content]), size_px)
    np.testing.assert_array_equal(in_training[0], expected)


@pytest.mark.parametrize('shape', [(48, 80), (61, 37), (15, 16), (1, 1), (270, 480)])
@pytest.mark.parametrize('subsampling', [0, 1, 2])  # of chroma: 4:4:4, 4:2:2, 4:2:0
def test_pixels_of_all_sizes_are_tensorflows(shape, subsampling):
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for size_px in (1, 16, 47, 128):
        assert_equals_tensorflow(jpeg(noise, 85, subsampling), size_px)


def test_gray_jpegs_get_three_channels():
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (30, 40), dtype=np.uint8)).save(stream, 'JPEG')
    assert_equals_tensorflow(stream.getvalue(), 32)


@pytest.mark.skipif(not CLIPS.exists(), reason='../shared/data/clips is absent')
@pytest.mark.parametrize('clip', sorted(CLIPS.glob('*')) if CLIPS.exists() else (), ids=lambda path: path.name)
def test_pixels_of_real_clips_are_tensorflows(clip):
    with av.open(str(clip)) as container:
        pictures = [frame.to_ndarray(format='rgb24') for frame in itertools.islice(container.decode(video=0), 4)]
    for number, picture in enumerate(pictures):
        content = jpeg(picture, quality=95 - 10 * number, subsampling=(0, 2, 1, 2)[number])
        for size_px in (512, 300):
            assert_equals_tensorflow(content, size_px)


def test_records_are_decoded_one_after_the_other(tmp_path):
    folder, records = tmp_path, write_data(tmp_path)
    found = list(read_records(folder, 'full', 'test'))
    assert {one.video_id for one in found} == {one.video_id for one in records['test']} and len(found) == 3
    decoded_frames = frames.decode_records(found, SIZE_PX)
    jpegs = [jpeg for one in found for jpeg in one.frame_jpeg]
    assert decoded_frames.shape == (9 + 1 + 12, SIZE_PX, SIZE_PX, 3) and len(jpegs) == len(decoded_frames)
    for frame, content in zip(decoded_frames, jpegs, strict=True):
        decoded = tf.io.decode_jpeg(content, dct_method='INTEGER_ACCURATE').numpy()
        np.testing.assert_array_equal(frame, numpy_bilinear(decoded, SIZE_PX))


def test_equal_frames_are_decoded_once(monkeypatch):
    one = record('a', n_seconds=3, target_time_s=[1], seed=0)
    decode, n_calls = frames.decode_frame, []
    monkeypatch.setattr(frames, 'decode_frame', lambda *given: n_calls.append(1) or decode(*given))
    found = frames.decode_records([one, one], SIZE_PX)
    assert len(found) == 6 and len(n_calls) == 3
    for frame, content in zip(found, [*one.frame_jpeg, *one.frame_jpeg], strict=True):
        np.testing.assert_array_equal(frame, decode(content, SIZE_PX))
