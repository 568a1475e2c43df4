from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import (
    FPS_RULE,
    SHARED_CLIPS,
    all_seconds_equal_ffmpeg,
    ffmpeg_frames,
    ffmpeg_makes,
    frame_number,
    numbered_frames,
    probe,
    write_clip,
)

from data_prep import simulate
from data_prep.decoding import groups, in_order
from data_prep.decoding.decode import ClipError, decode_seconds
from data_prep.decoding.timestamps import Picture, TimestampGuess, cut_legacy_r1, cut_seconds
from data_prep.simulator.plan import Size, plan_clips

# The published rule, which is the same as FPS_RULE if the first picture is shown at 0.
PUBLISHED_FPS_RULE = 'fps=fps=1:round=up'
RATES = [8, 10, 25, Fraction(30000, 1001), 30, 60]
KINDS = [
    ('libx264', 'mp4', 'yuv420p'),  # with B-frames and one long group of pictures
    ('mpeg4', 'avi', 'yuv420p'),
    ('mjpeg', 'avi', 'yuvj420p'),
]


def pictures(*times, duration=Fraction(1, 4)):
    return [Picture(Fraction(time), duration, str(time)) for time in times]


def shown(*args, **kwargs):
    return [picture.content for _, picture in cut_seconds(pictures(*args, **kwargs))]


def test_the_picture_of_a_second_is_the_last_one_not_after_it():
    assert shown(0, '1/2', 1, '3/2', 2) == ['0', '1', '2']
    assert shown(0, '9/10', '11/10', '19/10', '21/10') == ['0', '9/10', '19/10']


def test_before_the_first_picture_it_is_the_first_picture():
    assert shown('5/2', 3) == ['5/2', '5/2', '5/2', '3']


def test_a_gap_repeats_the_picture_before_it():
    assert shown(0, '1/2', '7/2') == ['0', '1/2', '1/2', '1/2']


def test_the_last_second_is_before_the_end_of_the_last_picture():
    # If the clip ends at 2 s exactly, it has seconds 0 and 1. If it ends later, it has second 2 too.
    assert shown(0, 1, '7/4') == ['0', '1']
    assert shown(0, 1, '15/8') == ['0', '1', '15/8']


def test_a_picture_whose_time_does_not_rise_replaces_the_one_before_it():
    assert shown(0, 1, '1/2', 2) == ['0', '1/2', '2']


def test_time_of_a_picture_is_its_pts_until_that_has_failed_to_rise_more_often_than_its_dts():
    guess = TimestampGuess()
    assert [guess(0, 0), guess(3, 2)] == [0, 3]
    assert [guess(1, 4), guess(2, 6)] == [4, 6]  # pts fell once
    assert [guess(None, 8), guess(10, None), guess(None, None)] == [8, 10, None]
    assert guess(11, 9) == 11  # dts fell too


def test_legacy_files_of_30_pictures_a_second_are_those_of_the_write_up():
    shown = cut_legacy_r1(pictures(*(Fraction(i, 30) for i in range(1800)), duration=Fraction(1, 30)))
    numbers = [round(30 * Fraction(picture.content)) for _, picture in shown]
    # "the files hold source frames 0, 1, 26, 56, 86 ..., and a 60 s clip gives 62 files"
    assert numbers == [0, 1, *range(26, 1800, 30)] and len(numbers) == 62


