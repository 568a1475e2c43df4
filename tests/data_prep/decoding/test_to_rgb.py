"""The conversion to RGB equals that of the ffmpeg program, to the bit."""

import itertools

import av
import numpy as np
import pytest
from make_clips import FPS_RULE, ffmpeg_frames, ffmpeg_makes, numbered_frames, write_clip

from data_prep.decoding.decode import decode_seconds

MIRRORED = ['-display_hflip', '-display_vflip']


@pytest.mark.parametrize('gamma', [False, True])
@pytest.mark.parametrize('codec, pix_fmt', [('libx264', 'yuv420p'), ('mjpeg', 'yuvj422p')])
def test_pictures_are_turned_and_mirrored_as_a_player_shows_them(tmp_path, codec, pix_fmt, gamma):
    bright = numbered_frames(3) // 2 + 126  # the correction makes darker pictures black
    flat = write_clip(tmp_path / 'flat.mov', bright, 10, codec, pix_fmt)
    shown = set()
    for degrees, mirrors in itertools.product([0, 30, 90, 180, 270], [[], MIRRORED[:1], MIRRORED[1:]]):
        path = tmp_path / f'{degrees}{"".join(mirrors)}.mov'
        ffmpeg_makes(path, '-display_rotation', degrees, *mirrors, '-i', flat, '-c', 'copy')
        info, frames = decode_seconds(path, None, gamma=gamma)
        rule = f'{FPS_RULE},eq=gamma=0.1' if gamma else FPS_RULE
        expected = ffmpeg_frames(path, rule, height_px=info.height_px, width_px=info.width_px)
        np.testing.assert_array_equal(frames[0], expected[0], err_msg=path.name)
        assert (info.height_px, info.width_px) == ((64, 48) if degrees in (90, 270) else (48, 64))
        shown.add(frames[0].tobytes())
    # 0, 90, 180 and 270 degrees, mirrored or not, are 8 pictures; 30 degrees, mirrored once or not, are 2 more at least
    assert len(shown) >= 10


def test_a_mirrored_clip_is_mirrored(tmp_path):
    flat = write_clip(tmp_path / 'flat.mp4', numbered_frames(3), 10)
    left_right = ffmpeg_makes(tmp_path / 'h.mp4', '-display_hflip', '-i', flat, '-c', 'copy')
    up_down = ffmpeg_makes(tmp_path / 'v.mp4', '-display_vflip', '-i', flat, '-c', 'copy')
    plain, h, v = (decode_seconds(path, [0])[1][0].astype(int) for path in (flat, left_right, up_down))
    assert np.abs(h - plain[:, ::-1]).mean() < 1 < np.abs(h - plain).mean()
    assert np.abs(v - plain[::-1]).mean() < 1 < np.abs(v - plain).mean()


INTERLACED = ['-vf', 'interlace', '-flags', '+ilme+ildct']
DEEP = ['-pix_fmt', 'yuv420p10le']


@pytest.mark.parametrize(
    'suffix, options',
    [
        ('mp4', ['-c:v', 'libx264', *INTERLACED]),
        ('mpg', ['-c:v', 'mpeg2video', '-r', 25, '-q:v', 3, *INTERLACED]),
        ('mp4', ['-c:v', 'libx264', *DEEP]),
        ('mkv', ['-c:v', 'libx265', '-x265-params', 'log-level=error', *DEEP]),
        ('mp4', ['-c:v', 'libx264', *DEEP, '-colorspace', 'bt2020nc', '-color_range', 'tv']),
        ('mov', ['-c:v', 'prores_ks']),
    ],
    ids=['h264-interlaced', 'mpeg2-interlaced', 'h264-10-bit', 'hevc-10-bit', 'bt2020-10-bit', 'prores'],
)
@pytest.mark.parametrize('gamma', [False, True])
def test_interlaced_and_10_bit_clips(tmp_path, suffix, options, gamma):
    test_picture = ['-f', 'lavfi', '-i', 'testsrc2=size=64x48:rate=50:duration=1.5']
    path = ffmpeg_makes(tmp_path / f'clip.{suffix}', *test_picture, *options)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    assert frame.interlaced_frame or '10' in frame.format.name
    _, frames = decode_seconds(path, None, gamma=gamma)
    rule = f'{FPS_RULE},eq=gamma=0.1' if gamma else FPS_RULE
    expected = ffmpeg_frames(path, rule, '-fps_mode', 'passthrough', height_px=48, width_px=64)
    np.testing.assert_array_equal(list(frames.values()), expected)
