"""chimp-distance ensemble: report, files and error messages, on tables of two made-up recipes."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from made_runs import ONE, TWO, write_runs

from chimp_jax.commands import entry
from configs.recipes import PUBLISHED

# Errors of ONE are +0.5; of TWO -0.5, -1, -0.5, -1. The mean errs by 0, 1/4, 0, 1/4.


def run(runs, *more):
    return entry.main(['ensemble', '--members', str(runs), *map(str, more)])


def test_all_methods_are_compared(tmp_path, capsys):
    run(write_runs(tmp_path / 'runs'), '--out', tmp_path / 'out')
    text = capsys.readouterr().out
    assert '4 OOF rows of 2 clips, 2 recipes, 4 members' in text
    assert (
        f'{tmp_path}/runs/{ONE}/clips.csv is missing: sites and parks are unknown, so the 2 groups are of clips' in text
    )
    assert 'folds by clip: members saw other clips of the same sites' in text
    assert 'not compared: published: the published weights need the recipe' in text
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['ensemble_report.csv']
    written = pd.read_csv(tmp_path / 'out' / 'ensemble_report.csv', keep_default_na=False)
    every = written.query("by == 'all' and scored_on == 'fitted rows' and rounding == 'none'").set_index('method')
    assert list(every.index) == [ONE, TWO, 'greedy', 'simplex', 'mean', 'median']
    assert every['mae_m'].to_dict() | {'greedy': 0, 'simplex': 0} == pytest.approx(
        {ONE: 0.5, TWO: 0.75, 'mean': 0.125, 'median': 0.125, 'greedy': 0, 'simplex': 0}
    )
    # Weights w of ONE and 1 - w of TWO: |w - 1/2| + |3/2 w - 1| is least at w = 2/3, where it is 1/6; times 2 / 4 rows.
    assert every.loc['simplex', 'mae_m'] == pytest.approx(1 / 12)


def write_predictions(folder, name, rows):
    path = folder / f'{name}.csv'
    pd.DataFrame(rows, columns=['video_id', 'time', 'distance']).to_csv(path, index=False)
    return path


def test_predictions_are_combined_by_the_weights_that_are_written(tmp_path):
    runs = write_runs(tmp_path / 'runs')
    one = write_predictions(tmp_path, ONE, [('t.avi', 2, 6.0), ('t.avi', 1, 3.0)])
    two = write_predictions(tmp_path, 'two', [('t.avi', 1, 6.0), ('t.avi', 2, 9.0)])
    arguments = ['--method', 'simplex', '--out', tmp_path / 'out', '--predictions', one, f'{TWO}={two}']
    run(runs, *arguments)
    weights = json.loads((tmp_path / 'out' / 'weights.json').read_text())
    assert weights['weights'] == pytest.approx({ONE: 2 / 3, TWO: 1 / 3})
    rows = pd.read_csv(tmp_path / 'out' / 'predictions.csv')
    assert rows[['video_id', 'time']].values.tolist() == [['t.avi', 1], ['t.avi', 2]]
    assert rows['distance'].tolist() == pytest.approx([4.0, 7.0])
    # Training distances are 2, 4, 5 and 9: 4 stays, 7 is halfway and goes to the lower, give or take a last bit.
    run(runs, *arguments, '--round', 'train')
    assert pd.read_csv(tmp_path / 'out' / 'predictions.csv')['distance'].tolist() in ([4.0, 5.0], [4.0, 9.0])
    run(runs, *arguments, '--round', '3')
    assert pd.read_csv(tmp_path / 'out' / 'predictions.csv')['distance'].tolist() == [3.0, 6.0]


def test_published_weights_round_to_training_distances_unless_told(tmp_path, capsys):
    runs = write_runs(tmp_path / 'runs', recipes=PUBLISHED)
    tables = [f'{recipe}={write_predictions(tmp_path, recipe, [("t.avi", 1, 7.5)])}' for recipe in PUBLISHED]
    arguments = ['--method', 'published', '--out', tmp_path / 'out', '--predictions', *tables]
    for more, expected, line in (
        ([], 9.0, 'rounded: to the nearest training distance'),  # of 2, 4, 5 and 9
        (['--round', '2'], 8.0, 'rounded: to steps of 2 m'),
        (['--round', 'none'], 7.5, 'rounded: to the nearest training distance'),
    ):
        run(runs, *arguments, *more)
        assert pd.read_csv(tmp_path / 'out' / 'predictions.csv')['distance'].tolist() == pytest.approx([expected])
        text = capsys.readouterr().out
        assert line in text and 'published: not fitted here' in text


def test_mean_needs_no_oof(tmp_path, capsys):
    runs = write_runs(tmp_path / 'runs')
    (runs / TWO / 'fold_1' / 'oof.csv').unlink()
    run(runs, '--method', 'mean', '--out', tmp_path / 'out')
    assert capsys.readouterr().out.startswith(f'no errors can be computed: {TWO}/fold_1 has no out-of-fold predictions')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['weights.json']
    assert run(runs, '--method', 'greedy') == 1
    assert capsys.readouterr().err.startswith(f'ensemble failed: {TWO}/fold_1 has no out-of-fold predictions')


def test_refusals_are_one_line(tmp_path, capsys):
    runs = write_runs(tmp_path / 'runs')
    one = write_predictions(tmp_path, ONE, [('t.avi', 1, 3.0)])
    two = write_predictions(tmp_path, TWO, [('t.avi', 2, 6.0)])
    out = ['--out', tmp_path / 'out', '--method', 'mean', '--predictions']
    for more, message in (
        (['--round', 'x'], '--round=x: give none, train'),
        (['--method', 'published'], 'the published weights need the recipe'),
        ([*out, one], f"the recipe '{TWO}' of the weights is not in the predictions"),
        ([*out, one, one], f"two tables of '{ONE}'"),
        ([*out, one, two], f'{ONE}: no prediction for t.avi at 2 s'),
        ([*out, f'{ONE}={tmp_path}/gone.csv'], 'gone.csv'),
    ):
        assert run(runs, *more) == 1
        text = capsys.readouterr().err
        assert text.startswith('ensemble failed: ') and message in text and text.count('\n') == 1
    assert run(tmp_path / 'none') == 1 and 'no finished member' in capsys.readouterr().err
    assert run(runs, '--predictions', one) == 1 and 'requires --out and one --method' in capsys.readouterr().err


def test_it_runs_without_tensorflow_or_jax(tmp_path):
    code = (
        'import sys; from chimp_jax.commands import entry; '
        'assert entry.main(["ensemble", "--members", sys.argv[1]]) == 0; '
        'assert not {"tensorflow", "jax"} & set(sys.modules)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, write_runs(tmp_path / 'runs')], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, '') and 'simplex' in done.stdout
