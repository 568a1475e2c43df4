"""Imported and unpacked members run in all commands at once, and what they lack is said."""

import json
import re
import shutil

import keras_small
import numpy as np
import pandas as pd
import pytest
import small
from run_estimate import RECIPES, estimate, read

from chimp_jax.commands import entry
from chimp_jax.sharing import model_shapes

RECIPE = 'full-a4p50-f7s1'


@pytest.fixture(autouse=True)
def small_layout(monkeypatch, small_model):
    monkeypatch.setattr(model_shapes, 'DistanceModel', small.model)


@pytest.fixture(scope='module')
def keras_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('keras') / 'model.weights.h5'
    keras_small.whole_model(seed=0).save_weights(path)
    return path


@pytest.fixture
def imported(keras_file, tmp_path, small_layout):
    """A folder with one imported member."""
    assert import_it(keras_file, tmp_path / 'runs') == 0
    return tmp_path / 'runs'


def import_it(path, out, *more, recipe=RECIPE):
    arguments = ['import', str(path), '--recipe', recipe, '--fold', '0', '--size_px', '32', '--out', str(out), *more]
    return entry.main(arguments)


def test_estimate_and_evaluate_say_that_there_are_no_intervals(imported, clips, tmp_path, capsys):
    assert estimate(imported, clips, tmp_path / 'out') == 3  # for broken.mp4
    rows = read(tmp_path / 'out')
    assert len(rows) == 12 and np.isfinite(rows['distance']).all()
    assert set(rows['distance_lower']) | set(rows['distance_upper']) == {''} and set(rows['members']) == {1}
    assert 'Intervals: the members have no out-of-fold predictions' in capsys.readouterr().out
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert 'no intervals' in summary['no_interval'] and 'out_of_fold' not in summary
    assert summary['combination'] == {'method': 'mean', 'weights': {RECIPE: 1.0}}
    truth = rows[['video_id', 'time']].assign(distance=rows['distance'] + 0.5)
    truth.to_csv(tmp_path / 'truth.csv', index=False)
    assert entry.main(['evaluate', str(tmp_path / 'out'), '--truth', str(tmp_path / 'truth.csv')]) == 0
    told = capsys.readouterr().out
    assert 'wrong by 0.50 m on average' in told and 'The estimates have no intervals' in told
    assert entry.main(['report', str(tmp_path / 'out')]) == 0
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert re.search(r'No intervals\.</strong>\s+The members have no out-of-fold', page)


def test_clip_and_score(imported, clips, tmp_path, capsys):
    arguments = ['clip', '--clip', str(clips / 'st A' / 'IMG_0001.MP4'), '--members', str(imported)]
    assert entry.main([*arguments, '--out', str(tmp_path / 'clip')]) == 0
    assert len(pd.read_csv(tmp_path / 'clip' / 'distances.csv')) == 5
    small.write_data(tmp_path / 'data')
    arguments = ['score', '--members', str(imported), '--records', str(tmp_path / 'data')]
    assert entry.main([*arguments, '--out', str(tmp_path / 'test.csv')]) == 0
    told = capsys.readouterr().out
    assert 'no out-of-fold predictions: the error of the members on clips they have not seen is unknown' in told
    assert entry.main([*arguments, '--split', 'oof', '--out', str(tmp_path / 'oof.csv')]) == 1
    line = capsys.readouterr().err
    assert 'does not tell the folds that it was trained with' in line and '--folds published' in line


def test_ways_to_combine_that_need_predictions_are_refused(imported, clips, tmp_path, capsys):
    for flags in (['--weights', 'greedy'], ['--round', 'train']):
        assert estimate(imported, clips, tmp_path / 'out', *flags) == 1
        assert f'{RECIPE}/fold_0 has no out-of-fold predictions because it was imported' in capsys.readouterr().err
    assert entry.main(['ensemble', '--members', str(imported)]) == 1
    assert 'because it was imported: combine without them' in capsys.readouterr().err
    assert entry.main(['ensemble', '--members', str(imported), '--method', 'mean']) == 0
    assert 'no errors can be computed: ' in capsys.readouterr().out


