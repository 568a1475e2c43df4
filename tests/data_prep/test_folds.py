import numpy as np
import pandas as pd
import pytest
from make_clips import SHARED_CLIPS

from data_prep.folds import balance_lines, fold_balance, make_folds, read_or_make_folds
from data_prep.inputs.labels import read_targets
from data_prep.published_folds import are_published


def labels(n_clips=60, n_sites=15, seed=0):
    random = np.random.default_rng(seed)
    rows = []
    for clip in range(n_clips):
        for _ in range(random.integers(1, 12)):
            distance_m = random.choice([1.0, 2.5, 5.0, 8.0, 20.0])
            rows.append((f'c{clip:02d}.mp4', distance_m, f's{clip % n_sites}'))
    return pd.DataFrame(rows, columns=['video_id', 'distance_m', 'site'])


def test_one_row_a_clip_and_whole_sites():
    rows = labels()
    folds = make_folds(rows, 5)
    assert folds['video_id'].tolist() == sorted(rows['video_id'].unique())
    assert set(folds['clip_fold']) == set(folds['site_fold']) == set(range(5))
    sites = folds['video_id'].map(dict(zip(rows['video_id'], rows['site'], strict=True)))
    assert folds.groupby(sites)['site_fold'].nunique().max() == 1
    assert folds.groupby(sites)['clip_fold'].nunique().max() > 1


def test_photos_of_a_burst_are_in_one_fold():
    rows = pd.DataFrame({'video_id': [f'{i:02d}.jpg' for i in range(30)], 'site': '', 'distance_m': 2.0})
    folds = make_folds(rows.assign(burst=[f'{i // 3 * 3:02d}.jpg' for i in range(30)]), 5)
    assert folds['video_id'].tolist() == rows['video_id'].tolist()
    for kind in ('clip_fold', 'site_fold', 'published_fold'):
        by_burst = folds[kind].to_numpy().reshape(10, 3)
        assert (by_burst == by_burst[:, :1]).all() and set(by_burst[:, 0]) == set(range(5)), kind
    with pytest.raises(ValueError, match='1 clips cannot make 5 folds'):
        make_folds(rows.assign(burst='00.jpg'), 5)


def test_folds_hold_equally_many_labels():
    rows = labels()
    merged = rows.merge(make_folds(rows, 5), on='video_id')
    counts = merged['clip_fold'].value_counts()
    assert counts.max() - counts.min() <= 11  # the largest clip has 11 labels


def test_site_folds_hold_equally_many_labels_of_each_distance():
    # Ten sites with near animals, ten with far ones: each fold must get two of each.
    rows = pd.DataFrame(
        {
            'video_id': [f'c{i // 4}.mp4' for i in range(80)],
            'site': [f's{i // 4}' for i in range(80)],
            'distance_m': [1.0 if i < 40 else 20.0 for i in range(80)],
        }
    )
    merged = rows.merge(make_folds(rows, 5), on='video_id')
    assert (merged.groupby(['site_fold', 'distance_m']).size() == 8).all()


@pytest.mark.parametrize(('n_sites', 'n_folds'), [(5, 5), (8, 4), (10, 5), (6, 3)])
def test_sites_whose_distances_differ_spread_over_all_folds(n_sites, n_folds):
    # Each site has distances of its own, so no two sites share a fifth of the distances (or few do).
    rows = pd.DataFrame(
        [
            {'video_id': f's{site}/c{clip}', 'site': f's{site}', 'distance_m': 2 + site + 0.01 * clip}
            for site in range(n_sites)
            for clip in range(4)
            for _ in range(3)
        ]
    )
    merged = rows.merge(make_folds(rows, n_folds), on='video_id')
    assert merged.groupby('site_fold').size().tolist() == [12 * n_sites // n_folds] * n_folds


@pytest.mark.parametrize('seed', range(20))
def test_no_fold_is_empty(seed):
    random = np.random.default_rng(seed)
    n_folds = int(random.integers(2, 6))
    sizes = random.permutation([60, 25, *random.integers(1, 5, n_folds - 2)])  # as many sites as folds
    rows = pd.DataFrame(
        [(f's{s}/{i}', f's{s}', random.gamma(2, 4)) for s, n in enumerate(sizes) for i in range(n)],
        columns=['video_id', 'site', 'distance_m'],
    )
    assert sorted(make_folds(rows, n_folds, seed)['site_fold'].value_counts()) == sorted(sizes)
    for kind, folds in fold_balance(rows, make_folds(rows, n_folds, seed), n_folds).items():
        assert sum(fold['labels'] for fold in folds) == len(rows) and min(fold['clips'] for fold in folds) > 0, kind


def test_clip_folds_stay_those_of_version_0_1():
    # Written by version 0.1 (commit a8812c5) for these labels and this seed.
    rows = pd.DataFrame({'video_id': [f'c{i % 9}' for i in range(31)], 'distance_m': 1.0, 'site': ''})
    assert ''.join(map(str, make_folds(rows, 4, seed=3)['clip_fold'])) == '021313200'


def test_the_balance_is_counted_and_told():
    rows = pd.DataFrame(
        {'video_id': ['a', 'a', 'b', 'c', 'd'], 'site': ['x', 'x', 'x', 'y', ''], 'distance_m': [1.0, 2, 3, 4, 5]}
    )
    folds = pd.DataFrame({'video_id': list('abcd'), 'clip_fold': [0, 1, 1, 1], 'site_fold': [0, 0, 1, 1]})
    balance = fold_balance(rows, folds, 2)
    assert balance == {
        'clip': [{'sites': 1, 'clips': 1, 'labels': 2}, {'sites': 3, 'clips': 3, 'labels': 3}],
        'site': [{'sites': 1, 'clips': 2, 'labels': 3}, {'sites': 2, 'clips': 2, 'labels': 2}],
    }
    assert balance_lines(balance) == [
        'labels (sites) in each clip fold: 2 (1), 3 (3)',
        'labels (sites) in each site fold: 3 (1), 2 (2)',
    ]


def test_fewer_sites_than_folds_get_a_note():
    rows = labels(n_sites=2)
    *_, note = balance_lines(fold_balance(rows, make_folds(rows, 3), 3))
    assert note == (
        'note: 2 sites cannot fill 3 folds by site; train with --config.data.n_folds=2, or train with '
        '--config.data.folds=clip'
    )
    *_, note = balance_lines(fold_balance(rows.assign(site='x'), make_folds(rows.assign(site='x'), 3), 3))
    assert '1 sites cannot fill 3 folds by site; label clips of more sites, or train with' in note


def test_folds_with_another_spelling_of_a_clip_are_rewritten(tmp_path):
    rows, path = labels().replace('c00.mp4', 'e\u0301.mp4'), tmp_path / 'folds.csv'
    made = make_folds(rows, 5)
    made.replace('e\u0301.mp4', '\xe9.mp4').to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_or_make_folds(path, rows, 5), made, check_like=True)
    assert 'e\u0301.mp4' in path.read_text() and '\xe9.mp4' not in path.read_text()


