"""Clips with a sound track for the tests."""

from fractions import Fraction

import av
import numpy as np

SECONDS = 5


def tone(rate_hz: int) -> np.ndarray:
    """A tone that swells and sinks over hiss, with a click at 3 s."""
    time_s = np.arange(SECONDS * rate_hz) / rate_hz
    wave = 0.3 * np.sin(2 * np.pi * 440 * time_s) * np.sin(np.pi * time_s / 2) ** 2
    wave += 0.02 * np.random.default_rng(0).normal(size=len(wave))
    wave[3 * rate_hz] = 0.9
    return wave


def write_sound_clip(path, codec='pcm_s16le', rate_hz=16_000, layout='mono', wave=None, start_s=0) -> str:
    """A clip of 5 s with four pictures a second, and the wave as its sound from start_s on; no sound if it is empty."""
    wave = tone(rate_hz) if wave is None else wave
    with av.open(str(path), 'w') as container:
        video = container.add_stream('mpeg4', rate=4)
        video.width, video.height, video.pix_fmt = 64, 48, 'yuv420p'
        audio = container.add_stream(codec, rate=rate_hz, layout=layout) if len(wave) else None
        for k in range(4 * SECONDS):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * k, np.uint8))
            frame.pts, frame.time_base = k, Fraction(1, 4)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            samples = np.repeat((wave * 32767).astype(np.int16)[None], audio.codec_context.channels, axis=0)
            frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format='s16', layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, start_s * rate_hz, Fraction(1, rate_hz)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return str(path)
