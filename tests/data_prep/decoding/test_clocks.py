"""Clocks that jump, films that are joined in one file, and pictures without a duration."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from make_clips import all_seconds_equal_ffmpeg, ffmpeg_makes, frame_number, numbered_frames, write_clip

from data_prep.decoding import groups
from data_prep.decoding.damage import find_doubt
from data_prep.decoding.decode import decode_seconds
from data_prep.decoding.timestamps import DurationGuess
from data_prep.workers.clip_record import ClipTask
from data_prep.workers.local import store_clip

CODERS = {
    'ts': ['-c:v', 'libx264', '-g', 12],
    'mpg': ['-c:v', 'mpeg2video', '-r', 25, '-q:v', 3],
    'mkv': ['-c:v', 'libx264'],
    'mp4': ['-c:v', 'libx264'],
    'asf': ['-c:v', 'msmpeg4'],
    'flv': ['-c:v', 'flv'],
}


@pytest.fixture(scope='module')
def films(tmp_path_factory):
    """Returns a function (suffix, options of the second film) -> two films of 6 s: pictures 0-59 and 60-119."""
    folder = tmp_path_factory.mktemp('films')
    sources = [
        write_clip(folder / f'{i}.mkv', numbered_frames(120)[60 * i :][:60], 10, 'ffv1', options={'threads': '1'})
        for i in range(2)
    ]
    number = itertools.count()

    def make(suffix, *second):
        return [
            ffmpeg_makes(folder / f'{next(number)}.{suffix}', '-i', source, *CODERS[suffix], *options)
            for source, options in zip(sources, ([], second), strict=True)
        ]

    return make


def join(path, films):
    path.write_bytes(b''.join(film.read_bytes() for film in films))
    return path


def doubt_of(path):
    info, frames = decode_seconds(path, None)
    return find_doubt(info, {second: frame.tobytes() for second, frame in frames.items()}, [])


@pytest.mark.parametrize('suffix', ['ts', 'mpg'])
def test_two_joined_films_are_both_read(tmp_path, films, suffix):
    path = join(tmp_path / f'joined.{suffix}', films(suffix))
    assert all_seconds_equal_ffmpeg(path) == list(range(0, 120, 10))
    all_seconds_equal_ffmpeg(path, 'legacy_r1')
    assert not str(doubt_of(path))
    _, frames = decode_seconds(path, [3, 9])  # only the wanted pictures are decoded
    assert {second: frame_number(frame) for second, frame in frames.items()} == {3: 30, 9: 90}


@pytest.mark.parametrize('shift_s, numbers', [(4, list(range(0, 120, 10))), (100, list(range(0, 120, 10)))])
def test_a_clock_that_jumps_goes_on(tmp_path, films, shift_s, numbers):
    # The second film begins at 4 s, before the end of the first one, or at 100 s.
    path = join(tmp_path / 'joined.ts', films('ts', '-output_ts_offset', shift_s))
    assert all_seconds_equal_ffmpeg(path) == numbers


def test_a_short_gap_is_a_gap(tmp_path, films):
    path = join(tmp_path / 'joined.ts', films('ts', '-output_ts_offset', 10))
    numbers = all_seconds_equal_ffmpeg(path)
    assert numbers[:10] == [0, 10, 20, 30, 40, 50, 59, 59, 59, 59] and 60 <= numbers[10] < 70
    assert 'no picture of its own in 7-9 s' in str(doubt_of(path))


@pytest.mark.parametrize('suffix', ['mp4', 'asf', 'flv'])
def test_a_film_that_no_player_reads_is_told(tmp_path, films, suffix):
    first, second = films(suffix)
    path = join(tmp_path / f'joined.{suffix}', [first, second])
    assert all_seconds_equal_ffmpeg(path) == [0, 10, 20, 30, 40, 50]
    share = first.stat().st_size / path.stat().st_size
    assert f'a second film begins after {share:.0%} of the file' in str(doubt_of(path))
    assert not str(doubt_of(first)) and not str(doubt_of(second))
    outcome = store_clip((str(tmp_path / 'frames'), ClipTask(path.name, None, str(path))))
    assert outcome.problem[0] == 'damage' and 'a second film' in outcome.problem[1]


def test_a_clock_that_falls_is_told(tmp_path, films):
    path = join(tmp_path / 'joined.mkv', films('mkv'))
    all_seconds_equal_ffmpeg(path)
    assert 'its clock goes back by 5.9 s at 5.9 s' in str(doubt_of(path))
    shifted = join(tmp_path / 'shifted.mkv', films('mkv', '-output_ts_offset', 0.05))  # no time is that of another
    assert 'its clock goes back by' in str(doubt_of(shifted))
    # A wanted second alone must not come from both films.
    assert groups._plan(str(shifted), enumerate) is None


@pytest.mark.parametrize('rate', [8, 30, Fraction(30000, 1001)])
@pytest.mark.parametrize('suffix', ['asf', 'flv'])
def test_pictures_without_a_duration(tmp_path, suffix, rate):
    source = write_clip(tmp_path / 'source.mkv', numbered_frames(75), rate, 'ffv1')
    path = ffmpeg_makes(tmp_path / f'clip.{suffix}', '-i', source, *CODERS[suffix])
    assert all_seconds_equal_ffmpeg(path) == [int(second * Fraction(rate)) for second in range(int(74 / rate) + 1)]
    all_seconds_equal_ffmpeg(path, 'legacy_r1')


def test_duration_is_the_stored_one_else_the_time_since_the_picture_before():
    guess = DurationGuess(rate_ticks=40)
    assert [guess(0, 0), guess(50, 0), guess(90, 33), guess(180, 0), guess(170, 0)] == [40, 50, 33, 90, 40]
    assert [guess(200, 1), guess(202, 1)] == [30, 1]  # a duration of 1 tick is believed if the pictures are that close


def test_a_moved_header_is_no_second_film(tmp_path, films):
    first, _ = films('mp4')
    moved = ffmpeg_makes(tmp_path / 'moved.mp4', '-i', first, '-c', 'copy', '-movflags', '+faststart')
    in_parts = ffmpeg_makes(tmp_path / 'parts.mp4', '-i', first, '-c', 'copy', '-movflags', 'frag_keyframe+empty_moov')
    assert not str(doubt_of(moved)) and not str(doubt_of(in_parts))
    np.testing.assert_array_equal(decode_seconds(moved, [3])[1][3], decode_seconds(first, [3])[1][3])


@pytest.mark.parametrize(
    'name, coder, fault', [('a.h264', 'libx264', ''), ('b.h264', 'mjpeg', 'it stores no times: 25')]
)
def test_a_raw_stream_has_the_rate_of_its_coder_or_tells_that_it_has_none(tmp_path, name, coder, fault):
    source = write_clip(tmp_path / 'source.mkv', numbered_frames(60), 10, 'ffv1')
    path = ffmpeg_makes(tmp_path / name, '-i', source, '-c:v', coder, '-f', {'libx264': 'h264'}.get(coder, coder))
    assert all_seconds_equal_ffmpeg(path) == ([0, 25, 50] if fault else [0, 10, 20, 30, 40, 50])
    assert str(doubt_of(path)).startswith(fault) and bool(str(doubt_of(path))) == bool(fault)
    assert decode_seconds(path, [0])[0].frame_rate == (25 if fault else 10)
