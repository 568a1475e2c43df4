"""The correction of a site by known distances: its fit, its limits, its tables."""

import math

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.calibration.calibrate import check_known, fit_calibration, match_known
from chimp_jax.field.label_tables import read_label_table
from chimp_jax.stations.correction import ASSUMED_ERRORS, ErrorModel

# A constant alone, without a line and a place: the posterior is that of one number, by hand.
CONSTANT = ErrorModel(
    centre_m=6.0,
    noise=1.0,
    constant=0.5,
    slope=0.0,
    smooth=0.0,
    column_length=1.0,
    row_length=1.0,
    log_length=1.0,
    foot_mean=(0.5, 0.7),
    foot_sd=(0.2, 0.1),
)
NO_FEET = np.full((40, 2), np.nan)


def calibrate_rows(estimate_m, known_m, site, model=CONSTANT):
    return fit_calibration(estimate_m, known_m, NO_FEET[: len(estimate_m)], site, model)


def write(path, *lines):
    path.write_text('\n'.join(lines) + '\n')
    return path


def test_leave_one_out_by_hand():
    # log(d + 1) of the known distances is 1 above that of the estimates in four rows, 3 in the fifth. With prior
    # variance 1/4 and noise 1, the constant of four rows is their sum / (4 + 4).
    estimate_m = np.full(5, 6.0)
    known_m = 7 * np.exp([1.0, 1, 1, 1, 3]) - 1
    fit = calibrate_rows(estimate_m, known_m, ['s'] * 5)
    left_out_m = 7 * np.exp([6 / 8] * 4 + [4 / 8]) - 1
    np.testing.assert_allclose(fit.left_out_m, left_out_m)
    one = fit.sites['s']
    assert one.mae_without_m == pytest.approx(np.abs(known_m - 6).mean())
    assert one.mae_with_m == pytest.approx(np.abs(known_m - left_out_m).mean())
    assert one.applied and one.n == 5 and one.reason == ''
    # All five rows: 7 / (5 + 4).
    assert fit.apply([6.0], ['s'], NO_FEET[:1]) == pytest.approx(7 * np.exp(7 / 9) - 1)


def test_never_applied_if_it_does_not_help():
    # Right estimates; and errors of alternate signs, whose mean is 0 but for the row that is left out.
    for error in (0, 0.2):
        known_m = 7 * np.exp(error * np.array([1, -1, 1, -1, 1, -1])) - 1
        fit = calibrate_rows([6.0] * 6, known_m, ['s'] * 6)
        assert not fit.sites['s'].applied and '2%' in fit.sites['s'].reason
        assert fit.apply([3.0, 9.0], ['s', 's'], NO_FEET[:2]).tolist() == [3, 9]
        assert fit.left_out_m.tolist() == [6] * 6


def test_few_rows_are_not_enough():
    one = calibrate_rows([6.0] * 4, [9.0] * 4, ['s'] * 4).sites['s']
    assert not one.applied and one.mae_with_m is None and one.reason == '4 known distances, 5 are needed'


def test_sites_have_corrections_of_their_own():
    estimate_m = np.tile([2.0, 4, 6, 8, 10], 2)
    known_m = np.concatenate([estimate_m[:5] * 1.5, estimate_m[5:]])
    fit = calibrate_rows(estimate_m, known_m, ['far'] * 5 + ['right'] * 5)
    assert fit.table().set_index('site')['applied'].to_dict() == {'far': True, 'right': False}
    corrected_m = fit.apply([10, 10, 10, np.nan], ['far', 'right', 'elsewhere', 'far'], NO_FEET[:4])
    assert 11 < corrected_m[0] < 15 and corrected_m[1:3].tolist() == [10, 10] and np.isnan(corrected_m[3])


