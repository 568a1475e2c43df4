"""Members and ground combined by their precision, and only where that lowers the error."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field.calibration.fusion import FusionCheck, check_fusion, fuse_with_ground, sd_log_of
from chimp_jax.field.calibration.grounds import camera_clips, fit_grounds
from chimp_jax.field.estimates import Estimated

Z = norm.ppf(0.95)
# Known points on the plane of the bundled prior, so the ground's estimates are nearly right.
DISTANCES_M = np.array([2.8, 3.5, 4.5, 6, 8, 10])
POINTS = pd.DataFrame(
    {
        'video_id': 'A/a.mp4',
        'time': range(6),
        'distance': DISTANCES_M,
        'x': 0.5,
        'y': 0.45 + 1.4 / DISTANCES_M,
        'row': [f'known.csv:{i + 2}' for i in range(6)],
    }
)
CAMERAS = camera_clips(pd.Series({'A/a.mp4': 'A', 'B/b.mp4': 'B'}), {})


def known(left_out_m, upper_m):
    return POINTS[[*SECOND, 'distance', 'row']].assign(left_out=left_out_m, upper=upper_m)


def test_half_a_normal_interval_is_z_standard_deviations():
    # An interval of 4 m up to 4 + 2 z m: a standard deviation of 2 m, half of the estimate.
    assert sd_log_of([4.0], [4 + 2 * Z], 0.9) == pytest.approx([0.5])
    assert math.isnan(sd_log_of([4.0], [np.nan], 0.9)[0])


def test_the_ground_helps_bad_members_and_not_good_ones():
    a, b = fit_grounds(CAMERAS, POINTS).fitted
    bad = check_fusion(a, known(DISTANCES_M + 3, DISTANCES_M + 9), 0.9)
    assert bad.applied and bad.n == 6 and bad.mae_members_m == pytest.approx(3) and bad.mae_combined_m < 2
    good = check_fusion(a, known(DISTANCES_M, DISTANCES_M + 3), 0.9)
    assert not good.applied and 'does not lower' in good.reason
    assert check_fusion(b, known(DISTANCES_M, DISTANCES_M + 3), 0.9) == FusionCheck(
        False, 0, None, None, 'no known point'
    )


def test_few_known_points_combine_without_a_check():
    (a, _) = fit_grounds(CAMERAS, POINTS[:3]).fitted
    found = check_fusion(a, known(DISTANCES_M, DISTANCES_M + 3)[:3], 0.9)
    assert found == FusionCheck(True, 3, None, None, '')


def test_two_estimates_of_equal_precision_meet_in_the_geometric_mean():
    grounds = fit_grounds(CAMERAS, POINTS)
    targets = pd.DataFrame({'video_id': ['A/a.mp4', 'A/a.mp4', 'B/b.mp4', 'A/a.mp4'], 'time': [0, 1, 0, 2]})
    flags = ['', '', '', 'camera_unsure']
    best = pd.DataFrame(
        {'distance': [9.0, np.nan, 9.0, 9.0], 'spread_log': [0.5, np.nan, 0.5, 0.5], 'flags': flags},
        pd.MultiIndex.from_frame(targets),
    )
    upper_m = np.full(4, 4 + 2 * Z)  # a standard deviation of 0.5 on the log scale
    members = Estimated(np.full(4, 4.0), np.full(4, 1.0), upper_m, [''] * 4, [''] * 4)
    yes, no = FusionCheck(True, 6, 3.0, 1.0, ''), FusionCheck(False, 6, 1.0, 1.0, 'no')
    found = fuse_with_ground(members, targets, best, grounds, {('A', 0): yes, ('B', 0): no}, 0.9)
    # sqrt(4 * 9) = 6, with the standard deviation 0.5 / sqrt(2). The other rows keep what the members say.
    assert found.distance_m == pytest.approx([6, 4, 4, 4])
    reach = math.exp(Z * 0.5 / math.sqrt(2))
    assert found.lower_m == pytest.approx([6 / reach, 1, 1, 1])
    assert found.upper_m == pytest.approx([6 * reach, *upper_m[1:]])
