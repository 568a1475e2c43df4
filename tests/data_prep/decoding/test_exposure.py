import subprocess

import av
import numpy as np
import pytest
from make_clips import ffmpeg_program

from data_prep.decoding import exposure


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


def test_gamma_table_as_published():
    published = {0: 0, 126: 0, 180: 7, 193: 15, 200: 22, 220: 58, 231: 95, 235: 113, 245: 171}
    assert {level: exposure.GAMMA_TABLE[level] for level in published} == published
    assert exposure.GAMMA_TABLE[255] == 255


def eq_filter(planes: np.ndarray, pix_fmt: str, size_px: int) -> np.ndarray:
    video = ['-f', 'rawvideo', '-pix_fmt', pix_fmt]
    command = [ffmpeg_program(), '-v', 'error', *video, '-s', f'{size_px}x{size_px}', '-i', '-']
    command += ['-vf', 'eq=gamma=0.1', *video, '-']
    done = subprocess.run(command, input=planes.tobytes(), capture_output=True, check=True)
    return np.frombuffer(done.stdout, np.uint8)


@pytest.mark.parametrize('pix_fmt', ['yuv420p', 'yuvj420p', 'yuv422p', 'yuv444p', 'yuvj422p'])
def test_gamma_is_the_eq_filter_for_all_levels(pix_fmt):
    chroma = {'0': 128, '2': 256, '4': 512}[pix_fmt[-2]]
    random = np.random.default_rng(0).integers(0, 256, chroma, np.uint8)
    planes = np.concatenate([np.arange(256, dtype=np.uint8), random])  # luma [16, 16], chroma
    frame = av.VideoFrame(16, 16, pix_fmt)
    start = 0
    for plane in frame.planes:
        lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        size = plane.height * plane.width
        lines[:, : plane.width] = planes[start : start + size].reshape(plane.height, -1)
        start += size

    corrected = exposure.apply_gamma(frame)

    def content(frame):
        return np.concatenate([exposure._plane(plane).ravel() for plane in frame.planes])

    np.testing.assert_array_equal(content(corrected), eq_filter(planes, pix_fmt, 16))
    np.testing.assert_array_equal(content(frame), planes)  # the decoder may still need it
    assert corrected.format.name == pix_fmt


def test_gamma_of_other_layouts_goes_through_8_bit():
    ramp = np.tile(np.arange(0, 1024, 16, dtype=np.uint16), (16, 1))
    frame = av.VideoFrame(64, 16, 'yuv420p10le')
    for i, plane in enumerate(frame.planes):
        lines = np.frombuffer(plane, np.uint16).reshape(plane.height, plane.line_size // 2)
        lines[:, : plane.width] = 512 if i else ramp
    corrected = exposure.apply_gamma(frame)
    assert corrected.format.name == 'yuv420p'
    luma = exposure._plane(corrected.planes[0])
    expected = exposure.GAMMA_TABLE[np.arange(0, 256, 4)]
    assert np.abs(luma[0].astype(int) - expected).max() <= 7  # one level of the ramp near white


def test_colours_keep_their_meaning():
    frame = av.VideoFrame(16, 16, 'yuv420p')
    frame.colorspace, frame.color_range = 1, 2  # BT.709, full range
    corrected = exposure.apply_gamma(frame)
    assert (corrected.colorspace, corrected.color_range) == (1, 2)
