"""The command: a process for each variant with parts left, none for finished ones, one line for what is wrong."""

import types

import pytest
from made_ablation import write_member

from chimp_jax.ablate import __main__ as command
from chimp_jax.ablate.study import make_study, read_config_file

FILE = """
from configs import base
from configs.variants import Variant

VARIANTS = {'frames': Variant('Nine?', {'data.n_frames': 9}), 'step': Variant('Two?', {'data.step_s': 2})}


def get_config(recipe='full-a4p50-f7s1'):
    config = base.get_config(recipe)
    config.data.update(n_folds=2, folds='site')
    return config
"""


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / 'mine.py').write_text(FILE)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'folds.csv').write_text('')
    flags = ['--seeds=1', f'--workdir={tmp_path / "runs"}', f'--config.data.records={tmp_path / "data"}']
    return [f'--config={tmp_path / "mine.py"}', *flags]


@pytest.fixture
def trained(tmp_path, monkeypatch, arguments):
    """In the place of processes: writes the members of a variant. Yields the names; a name in `failing` fails."""
    config, variants = read_config_file(str(tmp_path / 'mine.py'))
    config.data.records = str(tmp_path / 'data')
    study, names = make_study(config, variants, [], 1, tmp_path / 'runs'), []

    def run(words, check):
        assert words[3:-2] == command.sys.argv[1:] and words[-1] == '--train_only'
        name = words[-2].removeprefix('--only=')
        names.append(name)
        if name in trained.failing:
            return types.SimpleNamespace(returncode=1)
        for fold in range(2):
            write_member(study, name, 0, fold, 1.0 if name == 'base' else 0.5)
        return types.SimpleNamespace(returncode=0)

    trained = types.SimpleNamespace(names=names, failing=set())
    monkeypatch.setattr(command, 'subprocess', types.SimpleNamespace(run=run))
    monkeypatch.setattr(command.sys, 'argv', ['ablate', *arguments])
    return trained


def test_only_what_is_left_is_trained(arguments, trained, capsys):
    assert command.main([*arguments, '--only=frames']) == 0
    assert trained.names == ['base', 'frames']
    assert 'frames: better, -0.500 m' in capsys.readouterr().out
    assert command.main(arguments) == 0
    assert trained.names == ['base', 'frames', 'step']  # of all three, one was left
    assert command.main(arguments) == 0
    assert len(trained.names) == 3


def test_a_variant_that_fails_is_missing_in_the_result_and_the_exit_code_says_so(arguments, trained, capsys):
    trained.failing = {'step'}
    assert command.main(arguments) == 3
    text = capsys.readouterr().out
    assert 'not in this result: step has 2 parts left' in text and 'frames: better' in text


def test_a_variant_that_cannot_be_trained_is_told_before_the_training(tmp_path, arguments, trained, capsys):
    more = "'typo': Variant('?', {'train.loss': 'hubr'}), 'tta': Variant('?', tta='a7'), 'step'"
    (tmp_path / 'mine.py').write_text(FILE.replace("'step'", more))
    assert command.main(arguments) == 3
    assert trained.names == ['base', 'frames', 'step']
    text = capsys.readouterr().out
    assert "this result: typo cannot be trained: train.loss is 'mae' or 'huber' or 'interval', not 'hubr'" in text
    assert "this result: tta has tta='a7'; give a1 or a2 or a4" in text
    (tmp_path / 'data' / 'folds.csv').unlink()
    assert command.main([*arguments, f'--workdir={tmp_path / "others"}']) == 1  # and nothing is trained
    assert len(trained.names) == 3
    assert 'ablate failed: the base requires the records' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('VARIANTS = [', r"SyntaxError: '\[' was never closed \(mine.py, line 1\)"),
        ('\nimport nonsense', "line 2: ModuleNotFoundError: No module named 'nonsense'"),
        ('VARIANTS = {}', 'the file has no get_config and no VARIANTS'),
        ('VARIANTS = [1]\ndef get_config(): pass', 'VARIANTS is no dictionary'),
        (FILE.replace("'step'", "'base'"), "variant 'base': choose a name"),
        (FILE.replace("'step'", "'../step'"), r"variant '\.\./step': choose a name"),
        (FILE.replace("Variant('Two?', {'data.step_s': 2})", "{'data.step_s': 2}"), 'variant step: give Variant'),
        (FILE.replace("step_s': 2}", "step_s': 2}, tta='a1'"), 'variant step: tta takes the members of the base'),
    ],
)
def test_what_is_wrong_in_a_config_file_is_one_line(tmp_path, text, message):
    (tmp_path / 'mine.py').write_text(text)
    with pytest.raises(ValueError, match=f'--config=.*mine.py: {message}'):
        read_config_file(str(tmp_path / 'mine.py'))


def test_what_is_wrong_is_one_line(arguments, trained, capsys):
    trained.failing = {'base'}
    assert command.main(arguments) == 1
    assert command.main([*arguments, '--only=frame']) == 1
    assert command.main(['--config=nothing.py']) == 1
    assert command.main([*arguments, '--train_only']) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4 and all(line.startswith('ablate failed: ') for line in lines)
    assert 'the base has 2 parts left' in lines[0] and 'there are frames, step' in lines[1]