def test_with_trained_recipes_all_weigh_the_same_and_it_is_said(runs, keras_file, clips, tmp_path, caplog):
    shutil.copytree(runs, tmp_path / 'runs')
    assert import_it(keras_file, tmp_path / 'runs') == 0
    caplog.set_level('INFO')
    assert estimate(tmp_path / 'runs', clips, tmp_path / 'out') == 3
    assert f'note: {RECIPE}/fold_0 was imported without out-of-fold predictions: recipes weigh the same' in caplog.text
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    assert summary['combination']['weights'] == pytest.approx(dict.fromkeys((*RECIPES, RECIPE), 1 / 3))
    assert 'no_interval' in summary
    # A trained member that lost its oof.csv is a fault as before, not an imported member.
    (tmp_path / 'runs' / RECIPES[0] / 'fold_0' / 'oof.csv').unlink()
    shutil.rmtree(tmp_path / 'runs' / RECIPE)
    assert estimate(tmp_path / 'runs', clips, tmp_path / 'out') == 1


def test_a_file_that_cannot_be_imported_is_one_line(tmp_path, capsys):
    (tmp_path / 'x.h5').write_bytes(b'<html>')
    assert import_it(tmp_path / 'x.h5', tmp_path / 'runs') == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f'import failed: {tmp_path}/x.h5 is a web page; give a Keras file: .h5, .weights.h5 or .keras'
    assert not (tmp_path / 'runs').exists()


def test_an_import_says_what_it_made(keras_file, tmp_path, capsys):
    assert import_it(keras_file, tmp_path / 'runs') == 0
    told = capsys.readouterr().out
    assert f'{tmp_path}/runs/{RECIPE}/fold_0: the imported member' in told and 'have no intervals' in told
    assert import_it(keras_file, tmp_path / 'runs') == 0
    assert capsys.readouterr().out == f'{tmp_path}/runs/{RECIPE}/fold_0: the member is there already\n'


def test_unpacked_members_give_the_same_distances(runs, clips, tmp_path, capsys):
    """Anonymous ones, too: their intervals come from the same numbers."""
    estimate(runs, clips, tmp_path / 'before')
    before = read(tmp_path / 'before').astype(str)
    for name, flags in (('plain', []), ('anonymous', ['--anonymous'])):
        assert entry.main(['pack', str(runs), '--out', str(tmp_path / f'{name}.zip'), *flags]) == 0
        assert '4 members, ' in capsys.readouterr().out
        assert entry.main(['unpack', str(tmp_path / f'{name}.zip'), '--out', str(tmp_path / name)]) == 0
        assert f'{tmp_path}/{name}/{RECIPES[0]}/fold_0: unpacked' in capsys.readouterr().out
        estimate(tmp_path / name, clips, tmp_path / f'out {name}')
        pd.testing.assert_frame_equal(read(tmp_path / f'out {name}').astype(str), before)
    assert before['distance_upper'].ne('').all()


def test_pack_refuses_names_that_are_no_zip_file(runs, tmp_path, capsys):
    for out in (tmp_path / 'members.tar', tmp_path, 'gs://bucket/members.zip'):
        assert entry.main(['pack', str(runs), '--out', str(out)]) == 1
        assert f'--out={out}: give a local file whose name ends with .zip' in capsys.readouterr().err


def test_pack_tells_what_it_left_out(runs, tmp_path, capsys):
    shutil.copytree(runs, tmp_path / 'runs')
    (tmp_path / 'runs' / RECIPES[0] / 'fold_1' / 'member.json').unlink()
    assert entry.main(['pack', str(tmp_path / 'runs'), '--out', str(tmp_path / 'a.zip')]) == 3
    assert f'left out: {tmp_path}/runs/{RECIPES[0]}/fold_1 is not finished' in capsys.readouterr().out
