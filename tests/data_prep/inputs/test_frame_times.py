"""The second of a frame: by the clip's own times, else by a frame rate."""

from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import ffmpeg_makes, frame_number, numbered_frames, write_clip

from data_prep.decoding.decode import decode_seconds, picture_times
from data_prep.inputs.detections import ClipDetections, Detection
from data_prep.inputs.frame_times import best_by_second, rate_note, seconds_of_frames, time_sightings
from data_prep.inputs.headers import Copies, Header, read_headers

BOX = (0.25, 0.5, 0.75, 0.75)


def clip(*numbers, rate=None):
    return ClipDetections('a.mp4', rate, [Detection(number, 0.9, BOX) for number in numbers], 'share')


@pytest.mark.parametrize(
    'frame_rate, seconds',  # {frame: its second}
    [
        (30, {29: 0, 30: 1, 59: 1, 60: 2}),
        (30000 / 1001, {29: 0, 30: 1, 60: 2, 29_999: 1000, 30_000: 1001}),  # 30,000 frames are 1,001 s
        (24000 / 1001, {23_999: 1000, 24_000: 1001}),  # as floats 24,000 frames are 1,000.9999999999999 s
        (0.1, {0: 0, 1: 10, 3: 30}),  # as floats 3 // 0.1 is 29
    ],
)
def test_without_frame_times_the_frame_rate_counts(frame_rate, seconds):
    for header, rate in ((Header(60, 7), frame_rate), (Header(60, frame_rate), None)):
        assert np.floor(seconds_of_frames(list(seconds), header, rate)).tolist() == list(seconds.values())


def test_the_clip_counts_before_the_frame_rate():
    header = Header(3.0, 2.0, np.array([0.0, 0.5, 2.25]))
    assert seconds_of_frames([2, 0, 1], header, 30).tolist() == [2.25, 0, 0.5]
    timed = time_sightings(clip(2, 3, 0, 900, rate=30), header)
    assert [sighting.frame_number for sighting in timed.sightings] == [2, 0] and timed.times_s.tolist() == [2.25, 0]
    assert timed.fault == (
        '2 detections are in frame 3 or other frames, but the clip has the frames 0 to 2; '
        'run the detector on this very file'
    )
    assert time_sightings(clip(3), header).fault.startswith('a detection is in frame 3, but')
    assert time_sightings(clip(2), header).fault == ''
    assert time_sightings(clip(1), Header(9.0, 0.0)).fault.startswith('the frame rate is unknown')


@pytest.mark.parametrize(
    'rate, processed, numbers, fault',
    [
        (2.0, None, [0, 19], True),  # a copy with 2 frames per second would have the frames 0 to 19
        (2.0, None, [0, 20], False),
        (2.0, [0, 4, 18], [4], True),
        (2.0, [0, 4, 98], [4], False),  # the detector counted the clip's own frames
        (10.1, None, [4], False),  # rounded
        (20.0, None, [4], False),  # OpenCV reports some clips with twice their rate
        (None, None, [4], False),
    ],
)
def test_numbers_that_may_be_those_of_a_converted_copy(rate, processed, numbers, fault):
    header = Header(10.0, 10.0, np.arange(100) / 10)
    timed = time_sightings(clip(*numbers, rate=rate)._replace(frames_processed=processed), header)
    assert len(timed.sightings) == len(numbers)
    assert bool(timed.fault) == fault and (not fault or '2 frames per second, the clip has 10:' in timed.fault)


def test_the_copy_with_the_frame_rate_of_the_detector_gives_the_times(tmp_path):
    full = write_clip(tmp_path / 'full.mp4', numbered_frames(40), 8)
    down = write_clip(tmp_path / 'down.mp4', numbered_frames(10), 2)
    wanted = {name: (Copies(str(down), str(full)), 0) for name in ('down', 'full', 'unknown', 'other')}
    headers = read_headers(wanted, 1, True, {'down': 2.0, 'full': 8.1, 'unknown': None, 'other': 30.0})
    assert {name: (len(header.frame_times_s), header.frame_rate) for name, header in headers.items()} == {
        'down': (10, 2),
        'full': (40, 8),
        'unknown': (40, 8),
        'other': (40, 8),
    }