@pytest.mark.parametrize('rate', RATES, ids=['8', '10', '25', '29.97', '30', '60'])
@pytest.mark.parametrize('codec, suffix, pix_fmt', KINDS, ids=['h264', 'mpeg4', 'mjpeg'])
def test_frames_are_those_of_ffmpeg_and_of_arithmetic(tmp_path, codec, suffix, pix_fmt, rate):
    n_frames = int(rate * 5) + 3
    path = write_clip(tmp_path / f'clip.{suffix}', numbered_frames(n_frames), rate, codec, pix_fmt)
    numbers = all_seconds_equal_ffmpeg(path)
    assert numbers == [int(second * Fraction(rate)) for second in range(6)]
    all_seconds_equal_ffmpeg(path, PUBLISHED_FPS_RULE)
    all_seconds_equal_ffmpeg(path, 'legacy_r1')
    info = probe(path)
    assert info.duration_s == pytest.approx(n_frames / float(rate), abs=1e-3)
    assert (info.height_px, info.width_px) == (48, 64)
    assert info.frame_rate == pytest.approx(float(rate), rel=1e-3)


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A lossless clip of 6 s with 10 pictures per second, from which the ffmpeg program makes other clips."""
    path = tmp_path_factory.mktemp('source') / 'source.mkv'
    return write_clip(path, numbered_frames(60), 10, 'ffv1')


def test_clip_whose_first_timestamp_is_not_0(tmp_path, source):
    path = ffmpeg_makes(tmp_path / 'clip.ts', '-i', source, '-c:v', 'libx264', '-g', 12)
    assert av.open(str(path)).start_time > 0
    assert all_seconds_equal_ffmpeg(path) == [0, 10, 20, 30, 40, 50]
    all_seconds_equal_ffmpeg(path, 'legacy_r1')


@pytest.mark.parametrize('suffix, numbers', [('mp4', [0, 0, 3, 13, 23, 33, 43, 53]), ('ts', None)])
def test_video_that_starts_after_the_sound(tmp_path, source, suffix, numbers):
    late = ['-f', 'lavfi', '-i', 'sine=duration=6', '-itsoffset', 1.7, '-i', source]
    coded = ['-c:v', 'libx264', '-c:a', 'aac']
    path = ffmpeg_makes(tmp_path / f'clip.{suffix}', *late, *coded)
    # MPEG-TS counts from the start of the video, because the clocks of its streams may jump.
    assert all_seconds_equal_ffmpeg(path) == (numbers or [0, 10, 20, 30, 40, 50])
    all_seconds_equal_ffmpeg(path, 'legacy_r1')


@pytest.fixture(params=['quick', 'plain'])
def way(request, monkeypatch):
    if request.param == 'plain':
        monkeypatch.setattr(groups, '_plan', lambda *_: None)
    else:
        monkeypatch.setattr(in_order, 'decode_in_order', None)


def test_variable_frame_rate(tmp_path, source, way):
    uneven = "setpts='(N*N/60+2)/10/TB'"
    path = ffmpeg_makes(tmp_path / 'clip.mp4', '-i', source, '-vf', uneven, '-fps_mode', 'vfr', '-c:v', 'libx264')
    numbers = all_seconds_equal_ffmpeg(path)
    assert len(set(np.diff(numbers))) > 2
    all_seconds_equal_ffmpeg(path, 'legacy_r1')


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_avi_with_reordered_pictures(tmp_path, source, codec):
    path = ffmpeg_makes(tmp_path / 'clip.avi', '-i', source, '-c:v', codec, '-bf', 2, '-g', 12)
    all_seconds_equal_ffmpeg(path)


def test_clip_cut_without_coding_keeps_pictures_that_are_not_shown(tmp_path, source):
    whole = ffmpeg_makes(tmp_path / 'whole.mp4', '-i', source, '-c:v', 'libx264')
    path = ffmpeg_makes(tmp_path / 'clip.mp4', '-ss', 1.23, '-i', whole, '-c', 'copy')
    assert all_seconds_equal_ffmpeg(path) == [13, 23, 33, 43, 53]


@pytest.mark.parametrize('suffix', ['mkv', 'mp4'])
def test_timestamps_in_the_order_of_the_file(tmp_path, source, suffix):
    right = ffmpeg_makes(tmp_path / 'right.mp4', '-i', source, '-c:v', 'libx264', '-bf', 3)
    wrong = ['-c', 'copy', '-bsf:v', 'setts=pts=DTS:dts=DTS']
    path = ffmpeg_makes(tmp_path / f'clip.{suffix}', '-i', right, *wrong)
    all_seconds_equal_ffmpeg(path)


def test_repeated_timestamps(tmp_path):
    sound = write_clip(tmp_path / 'sound.mkv', numbered_frames(24), 8, 'mjpeg', 'yuvj420p')
    in_pairs = 'setts=ts=trunc(N/2)*250'  # milliseconds
    path = ffmpeg_makes(tmp_path / 'clip.mkv', '-i', sound, '-c', 'copy', '-bsf:v', in_pairs)
    assert groups._plan(str(path), cut_seconds) is None
    # If two pictures have the same time, the later one is shown.
    assert all_seconds_equal_ffmpeg(path) == [1, 9, 17]


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_rotated_clip(tmp_path, source, degrees):
    flat = ffmpeg_makes(tmp_path / 'flat.mp4', '-i', source, '-c:v', 'libx264')
    path = ffmpeg_makes(tmp_path / 'clip.mp4', '-display_rotation', degrees, '-i', flat, '-c', 'copy')
    all_seconds_equal_ffmpeg(path)
    all_seconds_equal_ffmpeg(path, 'legacy_r1')
    info = probe(path)
    assert (info.height_px, info.width_px) == ((48, 64) if degrees == 180 else (64, 48))


@pytest.mark.parametrize('pix_fmt', ['yuv422p', 'yuvj422p', 'yuv444p', 'gray'])
def test_other_layouts_and_odd_sizes(tmp_path, pix_fmt):
    frames = numbered_frames(20)[:, :47, :]
    codec = 'mjpeg' if 'j' in pix_fmt else 'ffv1'
    path = write_clip(tmp_path / 'clip.mkv', frames, 10, codec, pix_fmt)
    assert all_seconds_equal_ffmpeg(path) == [0, 10]


def test_real_clips(way):
    if not SHARED_CLIPS.exists():
        pytest.skip(f'{SHARED_CLIPS} is missing')
    clips = sorted(SHARED_CLIPS.iterdir())
    assert len(clips) >= 12
    for path in clips:
        all_seconds_equal_ffmpeg(path)
        all_seconds_equal_ffmpeg(path, 'legacy_r1')


def test_simulated_clips(tmp_path):
    size = Size(sites=(5, 1), clips=(5, 0), big_clips=(1, 0), seconds=(2.5, 4), big_seconds=(2, 3))
    plans = plan_clips(0, 'easy', size)
    assert {plan.codec for plan in plans} >= {'libx264', 'mpeg4'} and plans[-1].width_px == 1280
    for plan in plans:
        simulate.render_clip(plan, tmp_path)
        for stream in ('down', 'full'):
            all_seconds_equal_ffmpeg(tmp_path / stream / plan.video_id)


@pytest.mark.parametrize('x264', ['keyint=7', 'keyint=12:open-gop=1:bframes=3', 'keyint=250'])
def test_some_seconds_are_the_same_frames_as_all(tmp_path, monkeypatch, x264):
    path = write_clip(tmp_path / 'clip.mp4', numbered_frames(100), 10, options={'x264-params': x264})
    monkeypatch.setattr(in_order, 'decode_in_order', None)  # only the fast way may decode
    _, everything = decode_seconds(path, None)
    _, some = decode_seconds(path, [7, 2, 2])
    assert list(some) == [2, 7]
    for second in some:
        np.testing.assert_array_equal(some[second], everything[second])
    assert frame_number(some[7]) == 70


def test_only_the_references_of_wanted_pictures_are_decoded():
    def packets(*rows):
        return [groups._Packet(pts, 1, key) for pts, key in rows]

    # Groups of two. Pictures 1 and 5 are wanted: each is decoded from its key picture on, no further.
    rows = packets((0, True), (1, False), (2, True), (3, False), (4, True), (5, False), (6, True))
    assert groups._runs(rows, {1, 5}) == [(0, 2), (4, 6)]
    assert groups._runs(rows, {2}) == [(2, 3)]
    # Picture 3 follows the key picture 4 in the file but is shown before it: it requires the group before.
    rows = packets((0, True), (2, False), (1, False), (4, True), (3, False), (5, False))
    assert groups._runs(rows, {3}) == [(0, 5)]
    assert groups._runs(rows, {5}) == [(3, 6)]
    assert groups._runs(rows, {1, 5}) == [(0, 3), (3, 6)]


def test_seconds_past_the_end_become_the_last_one(tmp_path):
    path = write_clip(tmp_path / 'clip.mp4', numbered_frames(25), 10)
    info, frames = decode_seconds(path, [1, 60])
    assert info.last_s == 2
    assert {second: frame_number(frame) for second, frame in frames.items()} == {1: 10, 2: 20}


def test_no_seconds_is_a_mistake_of_the_caller(tmp_path):
    path = write_clip(tmp_path / 'clip.mp4', numbered_frames(10), 10)
    with pytest.raises(ValueError, match='the list of seconds is empty'):
        decode_seconds(path, [])


@pytest.mark.parametrize('suffix, codec', [('mp4', 'libx264'), ('avi', 'mjpeg')])
def test_gamma_is_the_eq_filter_of_ffmpeg(tmp_path, suffix, codec):
    frames = numbered_frames(30) // 2 + 126  # bright values, which the correction spreads
    pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
    path = write_clip(tmp_path / f'clip.{suffix}', frames, 10, codec, pix_fmt)
    _, corrected = decode_seconds(path, None, gamma=True)
    _, plain = decode_seconds(path, None)
    expected = ffmpeg_frames(path, f'{FPS_RULE},eq=gamma=0.1', height_px=48, width_px=64)
    assert len(corrected) == len(expected) == 3
    for second, frame in corrected.items():
        np.testing.assert_array_equal(frame, expected[second])
        assert frame.mean() < plain[second].mean() - 20


def test_frames_are_converted_as_soon_as_they_are_decoded(tmp_path):
    path = write_clip(tmp_path / 'clip.mp4', numbered_frames(25), 10)
    _, numbers = decode_seconds(path, None, convert=lambda rgb, _: frame_number(rgb))
    assert numbers == {0: 0, 1: 10, 2: 20}


def one_line_reason(path):
    with pytest.raises(ClipError) as caught:
        probe(path)
    reason = str(caught.value)
    assert reason and '\n' not in reason and str(path.parent) not in reason
    return reason


def test_a_file_that_is_not_a_clip_has_a_reason(tmp_path):
    empty, text = tmp_path / 'empty.mp4', tmp_path / 'text.avi'
    empty.touch()
    text.write_text('not a clip ' * 100)
    one_line_reason(empty)
    assert 'Invalid data' in one_line_reason(text)
    one_line_reason(tmp_path / 'missing.mp4')
    sound = ffmpeg_makes(tmp_path / 'sound.mp4', '-f', 'lavfi', '-i', 'sine=duration=1')
    assert one_line_reason(sound) == 'no video stream'


def test_a_truncated_clip_gives_its_remaining_seconds(tmp_path):
    whole = write_clip(tmp_path / 'whole.avi', numbered_frames(60), 10, 'mjpeg', 'yuvj420p')
    path = tmp_path / 'clip.avi'
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    info, frames = decode_seconds(path, None)
    assert 1 <= info.last_s < 5
    assert [frame_number(frame) for frame in frames.values()] == [10 * second for second in range(info.last_s + 1)]


def test_bad_packets_are_skipped(tmp_path):
    path = write_clip(tmp_path / 'clip.avi', numbered_frames(60), 10, 'mjpeg', 'yuvj420p')
    content = path.read_bytes()
    starts = [i for i in range(len(content)) if content.startswith(b'\xff\xd8\xff', i)]
    damaged = bytearray(content)
    damaged[starts[30] : starts[31] - 8] = bytes(starts[31] - 8 - starts[30])
    path.write_bytes(damaged)
    _, frames = decode_seconds(path, None)
    numbers = [frame_number(frame) for frame in frames.values()]
    assert numbers == [0, 10, 20, 29, 40, 50]
