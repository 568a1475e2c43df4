import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from make_clips import SHARED_CLIPS, ffmpeg_makes, numbered_frames, write_clip

from data_prep.decoding.damage import find_doubt, in_ranges
from data_prep.decoding.decode import ClipInfo, decode_seconds
from data_prep.workers.clip_record import ClipTask, make_records
from data_prep.workers.local import store_clip


def info(*shown, frame_rate=8.0, duration_s=10.0, promised_s=10.0, damaged_s=()):
    return ClipInfo(duration_s, promised_s, 48, 64, frame_rate, tuple(map(Fraction, shown)), frozenset(damaged_s))


def contents(seconds):
    return {second: str(second).encode() for second in seconds}


def test_a_sound_clip_has_no_doubt():
    doubt = find_doubt(info(0, 1, 2, 3), contents(range(4)), [0, 3])
    assert not doubt.unusable() and str(doubt) == ''


def test_a_gap_leaves_seconds_without_a_picture_of_their_own():
    # Pictures come until 1.9 s and again from 4.5 s: seconds 2, 3 and 4 show the picture of 1.9 s, 2 rightly.
    found = info(0, 1, '19/10', '19/10', '19/10', 5)
    assert find_doubt(found, contents(range(6)), [0]).stale == {3, 4}
    # With one picture in 2 s, a picture that is 3 s old is normal.
    slow = info(0, 1, '19/10', '19/10', '19/10', 5, frame_rate=0.5)
    assert not find_doubt(slow, contents(range(6)), [0]).stale


def test_before_the_first_picture_there_is_no_gap():
    assert not find_doubt(info('5/2', '5/2', '5/2', 3), contents(range(4)), [0]).stale


def test_repeated_pictures_are_reported_but_can_be_used():
    frames = contents(range(4)) | {2: b'1'}
    doubt = find_doubt(info(0, 1, 2, 3), frames, [2])
    assert doubt.repeated == {2} and not doubt.unusable()
    assert str(doubt) == 'the same picture again in 2 s'


def test_times_past_the_end():
    found = info(0, 1, 2, duration_s=2.5)
    assert find_doubt(found, contents(range(3)), [2, 3, 4, 60]).past_end == {4, 60}


@pytest.mark.parametrize('promised_s, missing', [(0, False), (59.0, False), (62.9, False), (63.3, True)])
def test_a_clip_that_is_shorter_than_its_header_promises(promised_s, missing):
    # 5 % of 63.2 s are 3.16 s
    doubt = find_doubt(info(0, 1, 2, duration_s=60.0, promised_s=promised_s), contents(range(3)), [0])
    assert doubt.missing_end == missing * 'it ends at 60.0 s, but its header promises 63.3 s'
    assert not doubt.unusable()


def test_ranges():
    assert in_ranges({9, 3, 5, 4, 12, 13}) == '3-5 9 12-13'


def doubt_of(path, n_targets):
    made = make_records(ClipTask('a', None, str(path), list(range(n_targets))))
    return made, made.doubts['full']


def damage_packet(path, number: int) -> None:
    """Overwrites the second half of the data of a packet."""
    with av.open(str(path)) as container:
        packet = next(itertools.islice(container.demux(video=0), number, None))
        place = path.read_bytes().index(bytes(packet))
        start, end = place + packet.size // 2, place + packet.size
    content = bytearray(path.read_bytes())
    content[start:end] = bytes(end - start)
    path.write_bytes(content)


@pytest.mark.parametrize(
    'codec, options', [('mpeg4', {'g': '15'}), ('libx264', {'x264-params': 'keyint=15:bframes=0'})]
)
def test_damage_spreads_to_the_next_key_picture(tmp_path, codec, options):
    # Ten pictures per second; pictures 0, 15, 30, 45 ... are key pictures.
    texture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    frames = np.stack([np.roll(texture, number, axis=1) for number in range(80)])  # each shifted by 1 px
    path = write_clip(tmp_path / 'a.mkv', frames, 10, codec, options=options)
    _, sound = decode_seconds(path, None)
    damage_packet(path, 33)
    info, decoded = decode_seconds(path, None)
    # Picture 40 depends on 33, pictures 30 and 50 do not.
    assert info.damaged_s == {4}
    assert [second for second in range(8) if not np.array_equal(decoded[second], sound[second])] == [4]
    made, doubt = doubt_of(path, 8)
    assert doubt.invented == {4} and made.n_left_out == 1
    assert made.records['full'].target_time_s.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert str(doubt) == 'damaged pictures in 4 s'


def test_a_truncated_clip_keeps_its_good_seconds(tmp_path):
    whole = write_clip(tmp_path / 'whole.ts', numbered_frames(80), 10, options={'x264-params': 'keyint=10'})
    path = tmp_path / 'a.ts'
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 5 // 8])
    made, doubt = doubt_of(path, 8)
    kept = made.records['full'].target_time_s.tolist()
    assert kept == list(range(len(kept))) and 3 <= len(kept) <= 6
    assert {7} <= doubt.past_end and made.n_left_out == 8 - len(kept)


def test_a_truncated_avi_clip_is_reported_even_if_no_target_is_lost(tmp_path):
    whole = write_clip(tmp_path / 'whole.avi', numbered_frames(80), 10, 'mjpeg', 'yuvj420p')
    path = tmp_path / 'a.avi'
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    outcome = store_clip((str(tmp_path / 'frames'), ClipTask('a.avi', None, str(path))))
    stage, reason = outcome.problem
    assert stage == 'damage' and reason.endswith(' s, but its header promises 8.0 s')
    assert outcome.row['n_targets'] in (4, 5)


def test_missing_pictures_in_the_middle(tmp_path):
    whole = write_clip(tmp_path / 'whole.mkv', numbered_frames(80), 10, 'mjpeg', 'yuvj420p')
    path = ffmpeg_makes(
        tmp_path / 'a.mkv', '-i', whole, '-c', 'copy', '-bsf:v', "noise=drop='gt(n,20)*lt(n,57)'"
    )  # pictures 21 .. 56 are lost: 2.1 to 5.6 s
    made, doubt = doubt_of(path, 8)
    assert doubt.stale == {3, 4, 5} and not doubt.invented
    assert made.records['full'].target_time_s.tolist() == [0, 1, 2, 6, 7]
    # The windows of the other targets are complete: the picture of 2 s fills the gap.
    assert made.records['full'].frame_time_s.tolist() == list(range(8))


def test_real_clips_are_not_doubted():
    if not SHARED_CLIPS.exists():
        pytest.skip(f'{SHARED_CLIPS} is missing')
    for path in sorted(SHARED_CLIPS.iterdir()):
        made = make_records(ClipTask(path.name, None, str(path)))
        assert made.n_left_out == 0 and not any(map(str, made.doubts.values())), path
