"""Makes small clips for tests, and the ffmpeg program's frames to compare with."""

import functools
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_prep.decoding.decode import ClipInfo, decode_seconds

FPS_RULE = 'fps=fps=1:round=up:start_time=0'  # the rule of data_prep.decoding
SHARED_CLIPS = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'clips'


def write_clip(
    path,
    frames_rgb: np.ndarray,
    frame_rate: Fraction | int,
    codec: str = 'libx264',
    pix_fmt: str = 'yuv420p',
    options: dict[str, str] | None = None,
) -> Path:
    """Encodes frames_rgb [n, H, W, 3] uint8; the suffix of `path` chooses the container."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    frame_rate = Fraction(frame_rate)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=frame_rate, options=options or {})
        stream.height, stream.width = frames_rgb.shape[1:3]
        stream.pix_fmt = pix_fmt
        stream.codec_context.thread_count = 1  # the same bytes on any machine
        for number, rgb in enumerate(frames_rgb):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format='rgb24')
            frame.pts, frame.time_base = number, 1 / frame_rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbered_frames(n_frames: int, height_px: int = 48, width_px: int = 64) -> np.ndarray:
    """Returns frames [n, H, W, 3] uint8 that carry their own number.

    Each frame is a ramp, which codecs encode well, under 12 black or white blocks: the bits of the number.
    """
    ramp = np.linspace(60, 180, width_px, dtype=np.uint8)
    frames = np.broadcast_to(ramp[:, None], (n_frames, height_px, width_px, 3)).copy()
    size_px = width_px // 8
    for number, frame in enumerate(frames):
        for bit in range(12):
            top, left = bit // 6 * 2 * size_px + size_px, (bit % 6 + 1) * size_px
            frame[top : top + size_px, left : left + size_px] = 255 if number >> bit & 1 else 0
    return frames


def frame_number(rgb: np.ndarray) -> int:
    """Returns the number that numbered_frames wrote into a frame [H, W, 3] of any size."""
    height_px, width_px = rgb.shape[:2]
    size_px = width_px / 8
    middle = [int(size_px * (i + 0.5)) for i in range(10)]
    bits = [rgb[middle[bit // 6 * 2 + 1], middle[bit % 6 + 1]].mean() > 127 for bit in range(12)]
    return sum(1 << i for i, bit in enumerate(bits) if bit)


@functools.cache
def ffmpeg_program() -> str:
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg_frames(path, filters: str, *arguments: str, height_px: int, width_px: int) -> np.ndarray:
    """Returns the frames of the ffmpeg program with `-vf filters`: RGB uint8 [n, H, W, 3]."""
    command = [ffmpeg_program(), '-v', 'error', '-i', str(path), '-vf', filters, *arguments]
    command += ['-pix_fmt', 'rgb24', '-f', 'rawvideo', '-']
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, height_px, width_px, 3)


def ffmpeg_makes(path, *arguments) -> Path:
    subprocess.run([ffmpeg_program(), '-v', 'error', *map(str, arguments), str(path)], check=True)
    return path


def probe(path) -> ClipInfo:
    return decode_seconds(path, [0])[0]


def all_seconds_equal_ffmpeg(path, rule=FPS_RULE):
    """Compares with the program: with a filter, or with its output option -r 1 if the rule is 'legacy_r1'."""
    legacy = rule == 'legacy_r1'
    options = ('null', '-r', '1') if legacy else (rule, '-fps_mode', 'passthrough')
    info, frames = decode_seconds(path, None, sampling='legacy_r1' if legacy else 'timestamp')
    expected = ffmpeg_frames(path, *options, height_px=info.height_px, width_px=info.width_px)
    assert list(frames) == list(range(info.last_s + 1)) == list(range(len(expected)))
    for second, frame in frames.items():
        np.testing.assert_array_equal(frame, expected[second], err_msg=f'second {second}')
    return [frame_number(frame) for frame in frames.values()]
