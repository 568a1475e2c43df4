"""The OOF rows of the ensemble: their sites, and how the folds were dealt."""

import json

import pytest
from made_runs import ONE, TWO, write_runs

from chimp_jax.field.out_of_fold import make_out_of_fold, read_sites
from chimp_jax.members import find_members, read_oof


def out_of_fold(runs):
    members = find_members(runs)
    recipes, labels = read_oof(members)
    return make_out_of_fold(members, recipes, recipes.mean(axis=1).to_numpy(), labels.to_numpy(float))


def deal_by_site(runs, recipe):
    path = runs / recipe / 'config.json'
    config = json.loads(path.read_text())
    config['data']['folds'] = 'site'
    path.write_text(json.dumps(config))


@pytest.mark.parametrize('by_site, folds', [((), 'clip'), ((ONE,), 'mixed'), ((TWO,), 'mixed'), ((ONE, TWO), 'site')])
def test_the_folds_are_those_of_all_recipes(tmp_path, by_site, folds):
    runs = write_runs(tmp_path)
    for recipe in by_site:
        deal_by_site(runs, recipe)
    oof = out_of_fold(runs)
    assert oof.folds == folds
    # Two groups, one for each clip: 2/3 is less than 0.9, so both notes may be there.
    note = oof.fit_intervals(0.9).note
    assert ('some recipes' in note, 'all recipes' in note) == (folds == 'mixed', folds == 'clip')


def test_sites_come_from_the_folders_of_all_recipes(tmp_path, caplog):
    runs = write_runs(tmp_path)
    (runs / TWO / 'clips.csv').write_text('video_id,site,park\na.avi,camp,\n')
    with caplog.at_level('INFO'):
        assert sorted(set(out_of_fold(runs).site)) == ['clip b.mp4', 'site camp']
    assert '1 of 2 training clips have no site' in caplog.text
    (runs / ONE / 'clips.csv').write_text('video_id,site,park\na.avi,,\nb.mp4,river,\n')
    caplog.clear()
    with caplog.at_level('INFO'):
        assert sorted(set(out_of_fold(runs).site)) == ['site camp', 'site river']
    assert not caplog.text


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'clips.csv').write_text('video_id,site\n007,01\n7,NA\nNA,1e5\n1e5,1\n')
    assert read_sites([tmp_path / 'a', tmp_path / 'none']).to_dict() == {
        '007': '01',
        '7': 'NA',
        'NA': '1e5',
        '1e5': '1',
    }
    assert read_sites([tmp_path / 'none']).empty


def test_errors_by_band_for_the_summary(tmp_path):
    oof = out_of_fold(write_runs(tmp_path))
    # made_runs: labels 4, 2, 9, 5; the mean of ONE and TWO: 3.75, 2, 8.75, 5.
    told = oof.errors([0, 2, 4, 8])
    assert told['mae_m'] == 0.125 and 'warning' not in told
    assert told['bands'] == [
        {'name': '0 to 2 m', 'n': 1, 'mae': 0.0, 'bias': 0.0},
        {'name': '2 to 4 m', 'n': 1, 'mae': 0.25, 'bias': -0.25},
        {'name': '4 to 8 m', 'n': 1, 'mae': 0.0, 'bias': 0.0},
        {'name': 'above 8 m', 'n': 1, 'mae': 0.25, 'bias': -0.25},
    ]
    assert 'at 8.9 to 9.1 m (-0.2 m in 1 rows)' in oof.errors([8.9, 9.1])['warning']  # half of the bin: 0.1 m
    json.dumps(told)
