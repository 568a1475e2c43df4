"""The sound track of a simulated clip: steps and calls that fade with distance, over wind and insects.

A level falls by 6 dB each time the distance doubles, and by 0.1 dB for each metre of leaves. The surface of the site
colours the steps, its microphone changes all levels. Every sixth site has a camera without a microphone.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from data_prep.simulator import scene
from data_prep.simulator.herd import Animal, draw_herd
from data_prep.simulator.plan import ClipPlan
from data_prep.simulator.site import draw_site

SOUNDS = ('animals', 'noise')  # of --sound; 'noise': wind and insects alone, the control
_CODECS = {'libx264': ('aac', 32_000), 'mpeg4': ('adpcm_ima_wav', 22_050), 'mjpeg': ('pcm_s16le', 16_000)}
_MUTE_SITES = 6  # one in so many
_SPEED_OF_SOUND = 343.0  # metres per second
_LEAVES_DB = -0.1  # per metre


class Surface(NamedTuple):
    """How steps sound: the band of their noise, their level at 1 m in dB of full scale, and how long they last."""

    low_hz: float
    high_hz: float
    level_db: float
    decay_s: float


SURFACES = (
    Surface(800, 6000, -22.0, 0.05),  # dry leaves
    Surface(300, 1500, -26.0, 0.03),  # grass
    Surface(2000, 7000, -24.0, 0.04),  # gravel
)


def has_microphone(plan: ClipPlan) -> bool:
    return bool(plan.sound) and plan.site_index % _MUTE_SITES != _MUTE_SITES - 1


def draw_wave(plan: ClipPlan, rate_hz: int) -> np.ndarray:
    """Returns the sound of a clip, float [n] in -1..1."""
    place = np.random.default_rng([plan.seed, 7, plan.site_index])
    surface, gain_db = SURFACES[place.integers(len(SURFACES))], place.uniform(-2, 2)
    rng = np.random.default_rng([plan.seed, 8, plan.number])
    n = math.ceil(plan.n_frames / float(plan.frame_rate) * rate_hz)
    wave = _gain(-66) * noise(rng, n, rate_hz, 0, rate_hz)  # the microphone's hiss
    wave += _gain(rng.uniform(-55, -45)) * noise(rng, n, rate_hz, 20, 250)
    pitch_hz = rng.uniform(3500, 6500)
    pulse = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(5, 15) * np.arange(n) / rate_hz)
    wave += _gain(rng.uniform(-65, -50)) * pulse * noise(rng, n, rate_hz, pitch_hz - 200, pitch_hz + 200)
    for animal in draw_animals(plan) if plan.sound == 'animals' else ():
        _add_animal(wave, animal, surface, rng, rate_hz)
    return np.clip(_gain(gain_db) * wave, -1, 1)


def draw_animals(plan: ClipPlan) -> list[Animal]:
    """Returns the animals of the clip, as simulator/frames.py draws them."""
    site = draw_site(plan.seed, plan.site_index, plan.site_id, plan.difficulty)
    rng = np.random.default_rng([plan.seed, 3, plan.number])
    scene.draw_light(rng, plan.night)
    return draw_herd(rng, plan, site.camera.view_deg)


def _add_animal(wave: np.ndarray, animal: Animal, surface: Surface, rng, rate_hz: int) -> None:
    """Adds the steps and calls of an animal in place. A step is where the phase of its legs passes half a turn."""
    turns = np.floor(animal.walk.samples[:, 4] / np.pi)
    times_s = np.nonzero(np.diff(turns) > 0)[0] * 0.1
    for time_s in times_s:
        step = noise(rng, int(5 * surface.decay_s * rate_hz), rate_hz, surface.low_hz, surface.high_hz)
        step *= np.exp(-np.arange(len(step)) / rate_hz / surface.decay_s)
        _add(wave, step * _gain(surface.level_db), animal, time_s, rate_hz)
    time_s, length_s = rng.uniform(0, 2), len(wave) / rate_hz
    pitch_hz = 700 / animal.species.height_m**0.5
    while time_s < length_s:
        _add(wave, _call(pitch_hz * rng.uniform(0.9, 1.1), rate_hz) * _gain(-14), animal, time_s, rate_hz)
        time_s += rng.uniform(1.5, 3.5)


def _call(pitch_hz: float, rate_hz: int) -> np.ndarray:
    """Returns a call of 0.4 s with four harmonics, RMS about 0.5."""
    time_s = np.arange(int(0.4 * rate_hz)) / rate_hz
    harmonics = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 5))
    return harmonics * np.sin(np.pi * time_s / 0.4) ** 2


def _add(wave: np.ndarray, sound: np.ndarray, animal: Animal, time_s: float, rate_hz: int) -> None:
    """Adds a sound of level at 1 m in place, at the level and the time at which it arrives at the camera."""
    distance_m = max(0.3, float(np.hypot(*animal.walk.pose(time_s)[:2])))
    first = int((time_s + distance_m / _SPEED_OF_SOUND) * rate_hz)
    part = wave[first : first + len(sound)]
    part += sound[: len(part)] * _gain(_LEAVES_DB * distance_m) / distance_m


def noise(rng, n: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Returns noise of RMS 1 between two pitches, [n]."""
    spectrum = np.fft.rfft(rng.normal(size=n))
    pitch_hz = np.fft.rfftfreq(n, 1 / rate_hz)
    wave = np.fft.irfft(spectrum * ((pitch_hz >= low_hz) & (pitch_hz <= high_hz)), n)
    return wave / max(1e-9, float(np.sqrt(np.mean(wave**2))))


def _gain(level_db: float) -> float:
    return 10 ** (level_db / 20)


class SoundWriter:
    """Writes the sound track of a clip beside its pictures."""

    def __init__(self, container, plan: ClipPlan):
        codec, self._rate_hz = _CODECS[plan.codec]
        self._container = container
        self._stream = container.add_stream(codec, rate=self._rate_hz, layout='mono')
        self._wave = np.round(32767 * draw_wave(plan, self._rate_hz)).astype(np.int16)
        self._done = 0

    def write(self, until_s: float) -> None:
        """Writes the samples up to a time."""
        stop = min(len(self._wave), math.ceil(until_s * self._rate_hz))
        if stop > self._done:
            samples = np.ascontiguousarray(self._wave[None, self._done : stop])
            frame = av.AudioFrame.from_ndarray(samples, format='s16', layout='mono')
            frame.sample_rate, frame.pts, frame.time_base = self._rate_hz, self._done, Fraction(1, self._rate_hz)
            self._container.mux(self._stream.encode(frame))
            self._done = stop

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        self._container.mux(self._stream.encode(None))
