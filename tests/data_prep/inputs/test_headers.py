import math

import numpy as np
import pytest
from make_clips import numbered_frames, write_clip
from make_photos import write_photo

from data_prep.archive import Archive
from data_prep.inputs.headers import Copies, Header, check_headers, check_times, find_clips, read_headers
from data_prep.inputs.labels import every_second, read_targets


@pytest.fixture
def targets(tmp_path):
    rows = ['a.mp4,0,1', 'a.mp4,5,1', 'a.mp4,7,1', 'gone.mp4,0,1', 'gone.mp4,1,1', 'B.mp4,1,1']
    (tmp_path / 'l.csv').write_text('\n'.join(['video_id,time,distance', *rows]))
    return read_targets(tmp_path / 'l.csv')


def reasons(targets):
    return {(problem.video_id, problem.row): problem.reason for problem in targets.problems}


def test_a_path_of_another_disk_or_a_bare_name_tells_which_clip_may_be_meant(tmp_path):
    for name in ('st a/x.mp4', 'st b/x.mp4', 'st b/y.mp4'):
        (tmp_path / 'full' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'full' / name).touch()
    names = ['/mnt/usb/ST A/x.mp4', 'D:/full/st c/x.mp4', 'x.mp4', 'Y.mp4', 'z.mp4']
    found, _ = find_clips(every_second(names), None, Archive([tmp_path / 'full']))
    absolute = 'is an absolute path; give it relative to the clips folder'
    two = f"2 clips end like this, for example 'st a/x.mp4': write the path below {tmp_path}/full"
    assert [problem.reason for problem in found.problems] == [
        f"the video_id '/mnt/usb/ST A/x.mp4' {absolute}; did you mean 'st a/x.mp4'?",
        f"the video_id 'D:/full/st c/x.mp4' {absolute}; {two}",
        f"no such file in {tmp_path}/full; did you mean 'st b/y.mp4'?",
        f'no such file in {tmp_path}/full; {two}',
        f'no such file in {tmp_path}/full',
    ]


def test_missing_clips(tmp_path, targets):
    for name in ('full/a.mp4', 'full/b.mp4', 'down/a.mp4', 'down/gone.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    down, full = (Archive([tmp_path / stream]) for stream in ('down', 'full'))
    found, copies = find_clips(targets, down, full)
    assert copies == {'a.mp4': Copies(f'{tmp_path}/down/a.mp4', f'{tmp_path}/full/a.mp4')}
    assert found.rows['video_id'].tolist() == ['a.mp4'] * 3
    assert reasons(found) == {
        ('B.mp4', 'l.csv:7'): f"no such file in {tmp_path}/full; did you mean 'b.mp4'?",
        ('gone.mp4', 'l.csv:5'): f'no such file in {tmp_path}/full (2 rows)',
    }
    # One root serves both streams. A missing downsampled copy is made later.
    assert find_clips(targets, down, None)[1]['gone.mp4'] == Copies(f'{tmp_path}/down/gone.mp4', None)
    (tmp_path / 'down' / 'a.mp4').unlink()
    assert find_clips(targets, Archive([tmp_path / 'down']), full)[1]['a.mp4'].down is None


def test_a_photo_has_the_second_0_alone(tmp_path):
    rgb = numbered_frames(1)[0]
    sound, gone = (str(write_photo(tmp_path / name, rgb)) for name in ('a.jpg', 'b.PNG'))
    (tmp_path / 'b.PNG').write_bytes(b'')
    wanted = {name: (Copies(None, path), 0) for name, path in (('a.jpg', sound), ('b.PNG', gone))}
    for frame_times in (False, True):
        headers = read_headers(wanted, 1, frame_times)
        assert headers['a.jpg'][:2] == (0, 0) and headers['a.jpg'].length_s == 0
        assert headers['a.jpg'].frame_times_s.tolist() == [0.0] * frame_times
        assert headers['b.PNG'].startswith('not a JPEG or PNG picture')
    (tmp_path / 'l.csv').write_text('video_id,time,distance\na.jpg,0,1\na.jpg,1,2\n')
    found = check_times(read_targets(tmp_path / 'l.csv'), headers)
    assert found.rows['time_s'].tolist() == [0]
    assert reasons(found) == {('a.jpg', 'l.csv:3'): 'second 1 is not in a photo; write the time 0'}


def test_times_past_the_end(targets):
    headers = {'a.mp4': Header(6.0, 8), 'gone.mp4': 'no such file', 'B.mp4': Header(math.inf, 8)}
    found = check_times(check_headers(targets, headers), headers)
    assert found.rows['time_s'].tolist() == [0, 5, 7, 1]  # 7 s is no more than 1 s past 6 s
    assert reasons(found) == {('gone.mp4', 'l.csv:5'): 'no such file (2 rows)'}
    headers['a.mp4'] = Header(5.9, 8)
    found = check_times(check_headers(targets, headers), headers)
    assert found.rows['time_s'].tolist() == [0, 5, 1]
    late = 'second 7 is 1.1 s past the end of the clip (5.9 s)'
    assert reasons(found) == {('gone.mp4', 'l.csv:5'): 'no such file (2 rows)', ('a.mp4', 'l.csv:4'): late}


def test_headers_of_sound_and_broken_clips(tmp_path):
    long = write_clip(tmp_path / 'long.mp4', numbered_frames(80), 8)
    short = write_clip(tmp_path / 'short.mp4', numbered_frames(40), 8)
    (tmp_path / 'empty.mp4').touch()
    wanted = {
        'both': (Copies(str(short), str(long)), 3),
        'long': (Copies(None, str(long)), 3),
        'empty': (Copies(None, str(tmp_path / 'empty.mp4')), 3),
        'half empty': (Copies(str(tmp_path / 'empty.mp4'), str(long)), 3),
    }
    headers = read_headers(wanted, 1)
    assert {name: headers[name][:2] for name in ('both', 'long')} == {'both': (5.0, 8.0), 'long': (10.0, 8.0)}
    assert not headers['long'].frame_times_s.size
    for name in ('empty', 'half empty'):
        assert headers[name].startswith('not a video')


def test_a_header_with_too_short_a_time_is_not_believed(tmp_path):
    path = write_clip(tmp_path / 'a.avi', numbered_frames(80), 8, 'mjpeg', 'yuvj420p')
    content = bytearray(path.read_bytes())
    # The camera was switched off before it wrote the number of pictures, 80, into the headers.
    places = [i for i in range(300) if content[i : i + 4] == np.uint32(80).tobytes()]
    assert len(places) == 2
    for place in places:
        content[place : place + 4] = np.uint32(1).tobytes()
    path.write_bytes(content)
    assert read_headers({'a': (Copies(None, str(path)), 9)}, 1)['a'].end_s == 10.0


def test_the_last_picture_counts_if_the_header_gives_too_short_a_time():
    # Four pictures a second, the last one from 5.5 s to 5.75 s; the header says 4.8 s.
    assert Header(4.8, 4.0, np.array([0.0, 1.5, 5.5])).length_s == 5.75
    assert Header(6.0, 4.0, np.array([0.0, 1.5, 5.5])).length_s == 6.0
    assert Header(4.8, 4.0).length_s == Header(4.8, 0.0, np.array([5.5])).length_s == 4.8
