"""Sound tracks as cameras write them, against the ffmpeg program; damaged and missing tracks."""

import subprocess

import numpy as np
import pandas as pd
import pytest
from make_clips import ffmpeg_program
from make_sounds import SECONDS, tone, write_sound_clip

from data_prep.sound import log_mel
from data_prep.sound.heard import silent_text
from data_prep.sound.track import decode_sound, sound_of_copies
from data_prep.workers import frame_store
from data_prep.workers.clip_record import ClipTask, make_records
from data_prep.workers.outcome_tables import sound_line


def by_ffmpeg(path: str) -> np.ndarray:
    """The sound of a clip by the ffmpeg program, mono at 16 kHz."""
    command = [
        ffmpeg_program(),
        '-v',
        'error',
        '-i',
        path,
        '-map',
        '0:a',
        '-ac',
        '1',
        '-ar',
        '16000',
        '-f',
        'f32le',
        '-',
    ]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True, timeout=600).stdout, '<f4')


def decibels(rows: np.ndarray) -> np.ndarray:
    return -100 + 0.4 * (rows.astype(float) - 1)


@pytest.mark.parametrize(
    'name,codec,rate_hz,layout',
    [
        ('a.avi', 'pcm_s16le', 8_000, 'mono'),
        ('b.avi', 'pcm_u8', 11_025, 'mono'),
        ('c.avi', 'adpcm_ima_wav', 8_000, 'mono'),
        ('d.avi', 'adpcm_ms', 22_050, 'stereo'),
        ('e.mp4', 'aac', 44_100, 'stereo'),
        ('f.mov', 'pcm_mulaw', 8_000, 'mono'),
        ('g.avi', 'mp2', 32_000, 'mono'),
    ],
)
def test_rows_equal_those_of_the_ffmpeg_program(tmp_path, name, codec, rate_hz, layout):
    path = write_sound_clip(tmp_path / name, codec, rate_hz, layout)
    sound = decode_sound(path, list(range(SECONDS)))
    assert sound.state == 'yes'
    whole = by_ffmpeg(path)
    for second in (1, 2, 3):
        begin = second * 16_000 - 8_000
        expected = log_mel.log_mel_db(whole[begin : begin + log_mel.SAMPLES])
        assert np.abs(decibels(sound.rows[second]) - expected).max() < 0.3  # half a step of the stored bytes is 0.2
    assert np.ptp(decibels(sound.rows[1:4])) > 30


def test_a_click_is_in_the_rows_of_its_moment(tmp_path):
    wave = np.zeros(SECONDS * 16_000)
    wave[3 * 16_000 + 160 : 3 * 16_000 + 200] = 0.9  # 3.01 s
    sound = decode_sound(write_sound_clip(tmp_path / 'a.avi', wave=wave), list(range(SECONDS)))
    loud = decibels(sound.rows).max(axis=2)
    assert np.argwhere(loud > -50).tolist() == [[3, 25]]  # 2.5 s and 25 rows of 20 ms: 3.00 to 3.025 s
    assert not sound.rows[0, :25].any() and sound.rows[0, 25:].all()  # nothing is known before the clip


def test_sound_that_starts_late_stays_on_the_clock_of_the_pictures(tmp_path):
    sound = decode_sound(
        write_sound_clip(tmp_path / 'a.mkv', wave=tone(16_000)[: 3 * 16_000], start_s=2), [0, 1, 2, 3, 4]
    )
    assert sound.state == 'in 3 of 5 seconds'
    assert not sound.rows[:2].any() and sound.rows[2, 25:].all()
    assert sound.at([2, 4]).shape == (2, 50, 64) and (sound.at([4])[0] == sound.rows[4]).all()


def test_without_a_track_there_is_no_sound(tmp_path):
    path = write_sound_clip(tmp_path / 'a.avi', wave=[])
    sound = decode_sound(path, [0, 1])
    assert (sound.state, sound.rows.shape) == ('no', (0, 50, 64))
    assert sound_of_copies((None, 'IMG_1.jpg'), [0]).state == 'no'
    with_sound = write_sound_clip(tmp_path / 'b.avi')
    assert sound_of_copies((path, with_sound), [1, 2]).state == 'yes'


def test_a_track_that_cannot_be_decoded_is_told(tmp_path):
    path = tmp_path / 'a.avi'
    write_sound_clip(path, 'adpcm_ima_wav', 8_000)
    content = bytearray(path.read_bytes())
    channels = content.index(b'strf', content.index(b'auds')) + 10  # in the header of the track
    content[channels : channels + 2] = (200).to_bytes(2, 'little')
    path.write_bytes(content)
    sound = decode_sound(str(path), [0, 1])
    assert (sound.state, len(sound.rows)) == ('in 0 of 2 seconds', 0)
    clips = pd.DataFrame({'sound': ['yes', 'yes', 'no', 'in 3 of 5 seconds', sound.state]})
    assert sound_line(clips) == (
        '2 clips with sound, 1 without, 1 with sound in some seconds only, 1 with a track that gives no sound (column '
        '`sound` of clips.csv)'
    )
    assert sound_line(clips[:3]) == '2 clips with sound, 1 without'
    assert silent_text(clips['sound']).startswith('2 of 5 clips have no sound: ') and not silent_text(['yes'])


@pytest.mark.parametrize('share', [0.5, 0.9])
def test_a_track_that_is_cut_or_damaged_keeps_the_record(tmp_path, share):
    path = write_sound_clip(tmp_path / 'a.mp4', 'aac', 16_000)
    content = bytearray(open(path, 'rb').read())
    noise = np.random.default_rng(1).integers(0, 256, len(content), np.uint8)
    is_hit = np.random.default_rng(2).random(len(content)) < 0.02
    start = content.index(b'mdat') + 4
    stop = content.rindex(b'moov') - 4
    begin = start + int((stop - start) * share)  # the sound is behind the pictures
    for k in np.nonzero(is_hit)[0]:
        if begin <= k < stop:
            content[k] = noise[k]
    open(path, 'wb').write(bytes(content))
    made = make_records(ClipTask('a.mp4', None, path, audio=True))
    assert len(made.records['full'].frame_jpeg) == SECONDS
    assert made.sound != 'no'


def test_records_keep_the_sound_and_others_have_no_field(tmp_path):
    path = write_sound_clip(tmp_path / 'a.avi')
    heard = make_records(ClipTask('a.avi', None, path, audio=True))
    plain = make_records(ClipTask('a.avi', None, path))
    assert heard.sound == 'yes' and plain.sound is None
    expected = decode_sound(path, list(range(SECONDS))).rows
    for stream in ('down', 'full'):
        record = frame_store.from_bytes(frame_store.to_bytes(heard.records[stream]))
        np.testing.assert_array_equal(record.sound, expected)
        assert frame_store.from_bytes(frame_store.to_bytes(plain.records[stream])).sound is None
        assert b'sound' not in frame_store.to_bytes(plain.records[stream])
    assert frame_store.clip_row(record, '', 'yes')['sound'] == 'yes'
    assert 'sound' not in frame_store.clip_row(record, '')
