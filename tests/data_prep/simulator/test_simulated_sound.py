"""Simulated sound: levels by hand, and their meaning: steps and calls tell the distance, noise alone does not."""

import dataclasses
from fractions import Fraction

import numpy as np

from data_prep.simulator import sound
from data_prep.simulator.plan import SIZES, plan_clips
from data_prep.sound import log_mel


class Still:
    """An animal that stays at a distance."""

    def __init__(self, distance_m):
        self.distance_m = distance_m
        self.walk = self

    def pose(self, _):
        return np.array([0.0, self.distance_m])


def level_db(wave) -> float:
    return 10 * np.log10(np.mean(wave**2))


def test_levels_fall_with_distance_by_hand():
    tone = np.sin(np.arange(1600) / 5)

    def arrived(distance_m):
        wave = np.zeros(16_000)
        sound._add(wave, tone, Still(distance_m), 0.2, 16_000)
        return wave

    near, far = arrived(2.0), arrived(8.0)
    # Four times the distance: 12.04 dB, and 0.1 dB for each of 6 m of leaves.
    assert abs(level_db(near) - level_db(far) - (12.04 + 0.6)) < 0.01
    assert np.nonzero(far)[0][0] - np.nonzero(near)[0][0] == int((0.2 + 8 / 343) * 16_000) - int(
        (0.2 + 2 / 343) * 16_000
    )
    end = np.zeros(100)
    sound._add(end, tone, Still(1.0), 0.0, 16_000)  # 47 samples on the way; the rest is cut at the end of the clip
    assert end[:46].any() == np.False_ and end[60:].all()


def test_noise_has_its_band_and_level():
    wave = sound.noise(np.random.default_rng(0), 16_000, 16_000, 1000, 2000)
    power = np.abs(np.fft.rfft(wave)) ** 2
    assert abs(np.mean(wave**2) - 1) < 1e-9
    assert power[1000:2001].sum() > 0.999 * power.sum()


def test_a_site_in_six_is_mute():
    plans = plan_clips(0, 'easy', SIZES['short'], sound='animals')
    assert {plan.site_index for plan in plans if not sound.has_microphone(plan)} == {5, 11, 17}
    assert not any(map(sound.has_microphone, plan_clips(0, 'easy', SIZES['short'])))
    plain = [dataclasses.replace(plan, sound='') for plan in plans]
    assert plain == plan_clips(0, 'easy', SIZES['short'])  # the pictures are the same


def examples(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The loud level of each band over 7 s [n, 64], the log of the distance [n], and the site [n]."""
    size = dataclasses.replace(SIZES['sites'], clips=(72, 4))
    levels, logs, sites = [], [], []
    for plan in plan_clips(3, 'easy', size, sound=kind)[:72]:
        plan = dataclasses.replace(plan, frame_rate=Fraction(4), n_frames=28)
        rows = log_mel.log_mel_db(sound.draw_wave(plan, 16_000))
        loud = np.quantile(rows, 0.9, axis=0)
        levels.append(loud)
        (animal, *_) = sound.draw_animals(plan)
        logs.append(np.log(np.hypot(*animal.walk.pose(3.5)[:2])))
        sites.append(plan.site_index)
    return np.array(levels), np.array(logs), np.array(sites)


def errors(levels, logs, sites) -> tuple[float, float]:
    """Mean absolute errors of ln(distance) on held-out sites: of a ridge regression on the levels, of the median."""
    of_model, of_constant = [], []
    for fold in range(4):
        held = sites % 4 == fold
        mean, spread = levels[~held].mean(axis=0), levels[~held].std(axis=0)
        x, y = (levels - mean) / spread, logs - logs[~held].mean()
        weights = np.linalg.solve(x[~held].T @ x[~held] + 100 * np.eye(64), x[~held].T @ y[~held])
        of_model += np.abs(y[held] - x[held] @ weights).tolist()
        of_constant += np.abs(logs[held] - np.median(logs[~held])).tolist()
    return float(np.mean(of_model)), float(np.mean(of_constant))


def test_sound_tells_the_distance_where_animals_sound_and_noise_does_not():
    heard, constant = errors(*examples('animals'))
    assert heard < 0.8 * constant
    heard, constant = errors(*examples('noise'))
    assert heard > 0.95 * constant