def test_the_place_of_the_foot_matters():
    # In the left half of the picture, animals are twice as far as estimated; in the right half they are right.
    column = np.tile([0.2, 0.8], 10)
    foot = np.stack([column, np.full(20, 0.7)], axis=1)
    estimate_m = np.full(20, 5.0)
    known_m = np.where(column < 0.5, 10.0, 5.0)
    fit = fit_calibration(estimate_m, known_m, foot, ['s'] * 20, ASSUMED_ERRORS)
    left, right = fit.apply([5.0, 5.0], ['s', 's'], foot[:2])
    assert fit.sites['s'].applied and left > 7.5 and 4 < right < 7


@pytest.mark.parametrize(
    ('estimate_m', 'known_m', 'site', 'message'),
    [
        ([1.0, math.nan], [1.0, 2], ['a', 'a'], 'estimate nan'),
        ([1.0, 1], [1.0, -2], ['a', 'a'], 'known distance -2'),
        ([1.0, 1], [1.0, 2], ['a', ''], 'without a site'),
        ([1.0], [1.0, 2], ['a', 'a'], 'as many'),
        ([], [], [], 'as many'),
    ],
)
def test_bad_values(estimate_m, known_m, site, message):
    with pytest.raises(ValueError, match=message):
        calibrate_rows(estimate_m, known_m, site)


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            ['a.mp4,1,2', 'a.mp4,2,-1', 'a.mp4,3,nan'],
            r'known\.csv:3: the distance -1 is out of bounds; it must be at least 0; known\.csv:4',
        ),
        (['a.mp4,1,2', 'a.mp4,1,3'], r'known\.csv:3: second 1 is at 3 m here, at 2 m in line 2'),
        (['a.mp4,1,2', 'a.mp4,1,2'], 'repeated rows dropped in 1 rows, first in line 3'),
        (['../a.mp4,1,2'], 'clips folder'),
        (['a.mp4,,2'], "the time '' is not a number"),
        ([], 'has no row'),
    ],
)
def test_bad_rows_of_known_distances(tmp_path, lines, message):
    path = write(tmp_path / 'known.csv', 'video_id,time,distance', *lines)
    with pytest.raises(ValueError, match=message) as caught:
        read_label_table(path)
    assert '\n' not in str(caught.value)


def test_many_bad_rows_make_one_line(tmp_path):
    path = write(tmp_path / 'known.csv', 'video_id,time,distance', *(f'a.mp4,{i},x' for i in range(50)))
    with pytest.raises(ValueError, match=r'known\.csv:4: .*; and 47 more; correct'):
        read_label_table(path)


def test_known_rows_meet_their_estimates(tmp_path):
    known = read_label_table(
        write(tmp_path / 'known.csv', 'video_id,time,distance', 'b.mp4,2,4', 'a.mp4,0,3', 'a.mp4,1,5')
    ).assign(x=[0.25, np.nan, np.nan], y=[0.5, np.nan, np.nan])
    rows = pd.DataFrame({'video_id': ['a.mp4', 'a.mp4', 'b.mp4'], 'time': [0, 1, 2], 'distance': [2.5, np.nan, 7]})
    rows = rows.assign(x=[0.75, 0.75, 0.75], y=[0.9, 0.9, 0.9])
    joined, lost = match_known(rows, known)
    assert joined[['video_id', 'distance', 'estimate']].to_numpy().tolist() == [['b.mp4', 4, 7], ['a.mp4', 3, 2.5]]
    assert joined[['x', 'y']].to_numpy().tolist() == [[0.25, 0.5], [0.75, 0.9]]  # the box where no foot is given
    assert lost == ['known.csv:4: a.mp4 at 1 s has no estimate, so it does not help to calibrate']
    joined, lost = match_known(rows[:0], known)
    assert joined.empty and len(lost) == 3


def test_a_site_with_few_known_distances_is_refused_by_name():
    check_known(pd.Series(['ridge'] * 5 + ['river'] * 6), 'known.csv')
    with pytest.raises(
        ValueError, match=r'known\.csv: too few known distances \(camp has 1; ridge has 4, 5 are needed'
    ):
        check_known(pd.Series(['ridge'] * 4 + ['river'] * 6 + ['camp']), 'known.csv')
