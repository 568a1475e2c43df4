import numpy as np
import pytest
from make_clips import ffmpeg_frames, ffmpeg_makes

from data_prep.decoding import exposure
from data_prep.decoding.decode import decode_seconds


def test_white_fraction_by_hand():
    frame = np.zeros((2, 5, 3), np.uint8)  # 30 values
    frame[0, 0] = 255  # 3 white values
    frame[1, 4, 1] = 251  # 1
    frame[1, 3] = 250  # none: strictly above 250
    assert exposure.white_fraction(frame) == pytest.approx(4 / 30)


def test_white_means_more_than_a_fifth():
    frame = np.zeros((10, 10, 3), np.uint8)
    frame[:2] = 255  # 20 % exactly
    assert not exposure.clip_is_overexposed([exposure.white_fraction(frame)])
    frame[9, 9, 0] = 251
    assert exposure.clip_is_overexposed([exposure.white_fraction(frame)])


def test_one_white_frame_makes_a_clip_overexposed():
    assert not exposure.clip_is_overexposed([0.0, 0.2, 0.1])
    assert exposure.clip_is_overexposed([0.0, 0.21, 0.1])
    assert not exposure.clip_is_overexposed([])


def test_fixed_seconds():
    assert exposure.fixed_seconds(0) == [0]
    assert exposure.fixed_seconds(3) == [0, 1, 2, 3]
    assert exposure.fixed_seconds(60) == list(range(0, 61, 4))


def pictures_of_all_levels(pix_fmt: str) -> bytes:
    """Two raw pictures of 16 x 16: every level of luma, under random chroma. 10-bit formats get every fourth level."""
    rng = np.random.default_rng(0)
    n_chroma = {'gray': 0, 'yuv420': 128, 'yuv422': 256, 'yuv444': 512}[pix_fmt[:6].replace('j', '')]
    planes = [np.concatenate([np.arange(256), rng.integers(0, 256, n_chroma)]) for _ in range(2)]
    raw = np.concatenate(planes)
    return (raw * 4).astype('<u2').tobytes() if '10' in pix_fmt else raw.astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    'pix_fmt, tags',
    [
        ('yuv420p', []),
        ('yuv420p', ['-colorspace', 'bt709', '-color_range', 'tv']),
        ('yuv422p', []),
        ('yuv444p', ['-color_range', 'pc']),
        ('gray', []),
        ('yuv420p10le', []),
        ('yuv420p10le', ['-colorspace', 'bt2020nc', '-color_range', 'tv']),
        ('yuv422p10le', ['-color_range', 'pc']),
    ],
)
def test_gamma_is_the_eq_filter_for_all_levels(tmp_path, pix_fmt, tags):
    path, raw = tmp_path / 'levels.mkv', tmp_path / 'levels.yuv'
    raw.write_bytes(pictures_of_all_levels(pix_fmt))
    ffmpeg_makes(path, '-f', 'rawvideo', '-pix_fmt', pix_fmt, '-s', '16x16', '-r', 1, '-i', raw, '-c:v', 'ffv1', *tags)
    _, plain = decode_seconds(path, None)
    _, corrected = decode_seconds(path, None, gamma=True)
    assert list(corrected) == [0, 1] and (corrected[0] != plain[0]).any()
    expected = ffmpeg_frames(path, 'eq=gamma=0.1', height_px=16, width_px=16)
    np.testing.assert_array_equal(list(corrected.values()), expected)


def test_gamma_as_published(tmp_path):
    published = {0: 0, 126: 0, 180: 7, 193: 15, 200: 22, 220: 58, 231: 95, 235: 113, 245: 171, 255: 255}
    raw, path = tmp_path / 'levels.yuv', tmp_path / 'levels.mkv'
    raw.write_bytes(pictures_of_all_levels('gray')[:256])
    ffmpeg_makes(path, '-f', 'rawvideo', '-pix_fmt', 'gray', '-s', '16x16', '-r', 1, '-i', raw, '-c:v', 'ffv1')
    _, corrected = decode_seconds(path, [0], gamma=True)
    levels = corrected[0][..., 0].ravel()
    assert {level: levels[level] for level in published} == published