def test_the_most_confident_of_a_second():
    seen = [Detection(frame, conf, BOX) for frame, conf in ((75, 0.4), (31, 0.5), (45, 0.8), (40, 0.8), (59, 0.7))]
    best = best_by_second(seen, np.array([sighting.frame_number / 30 for sighting in seen]))
    assert list(best.items()) == [(1, seen[3]), (2, seen[0])]  # frame 40, not 45
    assert best_by_second(seen[:1], np.array([-0.02])) == {0: seen[0]}


def test_a_note_on_frame_rates():
    rates = {
        'a.mp4': (30.0, 29.97),
        'b.mp4': (20.0, 10.0),
        'c.mp4': (None, 10.0),
        'd.mp4': (25.0, 24.0),
        'e.mp4': (9, 0),
    }
    (note,) = rate_note(rates)
    assert 'more than 2 % in 2 clips, first b.mp4: 20 in its file, 10 in the clip' in note
    assert rate_note({'a.mp4': (30.0, 29.97)}) == []


def read_times(path):
    header = read_headers({'a': (Copies(None, str(path)), 0)}, 1, frame_times=True)['a']
    return header.frame_times_s


def variable_rate(path, times):
    """Writes numbered frames at the given times, in quarters of a second."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=4)
        stream.height, stream.width, stream.pix_fmt = 48, 64, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 4)
        for rgb, time in zip(numbered_frames(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format='rgb24')
            frame.pts, frame.time_base = time, Fraction(1, 4)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_the_times_of_a_variable_rate(tmp_path):
    quarters = [0, 1, 2, 3, 9, 10, 24, 25, 26, 40]
    times_s = read_times(variable_rate(tmp_path / 'a.mp4', quarters))
    assert times_s.tolist() == [quarter / 4 for quarter in quarters]


@pytest.mark.parametrize(
    'name, codec, options, cut',
    [
        ('a.mp4', 'libx264', {'bf': '2'}, ()),  # packets are not in the order of the pictures
        ('a.mkv', 'libx264', {}, ()),
        ('a.avi', 'mpeg4', {'bf': '2'}, ()),  # AVI has no presentation times: every picture is decoded
        ('a.ts', 'libx264', {}, ()),
        ('late.mp4', 'libx264', {'g': '20'}, ('-ss', '1.3')),  # pictures before the cut are not shown
    ],
)
def test_the_decoder_shows_frame_n_at_the_time_of_frame_n(tmp_path, name, codec, options, cut):
    path = write_clip(tmp_path / f'whole-{name}', numbered_frames(50), 8, codec, options=options)
    if cut:
        path = ffmpeg_makes(tmp_path / name, *cut, '-i', path, '-c', 'copy')
    with av.open(str(path)) as container:  # what OpenCV's frame numbers count
        numbers = [frame_number(frame.to_ndarray(format='rgb24')) for frame in container.decode(video=0)]
    times_s = [float(time_s) for time_s in picture_times(path)]
    assert len(times_s) == len(numbers) and times_s == sorted(times_s)
    shown = {second: frame_number(rgb) for second, rgb in decode_seconds(path, None)[1].items()}
    expected = {
        second: numbers[max([i for i, time_s in enumerate(times_s) if time_s <= second], default=0)] for second in shown
    }
    assert shown == expected and len(shown) >= 5


def test_a_clip_without_pictures_has_no_frame_times(tmp_path):
    path = write_clip(tmp_path / 'a.avi', numbered_frames(24), 8, 'mpeg4')
    content = bytearray(path.read_bytes())
    start = content.index(b'movi')
    path.write_bytes(content[: start + 4])
    header = read_headers({'a': (Copies(None, str(path)), 0)}, 1, frame_times=True)['a']
    assert isinstance(header, str) or not header.frame_times_s.size
