"""Frames at a detector's rate: those of the ffmpeg program, with their numbers among all frames."""

from fractions import Fraction

import numpy as np
import pytest
from make_clips import FPS_RULE, SHARED_CLIPS, ffmpeg_frames, frame_number, numbered_frames, write_clip

from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_at_rate
from data_prep.decoding.timestamps import Picture, cut_seconds
from data_prep.workers.detector_frames import FramesTask, fitted, frames_of_clips


def test_ticks_between_whole_seconds_show_the_last_picture_before_them():
    pictures = [Picture(Fraction(t, 10), Fraction(1, 10), t) for t in (0, 4, 5, 9, 14)]
    # By hand: ticks at 0, 0.5, 1.0 and 1.5 s show the pictures of 0, 0.5, 0.9 s; the last one ends at 1.5 s.
    assert [picture.content for _, picture in cut_seconds(pictures, 2)] == [0, 5, 9]
    assert [picture.content for _, picture in cut_seconds(pictures, Fraction(1, 2))] == [0]


@pytest.mark.parametrize('rate', [Fraction(2), Fraction(1, 2), Fraction(3), Fraction(30)])
@pytest.mark.parametrize(('codec', 'suffix'), [('libx264', 'mp4'), ('mpeg4', 'avi')])
def test_frames_and_their_numbers_equal_the_ffmpeg_program(tmp_path, rate, codec, suffix):
    path = write_clip(tmp_path / f'a.{suffix}', numbered_frames(40), 8, codec=codec)
    found = decode_at_rate(path, rate, lambda rgb, _: rgb)
    rule = FPS_RULE.replace('fps=1', f'fps={rate}')
    theirs = [frame_number(rgb) for rgb in ffmpeg_frames(path, rule, height_px=48, width_px=64)]
    assert found.numbers == sorted(set(theirs))
    assert [frame_number(rgb) for rgb in found.contents] == found.numbers
    assert found.times_s == [number / 8 for number in found.numbers]


def test_a_slow_clip_gives_each_picture_once(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(5), 1)
    assert decode_at_rate(path, 2, lambda rgb, _: None).numbers == [0, 1, 2, 3, 4]


def test_what_is_no_clip_is_refused(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'not a clip')
    with pytest.raises(ClipError):
        decode_at_rate(tmp_path / 'a.mp4', 2, lambda rgb, _: None)


def test_pictures_fit_into_the_square_of_the_detector():
    assert fitted(np.zeros((1080, 1920, 3), np.uint8)).shape == (360, 640, 3)
    assert fitted(np.zeros((60, 106, 3), np.uint8)).shape == (362, 640, 3)  # 60 / 106 * 640 = 362.3
    assert fitted(np.zeros((640, 480, 3), np.uint8)).shape == (640, 480, 3)


def test_workers_write_the_pictures_and_tell_what_cannot_be_decoded(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(24), 8)
    (tmp_path / 'b.mp4').write_bytes(b'not a clip')
    tasks = [FramesTask(name, str(tmp_path / f'{name}.mp4'), '2', str(tmp_path / f'{name}.raw')) for name in 'ab']
    found = {task.video_id: result for task, result in frames_of_clips(tasks, 1)}
    assert isinstance(found['b'], str) and 'video' in found['b']
    frames, raw = found['a'], np.fromfile(tmp_path / 'a.raw', np.uint8)
    assert frames.numbers == [0, 4, 8, 12, 16, 20] and frames.size_px == (48, 64) and frames.doubt == ''
    assert (frames.frame_rate, frames.duration_s) == (8.0, 3.0)
    decoded = decode_at_rate(path, 2, lambda rgb, _: rgb).contents
    for i, rgb in enumerate(decoded):
        np.testing.assert_array_equal(frames.picture(raw, i), fitted(rgb))
    # ITU-R 601: the luma of a picture, by NumPy.
    assert frames.infrared  # the test's clip is grey
    luma = (fitted(decoded[3]) @ np.array([0.299, 0.587, 0.114])).mean()
    assert abs(frames.brightness[3] - luma) < 0.6


@pytest.mark.skipif(not SHARED_CLIPS.exists(), reason='../shared/data/clips is absent')
def test_a_real_clip_at_30_frames_a_second_has_every_15th_frame():
    found = decode_at_rate(SHARED_CLIPS / 'chimp.mp4', 2, lambda rgb, _: rgb.shape)
    assert found.numbers == list(range(0, 450, 15)) and set(found.contents) == {(180, 320, 3)}
