"""Errors of ensembles: groups of whole sites, held-out weights, bands and parks, compared with values by hand."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.ensemble.combination import fit
from chimp_jax.ensemble.held_out import (
    FITTED,
    HELD_OUT,
    Places,
    deal_sites,
    distance_band,
    predict_held_out,
    read_places,
    score_methods,
    to_text,
)
from chimp_jax.ensemble.prediction_tables import KEY


def make_labels(n_clips=30, rows_a_clip=3):
    index = pd.MultiIndex.from_product([[f'{i:02d}.avi' for i in range(n_clips)], range(rows_a_clip)])
    distance = np.random.default_rng(0).choice([1.0, 3.0, 5.0, 8.0, 12.0, 20.0], len(index))
    return pd.Series(distance, index.set_names(['video_id', 'time']))


def write_clips(folder, labels, site, park='tai'):
    clips = pd.DataFrame({'video_id': labels.index.get_level_values('video_id').unique()})
    clips.assign(split='train', site=clips['video_id'].map(site), park=park).to_csv(folder / 'clips.csv', index=False)


def test_groups_hold_whole_sites_and_as_many_rows(tmp_path):
    labels = make_labels()
    write_clips(tmp_path, labels, lambda video_id: f's{int(video_id[:2]) % 10}')  # ten sites, nine rows each
    places = read_places(tmp_path, labels)
    assert places.note == '5 groups of 10 sites' and set(places.park) == {'tai'}
    site = labels.index.get_level_values('video_id').str[1].to_numpy()
    assert pd.Series(places.group).groupby(site).nunique().max() == 1
    assert np.bincount(places.group).tolist() == [18] * 5
    # The order of the rows changes nothing.
    shuffled = labels.sample(frac=1, random_state=0)
    again = read_places(tmp_path, shuffled)
    expected = pd.Series(places.group, labels.index).reindex(shuffled.index)
    assert again.group.tolist() == expected.tolist()


def test_the_note_tells_of_few_and_unknown_sites(tmp_path):
    labels = make_labels()
    places = read_places(tmp_path, labels)
    unknown = 'sites and parks are unknown, so the 5 groups are of clips'
    assert places.note == f'{tmp_path}/clips.csv is missing: {unknown}'
    assert set(places.group) == set(range(5)) and set(places.park) == {''}
    assert pd.Series(places.group).groupby(labels.index.get_level_values('video_id')).nunique().max() == 1
    for site, note, n_groups in (
        (lambda _: '', f'{tmp_path}/clips.csv names no site, so the 5 groups are of clips', 5),
        (lambda name: 'ABC'[int(name[:2]) % 3], '3 groups of 3 sites', 3),
        (lambda name: '' if name < '02' else 'A', '3 groups of 3 sites, which include 2 clips of unknown site', 3),
        (lambda _: 'A', 'all rows are of one site: no site can be held out', 1),
    ):
        write_clips(tmp_path, labels, site)
        places = read_places(tmp_path, labels)
        assert (places.note, len(set(places.group))) == (note, n_groups)
    # Clips that the table lacks have an unknown site and park.
    write_clips(tmp_path, labels.iloc[30:], lambda _: 'A')
    places = read_places(tmp_path, labels)
    assert '5 groups of 11 sites, which include 10 clips of unknown site' in places.note
    assert (places.park == '').sum() == 30
    (tmp_path / 'clips.csv').write_text('video_id,site\n')
    with pytest.raises(ValueError, match='clips.csv lacks the column park'):
        read_places(tmp_path, labels)


def test_sites_are_dealt_by_hand():
    # Rows: e 5, a 3, b 3, d 2, c 1. e to 0; a to 1; b to 2; d to 1 (3 = 3, the first of the smallest); c to 2.
    site = np.array(list('eeeeeaaabbbddc'))
    dealt = deal_sites(site, 3)
    assert dict(zip(site, dealt.tolist(), strict=True)) == {'e': 0, 'a': 1, 'b': 2, 'd': 1, 'c': 2}
    assert set(deal_sites(np.array(['a'] * 50 + ['b', 'c']), 3)) == {0, 1, 2}


# Two groups of two rows. `far` is correct in the first and 4 m too far in the second, `near` the reverse.
LABELS = pd.Series([1.0, 5.0, 6.0, 14.0], pd.MultiIndex.from_product([['a', 'b'], [0, 1], ['']], names=KEY))
OOF = pd.DataFrame({'far': LABELS + [0, 0, 4, 4], 'near': LABELS - [-4, -4, 0, 0]})
PLACES = Places(np.array([0, 0, 1, 1]), np.array(['x', 'y', 'x', ''], object), 'two')


def test_weights_are_fitted_on_the_other_groups():
    # `near` is correct on group 1, so it has all the weight for group 0, on which it is 4 m wrong; `far` the reverse.
    for method in ('greedy', 'simplex'):
        held_out = predict_held_out(method, OOF, LABELS, PLACES.group)
        np.testing.assert_allclose(held_out, LABELS + 4, atol=1e-9)
    np.testing.assert_allclose(predict_held_out('mean', OOF, LABELS, PLACES.group), LABELS + 2)


def test_scores_by_hand():
    combinations = {method: fit(method, list(OOF), OOF, LABELS) for method in ('simplex', 'mean')}
    scores = score_methods(combinations, OOF, LABELS, PLACES, 'train').set_index(
        ['method', 'scored_on', 'rounding', 'by', 'part']
    )
    assert scores.index.is_unique
    # 4 methods x 2 x 2 x (all, five bands with rows: 0-2, 4-6, 6-9, 13+ are four, two parks).
    assert len(scores) == 4 * 2 * 2 * (1 + 4 + 2)
    for key, rows, mae, rmse in (
        (('far', FITTED, 'none', 'all', ''), 4, 2.0, np.sqrt(8)),  # errors 0, 0, 4, 4
        (('mean', FITTED, 'none', 'all', ''), 4, 2.0, 2.0),
        (('mean', HELD_OUT, 'none', 'all', ''), 4, 2.0, 2.0),
        (('simplex', HELD_OUT, 'none', 'all', ''), 4, 4.0, 4.0),
        (('far', FITTED, 'none', 'distance', '6-9'), 1, 4.0, 4.0),  # a band contains its lower edge, 6 m
        (('far', FITTED, 'none', 'distance', '4-6'), 1, 0.0, 0.0),
        (('far', FITTED, 'none', 'park', 'x'), 2, 2.0, np.sqrt(8)),
        # 3, 7, 8, 16 to the nearest of 1, 5, 6, 14, the tie at 3 to the lower: 1, 6, 6, 14, errors 0, 1, 0, 0.
        (('mean', FITTED, 'train', 'all', ''), 4, 0.25, 0.5),
        # The levels of the other group alone: 3 and 7 become 6 and 6, 8 and 16 become 5: errors 5, 1, 1, 9.
        (('mean', HELD_OUT, 'train', 'all', ''), 4, 4.0, np.sqrt(27)),
    ):
        row = scores.loc[key]
        assert (row['rows'], row['mae_m'], row['rmse_m']) == (rows, pytest.approx(mae), pytest.approx(rmse)), key
    assert scores.loc[('simplex', FITTED, 'none', 'all', ''), 'mae_m'] == pytest.approx(2.0)


def test_one_group_has_no_held_out_figure():
    one = PLACES._replace(group=np.zeros(4, int))
    scores = score_methods({'mean': fit('mean', list(OOF))}, OOF, LABELS, one)
    assert set(scores['scored_on']) == {FITTED}
    assert 'held-out' not in to_text(scores, ['a note'])


def test_bands():
    distances = [0.0, 1.99, 2.0, 4.0, 6.0, 9.0, 12.9, 13.0, 40.0]
    expected = ['0-2', '0-2', '2-4', '4-6', '6-9', '9-13', '9-13', '13+', '13+']
    assert distance_band(np.array(distances)).tolist() == expected


def test_the_text_holds_the_figures():
    scores = score_methods({'mean': fit('mean', list(OOF))}, OOF, LABELS, PLACES, 0.5)
    lines = to_text(scores, ['first', 'second']).splitlines()
    assert lines[:3] == ['first', 'second', '']
    named = {line.split()[0]: line.split()[1:] for line in lines[5:8]}
    # MAE, RMSE and MAE rounded, on the fitted rows and held out; whole metres stay what they are.
    assert named['far'] == ['2.000', '2.828', '2.000'] * 2
    assert named['mean'] == ['2.000', '2.000', '2.000'] * 2
    assert any('0-2 (n=1)' in line and '13+ (n=1)' in line for line in lines)
    assert any('x (n=2)' in line and 'y (n=1)' in line for line in lines)
