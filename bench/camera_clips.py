"""Renders clips for benchmarks: a static scene with swaying leaves, a walking animal, and sensor grain.

The ffmpeg program encodes them at a camera's bit rates, so that decoding takes as long as for real clips.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np

FPS = 30
FULL_PX, DOWN_PX = (1280, 720), (640, 360)  # width, height
SWAYS, GRAINS = 24, 12  # number of different pictures of the leaves and of the grain

# A camera's encoder does not look ahead. With mbtree, x264 would make key frames of a still scene 50 % larger.
_H264 = '-c:v libx264 -preset veryfast -pix_fmt yuv420p -x264-params threads=1:mbtree=0:{}'


class Kind(NamedTuple):
    """A way to encode clips, and the goal for the speed of its preparation relative to the original."""

    suffix: str
    encoder: str
    mbit_s: tuple[float, float]  # the full and the downsampled copy
    speed_goal: float


KINDS = {
    'h264_long': Kind('.mp4', _H264.format('keyint=250:bframes=3'), (6, 1.5), 2.5),
    'h264_unaligned': Kind('.mp4', _H264.format('keyint=45:min-keyint=45:scenecut=0'), (6, 1.5), 2.5),
    'h264_second': Kind('.mp4', _H264.format('keyint=30:min-keyint=30:scenecut=0'), (6, 1.5), 10),
    'mjpeg': Kind('.avi', '-c:v mjpeg -pix_fmt yuvj420p', (25, 7), 10),
}


def render_clip(full: Path, down: Path, kind: Kind, seconds: float, seed: int) -> None:
    """Writes the two copies of a clip. If both exist, the function does nothing."""
    if full.exists() and down.exists():
        return
    parts = [path.with_name(f'part_{path.name}') for path in (full, down)]
    width, height = FULL_PX
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *'-v error -y -f rawvideo -pix_fmt yuv420p'.split()]
    command += ['-s', f'{width}x{height}', '-r', str(FPS), '-i', '-']
    command += ['-filter_complex', f'split[a][b];[b]scale={DOWN_PX[0]}:{DOWN_PX[1]}[c]']
    for part, label, mbit_s in zip(parts, ('[a]', '[c]'), kind.mbit_s, strict=True):
        part.parent.mkdir(parents=True, exist_ok=True)
        command += ['-map', label, *kind.encoder.split(), '-b:v', f'{mbit_s}M', str(part)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for picture in _pictures(round(seconds * FPS), seed):
            process.stdin.write(picture)
    if process.returncode:
        raise RuntimeError(f'ffmpeg ended with {process.returncode} while it rendered {full}')
    for part, path in zip(parts, (full, down), strict=True):
        os.replace(part, path)


def _pictures(n_frames: int, seed: int) -> Iterator[bytes]:
    """Yields the yuv420p planes of each frame."""
    rng = np.random.default_rng(seed)
    width, height = FULL_PX
    swaying, chroma = _scene(rng)
    coat = (70 + 18 * _noise(rng, 160, 260, 1.0)).astype(np.int16)
    grains = [np.round(2.0 * rng.normal(size=(height, width))).astype(np.int16) for _ in range(GRAINS)]
    for k in range(n_frames):
        luma = swaying[int(SWAYS * k / FPS / 3) % SWAYS].copy()  # the leaves repeat every 3 s
        left = round((k * 1.7) % (width - coat.shape[1]))
        top = 380 + round(8 * np.sin(k / 5))
        luma[top : top + coat.shape[0], left : left + coat.shape[1]] = coat
        luma += grains[rng.integers(GRAINS)]
        yield np.clip(luma, 16, 235).astype(np.uint8).tobytes() + chroma


def _scene(rng) -> tuple[list[np.ndarray], bytes]:
    """Returns the luma [H, W] int16 for each state of the leaves, and the two chroma planes."""
    width, height = FULL_PX
    ground = 105 + 30 * _noise(rng, height, width, 1.3)
    leaves = 115 + 30 * _noise(rng, height, width, 1.1)
    near = _noise(rng, height, width, 2.0) > 0.6  # leaves hide the ground here
    shifts = np.round(5 * np.sin(2 * np.pi * np.arange(SWAYS) / SWAYS)).astype(int)
    swaying = [
        np.where(near, np.roll(leaves, (shift // 2, shift), (0, 1)), ground).astype(np.int16) for shift in shifts
    ]
    chroma = [128 + 6 * _noise(rng, height // 2, width // 2, 2.0) for _ in range(2)]
    return swaying, b''.join(np.clip(plane, 16, 240).astype(np.uint8).tobytes() for plane in chroma)


def _noise(rng, height: int, width: int, power: float) -> np.ndarray:
    """Returns noise [H, W], mean 0, deviation 1, with the spectrum frequency ** -power of natural scenes."""
    fy, fx = np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width
    falloff = np.maximum(np.hypot(fx, fy), 1) ** -power
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(height, width))) * falloff, (height, width))
    return (noise - noise.mean()) / noise.std()
