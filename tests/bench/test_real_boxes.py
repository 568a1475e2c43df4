"""The figures of the challenge's labels and boxes, and the arithmetic behind them."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench import box_corrections, box_estimates, real_boxes
from chimp_jax.stations.correction import ASSUMED_ERRORS

CHALLENGE = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'deep_chimpact'
needs_challenge = pytest.mark.skipif(not CHALLENGE.exists(), reason='needs ../shared/data/deep_chimpact')
LABELS = 'video_id,time,distance'
METADATA = 'video_id,time,x1,y1,x2,y2,probability,park,site_id'


@pytest.fixture(scope='module')
def challenge() -> pd.DataFrame:
    return box_estimates.read_rows(CHALLENGE)


def least_squares(features: np.ndarray, distance_m: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """An estimate of its own: ridge regression of log(d + 1) on the features and their squares, out of fold."""
    missing = np.isnan(features)
    scaled = np.where(missing, 0, (features - np.nanmean(features, 0)) / np.nanstd(features, 0))
    inputs = np.column_stack([np.ones(len(scaled)), scaled, scaled**2, missing[:, 0]])
    estimate_m = np.zeros(len(distance_m))
    for one in range(box_estimates.FOLDS):
        x, y = inputs[fold != one], np.log(distance_m[fold != one] + 1)
        weights = np.linalg.solve(x.T @ x + 10 * np.eye(x.shape[1]), x.T @ y)
        estimate_m[fold == one] = np.exp(inputs[fold == one] @ weights) - 1
    return estimate_m.clip(0, 25)


@needs_challenge
def test_a_detector_misses_far_animals(challenge):
    """The shares are those of the reference, in percent."""
    found = real_boxes.completeness(challenge)
    assert list(found) == ['0 to 2 m', '2 to 5 m', '5 to 8 m', '8 to 12 m', '12 to 25 m']
    assert [100 * share for share in found.values()] == pytest.approx([55, 52, 42, 36, 17], abs=0.5)
    assert (len(challenge), challenge['site_id'].nunique()) == (15_229, 153)
    assert challenge['probability'].isna().mean() == pytest.approx(0.15, abs=0.005)


@needs_challenge
def test_the_correction_gains_more_than_a_factor(challenge, monkeypatch):
    """The goal at k = 10, 1.5 times the gain of a factor, with another estimate than the command's, and fewer draws.

    ASSUMED_ERRORS, which were fitted to other estimates of these sites, stand in for those of each fold.
    """
    monkeypatch.setattr(box_corrections, 'DRAWS', 5)
    label_m, fold = challenge['distance'].to_numpy(), box_estimates.deal_folds(challenge['site_id'])
    estimate_m = least_squares(box_estimates.box_features(challenge), label_m, fold)
    errors = real_boxes.errors_of(challenge, estimate_m, box_estimates.constant_estimate(label_m, fold))
    # The reference has 2.37 of gradient boosting and 3.37 of the constant.
    assert errors['all']['mae_m'] < 2.6 and errors['all']['constant_m'] == pytest.approx(3.37, abs=0.05)
    rows = real_boxes.found_rows(challenge, estimate_m, fold)
    found = box_corrections.measure_corrections(rows, [10], dict.fromkeys(range(5), ASSUMED_ERRORS))[10]
    assert found['sites'] == 24
    assert found['gain_ratio'] > 1.5
    assert found['before_m'] > max(found['line_m'], found['factor_m']) > found['new_m'] + 0.05
    assert found['rows_before_m'] - found['rows_new_m'] > 1.5 * (found['rows_before_m'] - found['rows_factor_m'])
    assert 0.88 < real_boxes.coverage_of(challenge, estimate_m, fold)[0] < 0.93


def write(folder: Path, labels: list[str], metadata: list[str]) -> Path:
    (folder / 'train_labels.csv').write_text('\n'.join([LABELS, *labels]) + '\n')
    (folder / 'train_metadata.csv').write_text('\n'.join([METADATA, *metadata]) + '\n')
    return folder


def made(folder: Path, n_sites: int = 5) -> Path:
    """Each site has a clip with two labels; the second has no box. The clips are not in order."""
    labels = [f'{n}.mp4,{time},{n + 1}' for n in reversed(range(n_sites)) for time in (0, 10)]
    boxes = [
        row for n in range(n_sites) for row in (f'{n}.mp4,0,0.1,0.2,0.3,0.6,0.9,tai,s{n}', f'{n}.mp4,10,,,,,,tai,s{n}')
    ]
    return write(folder, labels, boxes)


def test_labels_are_joined_with_boxes(tmp_path):
    rows = box_estimates.read_rows(made(tmp_path))
    assert rows['video_id'].tolist() == [f'{n}.mp4' for n in range(5) for _ in range(2)]
    assert rows['distance'].tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rows['site_id'].tolist() == [f's{n}' for n in range(5) for _ in range(2)]
    assert rows['y2'].isna().tolist() == [False, True] * 5


@pytest.mark.parametrize(
    'labels,metadata,message',
    [
        (['a,0,x'], ['a,0,,,,,,tai,s'], r'train_labels.csv:2: distance .*x'),
        (['a,0,'], ['a,0,,,,,,tai,s'], r'train_labels.csv:2: distance is missing or below 0'),
        (['a,0,2', 'a,0,3'], ['a,0,,,,,,tai,s'], r'train_labels.csv:3: a second row'),
        (['a,0,2', 'b,0,2'], ['a,0,,,,,,tai,s'], r'train_labels.csv:3: clip and time are not in train_metadata.csv'),
        (['a,0,2'], ['a,0,0.1,0.1,0.2,,0.9,tai,s'], r'train_metadata.csv:2: only some of x1, y1'),
        (['a,0,2'], ['a,0,0.1,0.1,0.2,1.5,0.9,tai,s'], r'train_metadata.csv:2: y2 is not between 0 and 1'),
        (['a,0,2'], ['a,0,,,,,,tai,'], r'train_metadata.csv:2: site_id is missing'),
        (['a,0,2'], ['a,0,,,,,,tai,s'], r'has 1 sites; 5 are needed'),
        ([], [], r'train_labels.csv has no row'),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path, labels, metadata, message):
    with pytest.raises(SystemExit, match=message) as refused:
        real_boxes.main([str(write(tmp_path, labels, metadata))])
    assert '\n' not in str(refused.value)


def test_a_missing_file_or_column_is_one_line(tmp_path):
    with pytest.raises(SystemExit, match='train_labels.csv cannot be read'):
        real_boxes.main([str(tmp_path)])
    made(tmp_path)
    (tmp_path / 'train_metadata.csv').write_text('video_id,time,x1,y1,x2,y2,park,site_id\n')
    with pytest.raises(SystemExit, match='lacks the column probability'):
        real_boxes.main([str(tmp_path)])


def test_without_scikit_learn_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(real_boxes, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='scikit-learn is not installed; install it') as refused:
        real_boxes.main([str(made(tmp_path))])
    assert '\n' not in str(refused.value)


def test_the_command_writes_its_figures_where_too_few_clips_are_left(tmp_path, monkeypatch, capsys):
    """Six sites of one clip: no site has clips to test after three known labels. The estimate is a constant here."""
    monkeypatch.setattr(real_boxes, 'find_spec', lambda name: True)
    monkeypatch.setattr(real_boxes, 'boosted_estimate', lambda features, label_m, fold: np.full(len(label_m), 2.5))
    real_boxes.main([str(made(tmp_path, 6)), '--json', str(tmp_path / 'out.json')])
    found = json.loads((tmp_path / 'out.json').read_text())
    # Labels 1 to 6, twice: the mean of 1.5, 0.5, 0.5, 1.5, 2.5, 3.5 is 10 / 6.
    assert found['mae']['all'] == pytest.approx(
        {'n': 12, 'mae_m': 10 / 6, 'constant_m': found['mae']['all']['constant_m']}
    )
    assert found['mae']['box']['n'] == found['mae']['probability_above_0.8']['n'] == 6
    assert list(found['correction']) == ['3', '10', '20']
    assert found['correction']['3']['sites'] == 0 and found['correction']['3']['new_m'] is None
    assert found['completeness'] == {
        '0 to 2 m': 0.5,
        '2 to 5 m': 0.5,
        '5 to 8 m': 0.5,
        '8 to 12 m': None,
        '12 to 25 m': None,
    }
    assert set(found['errors']) == {field.name for field in dataclasses.fields(ASSUMED_ERRORS)}
    told = capsys.readouterr().out
    assert '12 labels of 6 clips and 6 sites' in told and '| 3 | 0 |  |  |  |  | none (none to none) |' in told


def test_bands_hold_their_upper_end():
    rows = pd.DataFrame({'distance': [0, 2, 2.5, 5, 12, 25], 'probability': [0.6, np.nan, 0.5, 0.51, 0.9, 0.1]})
    assert list(real_boxes.completeness(rows).values()) == [0.5, 0.5, None, 1.0, 0.0]


def test_folds_do_not_split_a_group():
    group = np.repeat([f'g{i}' for i in range(23)], 3)
    fold = box_estimates.deal_folds(group, seed=1)
    assert pd.Series(fold).groupby(group).nunique().max() == 1
    assert sorted(np.bincount(fold) // 3) == [4, 4, 5, 5, 5]
    assert not np.array_equal(fold, box_estimates.deal_folds(group, seed=2))


def test_the_constant_does_not_know_its_fold():
    """Medians of the other folds: of 7 and 9, and of 1, 2, 6."""
    found = box_estimates.constant_estimate(np.array([1.0, 2.0, 6.0, 7.0, 9.0]), np.array([0, 0, 0, 1, 1]))
    assert found.tolist() == [8, 8, 8, 2, 2]


def test_features_do_not_know_the_label(tmp_path):
    rows = box_estimates.read_rows(made(tmp_path))
    features = box_estimates.box_features(rows)
    changed = box_estimates.box_features(rows.assign(distance=99.0))
    assert np.array_equal(features, changed, equal_nan=True)
    assert features[0, :5] == pytest.approx([0.2, 0.2, 0.6, 0.2, 0.4])  # cx, y1, y2, width, height
    assert np.isnan(features[1, :5]).all() and features[1, -2:].tolist() == [0.5, 2]  # one of two rows has a box


def sites(n_sites: int, n_clips: int, per_clip: int = 2) -> box_corrections.Rows:
    """Sites whose estimates are too large by a factor of their own."""
    rng, n = np.random.default_rng(0), n_sites * n_clips * per_clip
    label_m = rng.uniform(2, 10, n)
    site = np.repeat(np.arange(n_sites), n_clips * per_clip)
    factor = np.exp(rng.normal(0, 0.3, n_sites))[site]
    foot = rng.uniform(0.2, 0.9, (n, 2))
    clip = np.repeat(np.arange(n_sites * n_clips), per_clip).astype(str)
    return box_corrections.Rows(label_m * factor, label_m, foot, site.astype(str), clip, site % 5)


def test_known_labels_come_from_other_clips_than_the_test():
    rows = sites(3, 8)
    draws = box_corrections.draw_known(rows, 3)
    assert [draw.site for draw in draws] == ['0'] * 20 + ['1'] * 20 + ['2'] * 20
    for draw in draws:
        assert len(set(rows.clip[draw.known])) == 3 and len(draw.test) == 5 * 2
        assert not set(rows.clip[draw.known]) & set(rows.clip[draw.test])
        assert set(rows.site[[*draw.known, *draw.test]]) == {draw.site}
    assert box_corrections.draw_known(rows, 4) == []  # 4 clips would be left


def test_a_log_factor_by_hand():
    """Ratios of 2 and 1: ln 2 over two rows and a ridge of 0 or 3. Below 0.5 m, 0.5 m counts: the ratio is 1."""
    found = box_corrections.log_factor(np.array([2.0, 3.0]), np.array([4.0, 3.0]), np.array([0, 3]))
    assert found == pytest.approx([np.log(2) / 2, np.log(2) / 5])
    assert box_corrections.log_factor(np.array([0.1]), np.array([0.4]), 0) == 0


def test_a_line_by_hand():
    """Estimates at the centre + 1 and - 1, residuals 2 and 0, both ridges 1.

    X'X = 2 I and X'r = (2, 2), so offset = slope = 2 / 3. At the centre + 2 that is 2 / 3 + 4 / 3.
    """
    line = box_corrections.Line(centre_m=5.0, noise_m=1.0, offset_m=1.0, slope=1.0)
    known = np.array([6.0, 4.0]), np.array([8.0, 4.0])
    assert box_corrections.correct_by_line(line, *known, np.array([7.0, 5.0])) == pytest.approx([9.0, 5 + 2 / 3])


def test_the_variances_of_the_line_are_recovered():
    """300 sites of 12 rows with a standard deviation of 0.8 m in the offset, 0.3 in the slope and 1 m of noise."""
    rng = np.random.default_rng(1)
    site = np.repeat(np.arange(300), 12)
    estimate_m = rng.uniform(8, 14, len(site))
    offset_m, slope = rng.normal(0, 0.8, 300)[site], rng.normal(0, 0.3, 300)[site]
    label_m = estimate_m + offset_m + slope * (estimate_m - 11) + rng.normal(0, 1, len(site))
    line = box_corrections.fit_line(estimate_m, label_m, site)
    assert (line.noise_m, line.offset_m, line.slope) == pytest.approx((1, 0.8, 0.3), rel=0.1)


def test_the_ridge_of_a_fold_does_not_know_its_sites():
    rows = sites(10, 8)
    draws = box_corrections.draw_known(rows, 3)
    before = box_corrections.choose_ridges(rows, draws, range(5))
    # Labels of fold 0 without any relation to the estimates: the other folds choose a larger ridge, fold 0 does not.
    label_m = np.where(rows.fold == 0, np.random.default_rng(3).permutation(rows.label_m) * 3, rows.label_m)
    after = box_corrections.choose_ridges(rows._replace(label_m=label_m), draws, range(5))
    assert after[0] == before[0]
    assert any(after[fold] != before[fold] for fold in range(1, 5))


def test_factors_are_corrected_and_the_errors_of_rows_and_sites_are_means():
    rows = sites(10, 8)
    found = box_corrections.measure_corrections(rows, [3, 10], dict.fromkeys(range(5), ASSUMED_ERRORS))
    assert found[10]['sites'] == 0 and found[10]['factor_m'] is None and found[10]['gain_ratio_90'] == [None, None]
    assert found[3]['factor_m'] < 0.4 * found[3]['before_m']
    # All sites have as many test rows, so both means agree.
    assert found[3]['rows_new_m'] == pytest.approx(found[3]['new_m'])
    by_site = [np.abs(rows.estimate_m - rows.label_m)[rows.site == str(i)].mean() for i in range(10)]
    assert found[3]['before_m'] == pytest.approx(np.mean(by_site), rel=0.05)


def test_the_ratio_of_gains_by_hand():
    """Gains of 2 and 3 (new), 1 and 1 (factor): (2 + 3) / 2. Samples of the two sites lie between 2 and 3."""
    assert box_corrections.gain_ratio(np.array([[5, 5, 4, 3], [7, 7, 6, 4.0]])) == {
        'gain_ratio': 2.5,
        'gain_ratio_90': [2.0, 3.0],
    }
    nothing = box_corrections.gain_ratio(np.array([[5, 5, 5, 3], [7, 7, 7, 4.0]]))
    assert nothing == {'gain_ratio': None, 'gain_ratio_90': [None, None]}
