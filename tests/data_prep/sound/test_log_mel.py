"""Log-mel rows: by hand for a sine, and by TensorFlow's own functions on a real recording."""

import sysconfig
import wave
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data_prep.sound import log_mel

RECORDING = Path(sysconfig.get_path('stdlib')) / 'test' / 'audiodata' / 'pluck-pcm16.wav'  # a plucked string


def by_tensorflow(samples) -> np.ndarray:
    """The log-mel rows in dB, by tf.signal."""
    spectrum = tf.signal.stft(tf.constant(samples, tf.float64), frame_length=400, frame_step=320, fft_length=512)
    weights = tf.signal.linear_to_mel_weight_matrix(64, 257, 16_000, 60.0, 7800.0, tf.float64)
    window_sum = tf.reduce_sum(tf.signal.hann_window(400, periodic=True, dtype=tf.float64))
    power = tf.abs(spectrum) ** 2 / window_sum**2
    return np.maximum((10 * tf.math.log(power @ weights) / np.log(10.0)).numpy(), -100.0)


def test_rows_equal_tensorflows_on_a_recording():
    if not RECORDING.exists():
        pytest.skip(f'{RECORDING} is missing: this Python was installed without its test data')
    with wave.open(str(RECORDING)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), '<i2').reshape(-1, file.getnchannels())
    samples = pcm.mean(axis=1) / 32768
    assert len(samples) > 1000 and samples.std() > 0.01
    expected = by_tensorflow(np.tile(samples, 20))
    assert expected.shape[0] > 100 and np.ptp(expected) > 40
    np.testing.assert_allclose(log_mel.log_mel_db(np.tile(samples, 20)), expected, atol=0.01)


def test_rows_equal_tensorflows_from_faint_to_full_scale():
    random = np.random.default_rng(0)
    samples = np.geomspace(1e-5, 1, 48_000) * np.clip(random.normal(0, 0.5, 48_000), -1, 1)
    np.testing.assert_allclose(log_mel.log_mel_db(samples), by_tensorflow(samples), atol=0.01)


def test_a_sine_of_full_scale_by_hand():
    """1000 Hz is bin 32 of 31.25 Hz: half of the amplitude, a quarter of the power, times the weight in a band."""
    rows = log_mel.log_mel_db(np.sin(2 * np.pi * 1000 * np.arange(log_mel.SAMPLES) / 16_000))
    assert rows.shape == (50, 64)
    edges = np.linspace(*(1127 * np.log(1 + np.array([60.0, 7800.0]) / 700)), 66)
    pitch = 1127 * np.log(1 + 1000 / 700)
    band = int(np.searchsorted(edges, pitch)) - 1  # the centre of this band is the edge above the pitch
    weight = (pitch - edges[band]) / (edges[band + 1] - edges[band])
    # A Hann window of 400 in 512 samples also fills the neighbouring bins: the band has more than the bin's own part.
    assert 10 * np.log10(0.25 * weight) < rows[10, band] < 10 * np.log10(3 * 0.25)
    assert rows[10].argmax() in (band - 1, band)
    assert rows[10, 55] < -80


def test_stored_bytes_by_hand():
    stored = log_mel.stored_rows(np.array([-120.0, -100, -99.6, -99.81, -60, 1.6, 9]))
    assert stored.tolist() == [1, 1, 2, 1, 101, 255, 255]  # 0 is left for no sound


def test_the_loudest_wave_fits():
    square = np.where(np.arange(log_mel.SAMPLES) % 16 < 8, 1.0, -1.0)
    assert log_mel.log_mel_db(square).max() < log_mel.LEAST_DB + 254 * log_mel.STEP_DB
