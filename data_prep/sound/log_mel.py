"""Log-mel rows of sound: how loud each of 64 bands of pitch is, 50 times a second.

A row covers 25 ms. Its powers are those of a Hann window's spectrum, relative to the window's sum: a sine of full scale
has -6 dB in its bin. The bands are the triangles of tf.signal.linear_to_mel_weight_matrix, on HTK's mel scale.
"""

import numpy as np

RATE_HZ = 16_000  # of the samples, mono
ROWS, BANDS = 50, 64  # rows of a second, bands of a row
WINDOW, FFT = 400, 512  # samples
LOWEST_HZ, HIGHEST_HZ = 60.0, 7800.0  # edges of the first and the last band
# A stored byte: 0 where there is no sound, else the band has LEAST_DB + (byte - 1) * STEP_DB, at most +1.6 dB. The
# loudest wave has +1.8 dB in all bands together.
LEAST_DB, STEP_DB = -100.0, 0.4
STEP = RATE_HZ // ROWS  # samples from row to row
SAMPLES = (ROWS - 1) * STEP + WINDOW  # that the rows of a second need


def describe_sound() -> dict:
    """Returns the parameters of the stored rows, for dataset.json."""
    return {
        'rate_hz': RATE_HZ,
        'rows_per_second': ROWS,
        'first_row_s': -0.5,  # from the time of the frame
        'window_samples': WINDOW,
        'window': 'hann, periodic',
        'fft_samples': FFT,
        'bands': BANDS,
        'lowest_hz': LOWEST_HZ,
        'highest_hz': HIGHEST_HZ,
        'db_of_1': LEAST_DB,
        'db_per_step': STEP_DB,
        '0': 'no sound',
    }


def log_mel_db(wave: np.ndarray) -> np.ndarray:
    """Returns the log-mel rows of samples in -1..1: [n] float -> [rows, BANDS] float64, dB, at least LEAST_DB.

    Row k covers the samples from k * STEP on; a row that would end beyond the last sample is left out.
    """
    n_rows = (len(wave) - WINDOW) // STEP + 1
    place = np.arange(n_rows)[:, None] * STEP + np.arange(WINDOW)
    spectrum = np.fft.rfft(wave[place] * _HANN, FFT)
    power = (spectrum.real**2 + spectrum.imag**2) / _HANN.sum() ** 2
    return np.maximum(10 * np.log10(np.maximum(power @ _MEL, 1e-30)), LEAST_DB)


def stored_rows(rows_db: np.ndarray) -> np.ndarray:
    """Returns rows in dB as stored bytes 1..255, uint8."""
    return (1 + np.clip(np.round((rows_db - LEAST_DB) / STEP_DB), 0, 254)).astype(np.uint8)


def _mel(frequency_hz):
    return 1127.0 * np.log1p(np.asarray(frequency_hz, float) / 700.0)


def _mel_weights() -> np.ndarray:
    """Returns the weight of each frequency in each band, [FFT / 2 + 1, BANDS]. The mean, frequency 0, has none."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), BANDS + 2)
    pitch = _mel(np.arange(FFT // 2 + 1) * RATE_HZ / FFT)[:, None]
    rising = (pitch - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - pitch) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    weights[0] = 0
    return weights


_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
_MEL = _mel_weights()
