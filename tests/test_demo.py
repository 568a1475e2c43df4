"""The demo's figures, computed by hand."""

import numpy as np
import pandas as pd
import pytest
from small import record

import demo
from bench import demo_report


def test_scores_by_hand(tmp_path):
    """Two clips, the second overexposed; the median training distance is 4 m."""
    down, full = demo.RECIPES
    keys = {'video_id': ['a.mp4', 'a.mp4', 'b.avi'], 'time': [0, 2, 0]}
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'data').mkdir()
    predicted = pd.DataFrame({**keys, 'distance': [2.0, 5.0, 9.0], down: [3.0, 5.0, 5.0], full: [1.0, 5.0, 9.5]})
    predicted.to_csv(tmp_path / 'predictions.csv', index=False)
    truth = pd.DataFrame({**keys, 'distance': [1.0, 5.0, 10.0]}).iloc[::-1]  # rows are matched by key
    truth.to_csv(tmp_path / 'clips' / 'test_distances.csv', index=False)
    labels = pd.DataFrame({'video_id': ['c.mp4'] * 3, 'time': [0, 2, 4], 'distance': [1.0, 4.0, 20.0]})
    labels.to_csv(tmp_path / 'clips' / 'train_labels.csv', index=False)
    clips = pd.DataFrame({'video_id': ['a.mp4', 'b.avi'], 'gamma': [False, True]})
    clips.to_csv(tmp_path / 'data' / 'clips.csv', index=False)
    summary, rows = demo.score(tmp_path)
    assert summary['mae_constant'] == pytest.approx((3 + 1 + 6) / 3)
    assert summary['mae_ensemble'] == pytest.approx((1 + 0 + 1) / 3)
    assert summary['rmse_ensemble'] == pytest.approx(np.sqrt(2 / 3))
    assert summary['recipes'][down] == pytest.approx({'mae': (2 + 0 + 5) / 3, 'rmse': np.sqrt(29 / 3)})
    assert summary['recipes'][full]['mae'] == pytest.approx(0.5 / 3)
    assert summary['overexposed'] == pytest.approx({'mae_constant': 6.0, 'mae_down': 5.0, 'mae_full': 0.5})
    assert len(rows) == 3


def test_a_second_past_the_end_shows_the_last_frame():
    one = record('a.mp4', 3, [0, 7], seed=0)
    shown = [np.asarray(demo_report.middle_frame(one, second)) for second in (2, 7)]
    np.testing.assert_array_equal(*shown)
    assert not np.array_equal(shown[0], np.asarray(demo_report.middle_frame(one, 1)))
