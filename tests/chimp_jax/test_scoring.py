"""The scorer: any number of frames and windows, the masked metric, and the calls that shared frames save."""

import functools
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import scoring, steps
from chimp_jax.data import chunks
from chimp_jax.models import distance_model
from chimp_jax.steps import Mean, absolute_error

CHALLENGE = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'deep_chimpact' / 'submission_format.csv'


def fresh_weights(seed):
    return distance_model.fresh_variables(small.model(), seed)


def test_any_number_of_frames_and_windows():
    scorer = scoring.Scorer(small.model(), 512, jax.devices()[:2])  # as for large pictures: 8 frames a call
    weights = scorer.place(fresh_weights(0))
    frames = np.random.default_rng(0).integers(0, 256, (257, 32, 32, 3), dtype=np.uint8)
    all_at_once = jax.jit(functools.partial(steps.encode_step, model=small.model()))
    expected, _ = all_at_once(fresh_weights(0), frames, np.ones(257, bool))
    for n in (1, 31, 32, 33, 257):
        features = scorer.encode(weights, frames[:n], np.arange(n))
        assert features.shape == (n, 1280)
        np.testing.assert_allclose(features, expected[:n], rtol=1e-5, atol=1e-6)
        window = np.repeat(np.arange(n)[:, None], 7, axis=1)
        distance = np.where(np.arange(n) % 2, np.nan, 1.0)
        prediction, error = scorer.distances(weights, features, window, distance)
        assert prediction.shape == (n,) and error.count == (n + 1) // 2


def test_frames_that_only_fill_a_call_are_passed_over():
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    there = np.array([True, False, True])
    encode = functools.partial(steps.encode_step, model=small.model())
    looped, _ = jax.jit(functools.partial(encode, one_by_one=True))(fresh_weights(0), frames, there)
    whole, _ = jax.jit(encode)(fresh_weights(0), frames, there)
    np.testing.assert_allclose(looped[::2], whole[::2], rtol=1e-5, atol=1e-6)
    assert not looped[1].any() and whole[1].any()


def test_masked_metric_by_hand():
    # |2 - 1| + |5 - 7| = 3 over the two that count; the NaN label is masked.
    error = absolute_error(np.array([2.0, 5.0, 9.0]), np.array([1.0, 7.0, np.nan]), np.array([1.0, 1.0, 0.0]))
    assert (float(error.total), float(error.count), error.value()) == (3.0, 2.0, 1.5)
    assert (error + Mean(1.0, 2.0)).value() == 1.0
    assert np.isnan(Mean(0.0, 0.0).value())


@pytest.mark.parametrize('n_frames,step_s,saved', [(7, 1, 2.5), (9, 1, 2.9), (7, 2, 3.8)])
@pytest.mark.skipif(not CHALLENGE.exists(), reason=f'{CHALLENGE} is not there')
def test_backbone_calls_saved_on_the_challenges_targets(n_frames, step_s, saved):
    """published_method, section 3: f7s1 wants 83,524 frames, 32,923 of them distinct."""
    direct = shared = 0
    for video_id, times in pd.read_csv(CHALLENGE).groupby('video_id')['time']:
        record = small.timed(video_id, times.to_numpy(), last_s=61)  # the original's clips gave up to 62 files
        plan = chunks.plan_windows([record], [True], n_frames, step_s)
        direct, shared = direct + plan.window.size, shared + plan.frame.size
    assert round(direct / shared, 1) == saved
    if (n_frames, step_s) == (7, 1):
        assert (direct, shared) == (83_524, 32_923)
