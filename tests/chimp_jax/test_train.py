"""Many recipes by one command: which, with what overrides, and the table of their errors."""

import json

import pandas as pd
import pytest
import small

from chimp_jax import train
from chimp_jax.train import TrainingError
from chimp_jax.workdir import claim_recipe
from configs import deep_chimpact, demo, recipes
from data_prep.files import write_whole

TWO = ['down-a1p50-f7s1', 'full-a1p50-f7s1']


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder)
    return folder


def test_all_are_the_published_recipes_as_if_each_was_named():
    for module in (deep_chimpact, demo):
        configs = recipes.each_recipe(module.get_config('all'))
        assert [config.recipe for config in configs] == list(recipes.PUBLISHED)
        for config in configs:
            assert config.to_json() == module.get_config(config.recipe).to_json()


def test_overrides_apply_to_all():
    config = deep_chimpact.get_config('all')
    config.train.batch_size = 32
    assert {one.train.batch_size for one in recipes.each_recipe(config)} == {32}
    config.data.step_s = 2
    with pytest.raises(ValueError, match='^data.step_s: the model ID sets it; leave the flag out'):
        recipes.each_recipe(config)


@pytest.mark.parametrize(
    'patterns,expected',
    [
        (['full-a4p50-f7s1'], ['full-a4p50-f7s1']),
        (['full-*f9s1', 'down-a1p?0-f7s1'], ['full-a1p50-f9s1', 'down-a1p50-f7s1', 'down-a1p80-f7s1']),
        (['*s2', 'full-a4p50-f7s2'], ['down-a4p50-f7s2', 'full-a4p50-f7s2']),  # each once
        (['full-a2p80-f9s2'], ['full-a2p80-f9s2']),  # not a published one
    ],
)
def test_patterns_choose(patterns, expected):
    chosen = recipes.each_recipe(deep_chimpact.get_config('all'), patterns)
    assert [config.recipe for config in chosen] == expected


def test_a_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match=r"'half-\*' is not a model ID; the grammar is"):
        recipes.each_recipe(deep_chimpact.get_config('all'), ['full-*', 'half-*'])
    with pytest.raises(ValueError, match='not of full-a4p50-f7s1'):
        recipes.each_recipe(deep_chimpact.get_config('full-a4p50-f7s1'), ['down-*'])


def member(workdir, recipe, fold, val_mae):
    row = {'recipe': recipe, 'fold': fold, 'best_epoch': 1, 'val_mae': val_mae}
    write_whole(workdir / recipe / f'fold_{fold}' / 'member.json', json.dumps(row))


def test_the_table_and_a_failure_that_does_not_stop_the_others(data, tmp_path, monkeypatch):
    def train_recipe(config, workdir, folds, progress):
        if config.recipe == TWO[0]:
            raise TrainingError('the loss is not finite at step 3')
        member(tmp_path, config.recipe, 0, 2.0)
        member(tmp_path, config.recipe, 1, 3.0)

    monkeypatch.setattr(train, 'train_recipe', train_recipe)
    configs = [small.config(data, recipe) for recipe in TWO]
    with pytest.raises(TrainingError, match='^down-a1p50-f7s1: the loss is not finite at step 3$'):
        train.train_recipes(configs, tmp_path)
    expected = pd.DataFrame(
        {'recipe': TWO, 'folds': 'clip', 'members': [0, 2], 'n_folds': 2, 'cv_mae': [float('nan'), 2.5]}
    )
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / 'cv_mae.csv'), expected)
    member(tmp_path, TWO[0], 1, 4.0)  # of another command on another machine
    table = train.cv_table(configs, tmp_path)
    assert table['members'].tolist() == [1, 2] and table['cv_mae'].tolist() == [4.0, 2.5]
    # A later command for another recipe does not forget these.
    claim_recipe(tmp_path / TWO[1], configs[1])
    table = train.cv_table([small.config(data, 'full-a4p50-f9s2')], tmp_path)
    assert table['recipe'].tolist() == ['full-a4p50-f9s2', TWO[1]] and table['cv_mae'].tolist()[1] == 2.5


def test_what_does_not_fit_one_recipe_is_refused_before_any_is_trained(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train, 'train_recipe', None)  # would fail if it were called
    configs = [small.config(data, recipe) for recipe in TWO]
    other = small.config(data, TWO[1])
    other.train.epochs = 7
    claim_recipe(tmp_path / TWO[1], other)
    with pytest.raises(ValueError, match=r'differs in train.epochs \(7 there, 3 here\)'):
        train.train_recipes(configs, tmp_path)
    with pytest.raises(ValueError, match='there are 0 to 1'):
        train.train_recipes(configs[:1], tmp_path, folds=[2])
    for dtype in ('mixed_float16', 'float64'):
        configs[0].model.dtype = dtype
        with pytest.raises(ValueError, match=f"^model.dtype is 'float32', 'bfloat16' or 'float16', not '{dtype}'$"):
            train.train_recipes(configs[:1], tmp_path)
    configs[0].model.dtype = 'float32'
    configs[1].data.records = str(tmp_path / 'nowhere')
    with pytest.raises(ValueError, match='nowhere'):
        train.train_recipes(configs, tmp_path / 'new')