def test_the_seed_fixes_the_folds():
    rows = labels()
    pd.testing.assert_frame_equal(make_folds(rows, 5, seed=1), make_folds(rows, 5, seed=1))
    # The order of the rows does not matter.
    shuffled = rows.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(make_folds(shuffled, 5, seed=1), make_folds(rows, 5, seed=1))
    other = make_folds(rows, 5, seed=2)
    assert (other['clip_fold'] != make_folds(rows, 5, seed=1)['clip_fold']).any()


def test_clips_without_a_site_are_sites_of_their_own():
    rows = labels().assign(site='')
    assert make_folds(rows, 5)['site_fold'].nunique() == 5


def test_no_label_is_refused():
    with pytest.raises(ValueError, match='no label can be used'):
        make_folds(labels(0), 2)


def test_too_few_clips_are_refused():
    with pytest.raises(ValueError, match='3 clips cannot make 5 folds'):
        make_folds(labels(3), 5)


def test_an_existing_file_is_reused(tmp_path):
    rows, path = labels(), tmp_path / 'folds.csv'
    made = read_or_make_folds(path, rows, 5)
    # For example the published folds: valid, but different from those of the seed.
    other = made.assign(clip_fold=(made['clip_fold'] + 1) % 5)
    other.to_csv(path, index=False)
    pd.testing.assert_frame_equal(read_or_make_folds(path, rows, 5), other)


def test_a_file_that_does_not_fit_is_refused(tmp_path):
    rows, path = labels(), tmp_path / 'folds.csv'
    made = read_or_make_folds(path, rows, 5)
    with pytest.raises(ValueError, match=r'has 5 folds, not 4; .* --n_folds=5'):
        read_or_make_folds(path, rows, 4)
    with pytest.raises(ValueError, match="differ in 1 clips, 'c00.mp4' among them"):
        read_or_make_folds(path, rows[rows['video_id'] != 'c00.mp4'], 5)
    pd.concat([made, made.tail(1)]).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"folds\.csv:62: a second row for 'c59.mp4'"):
        read_or_make_folds(path, rows, 5)
    made.drop(columns='site_fold').to_csv(path, index=False)
    with pytest.raises(ValueError, match='lacks the column site_fold'):
        read_or_make_folds(path, rows, 5)
    made.assign(site_fold=made['site_fold'].astype(str).replace('3', 'three')).to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"folds\.csv:\d+: site_fold 'three' is not a whole number"):
        read_or_make_folds(path, rows, 5)


def test_names_that_look_like_numbers_or_missing_values_stay_names(tmp_path):
    # As numbers these would be 7, 7, 1e5, 1e5 and NaN: two clips lost, one without a name.
    names = ['007', '7', '1e5', '100000', 'NA', 'nan', 'null', 'True']
    rows = pd.DataFrame({'video_id': names, 'distance_m': 1.0, 'site': ['NA', '07', '7', '', '', 'x', 'x', 'y']})
    made = read_or_make_folds(tmp_path / 'folds.csv', rows, 4)
    assert sorted(made['video_id']) == sorted(names)
    pd.testing.assert_frame_equal(read_or_make_folds(tmp_path / 'folds.csv', rows, 4), made)
    # '07' and '7' are two sites, 'NA' is a third: 7 groups of 1 or 2 clips in 4 folds of 2.
    assert made['site_fold'].value_counts().tolist() == [2, 2, 2, 2]


def test_folds_of_the_challenge():
    tables = SHARED_CLIPS.parent / 'deep_chimpact'
    if not tables.exists():
        pytest.skip(f'{tables} is missing')
    rows = read_targets(tables / 'train_labels.csv', tables / 'train_metadata.csv').rows
    merged = rows.merge(make_folds(rows, 5), on='video_id')
    assert merged['published_fold'].value_counts(sort=False).sort_index().tolist() == [3046, 3046, 3046, 3046, 3045]
    assert are_published(dict(zip(merged['video_id'], merged['published_fold'], strict=True)))
    by_clip = merged['clip_fold'].value_counts()
    assert by_clip.max() - by_clip.min() <= 1
    by_site = merged.groupby('site_fold')['distance_m']
    assert by_site.size().max() / by_site.size().min() < 1.05
    assert by_site.mean().max() - by_site.mean().min() < 0.5
