"""What `chimp-distance train` decides before the work: folds, region branch, whether the labels suffice."""

import argparse
import json
import logging

import pandas as pd
import pytest

from chimp_jax.commands import train
from chimp_jax.commands.training import deciding, request
from data_prep.inputs.columns.boxes import NO_BOX
from data_prep.inputs.labels import Problem, Targets
from data_prep.plan import Plan


def a_plan(sites, n_each=10, boxes=None, same_second=False) -> Plan:
    """One clip for each of `sites`, with n_each labels."""
    rows = [
        {
            'video_id': f'{i}.mp4',
            'time_s': 0 if same_second else time_s,
            'animal': f'a{time_s}' if same_second else '',
            'distance_m': 1.0,
            'box': boxes or NO_BOX,
            'site': site,
            'row': f'labels.csv:{i}',
        }
        for i, site in enumerate(sites)
        for time_s in range(n_each)
    ]
    columns = ['video_id', 'time_s', 'animal', 'distance_m', 'box', 'site', 'row']
    return Plan({'train': Targets(pd.DataFrame(rows, columns=columns), [], [])}, {}, None)


@pytest.mark.parametrize(
    'sites,expected',
    [
        ('abcdef', ('site', 5, 0)),
        ('abcde', ('site', 5, 0)),
        ('abcda', ('site', 4, 1)),
        ('abcab', ('site', 3, 1)),
        ('ababa', ('clip', 5, 1)),  # two sites: a member by site would know one
        (['', '', '', '', ''], ('clip', 5, 1)),
        (['a', 'b', 'c', 'd', 'e', ''], ('site', 5, 1)),
    ],
)
def test_folds_are_by_site_where_there_are_enough(sites, expected):
    decided = deciding.decide('labels.csv', a_plan(sites), 5)
    assert (decided.folds, decided.n_folds, len(decided.warnings)) == expected
    assert decided.n_labels == 10 * len(sites)


def test_a_warning_says_why_folds_are_by_clip():
    (without,) = deciding.decide('labels.csv', a_plan([''] * 5), 5).warnings
    assert without.startswith('the labels name no site (column site), so the folds are by clip')
    (few,) = deciding.decide('labels.csv', a_plan('ababa'), 5).warnings
    assert few.startswith('2 sites are too few for folds by site, so the folds are by clip')


def test_labels_that_cannot_be_trained_on_are_refused():
    with pytest.raises(ValueError, match='usable labels of 3 clips, and 5 folds require 5; .* or give --folds=3$'):
        deciding.decide('labels.csv', a_plan(['a', 'a', '']), 5)
    with pytest.raises(ValueError, match='of 1 clip, and 2 folds require 2; label more clips$'):
        deciding.decide('labels.csv', a_plan('a'), 2)
    with pytest.raises(ValueError, match='labels.csv has no row that can be used'):
        deciding.decide('labels.csv', a_plan([]), 2)
    with pytest.raises(ValueError, match='labels.csv has no distance'):
        deciding.decide('labels.csv', Plan({'test': Targets(pd.DataFrame(), [], [])}, {}, None), 2)


def test_few_labels_are_told():
    (warning,) = deciding.decide('labels.csv', a_plan('abc', n_each=16), 3).warnings
    assert warning.startswith('48 usable labels are few')
    assert deciding.decide('labels.csv', a_plan('abc', n_each=17), 3).warnings == []


@pytest.mark.parametrize('boxes', [None, (0.1, 0.1, 0.2, 0.2)])
@pytest.mark.parametrize('same_second', [True, False])
def test_the_region_branch_requires_several_animals_with_boxes(boxes, same_second):
    decided = deciding.decide('labels.csv', a_plan('abcdef', 10, boxes, same_second), 5)
    assert decided.regions == (same_second and boxes is not None)
    told = [warning for warning in decided.warnings if 'no box tells where each animal' in warning]
    assert len(told) == (same_second and boxes is None)


def test_the_first_problems_are_named(caplog):
    problems = [Problem(f'{i}.mp4', f'labels.csv:{i}', 'labels', 'the distance is empty') for i in range(2, 9)]
    with caplog.at_level(logging.INFO, 'chimp_jax'):
        deciding.tell_problems(problems, 'labels.csv')
    lines = caplog.messages
    assert lines[0] == 'problem: labels.csv:2: 2.mp4: the distance is empty'
    assert len(lines) == 6 and lines[-1] == 'problem: 2 more rows or clips of labels.csv'


def parse(*arguments) -> argparse.Namespace:
    return train.make_parser().parse_args(arguments)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / 'labels.csv'
    path.write_text('video_id,time,distance\na.mp4,0,1\n')
    (tmp_path / 'clips').mkdir()
    return path


def requested(labels, *more) -> request.TrainRequest:
    return request.make_request(parse(str(labels), '--clips', str(labels.parent / 'clips'), '--out', 'runs', *more))


def test_fields_of_the_config_are_flags(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ['--config.train.epochs=4', '--config.model.regions', 'true', '--config.train.learning_rate=2e-3']
    config = requested(labels, *given, '--folds=3', '--config.model.dtype=bfloat16').config()
    assert (config.train.epochs, config.model.regions, config.data.n_folds) == (4, True, 3)
    assert (config.train.learning_rate, config.model.dtype) == (2e-3, 'bfloat16')
    assert config.data.records == str(tmp_path / 'runs' / 'data')


@pytest.mark.parametrize(
    'flag',
    [
        '--config.train.epochs=4.5',
        '--config.train.epoch=4',
        '--config.train.batchsize=3',
        '--config.model.regions=2',
        '--config.recipe=x',
    ],
)
def test_a_wrong_field_ends_with_code_2(labels, flag, capsys):
    with pytest.raises(SystemExit) as raised:
        requested(labels, flag)
    assert raised.value.code == 2 and flag.partition('=')[0] in capsys.readouterr().err


def test_wrong_flags_are_refused(labels):
    with pytest.raises(ValueError, match='--folds=1: .*give 2 or more'):
        requested(labels, '--folds=1')
    with pytest.raises(ValueError, match='nowhere.csv does not exist'):
        requested(labels.with_name('nowhere.csv'))
    with pytest.raises(ValueError, match="'full' is not a model ID"):
        requested(labels, '--recipe=full').config()
    with pytest.raises(ValueError, match="--enhance: 'sharp' is no step"):
        requested(labels, '--enhance=sharp')


@pytest.mark.parametrize(
    'given,expected',
    [
        ([], ('off', False)),
        (['--enhance=auto', '--audio'], ('auto', True)),
        (['--config.model.audio=alone'], ('off', True)),
    ],
)
def test_the_records_are_enhanced_and_have_sound_as_asked(labels, given, expected):
    job = requested(labels, *given).job(5)
    assert (job.enhance, job.audio) == expected


def decided(folds='site', n_folds=4, regions=False) -> deciding.Decided:
    return deciding.Decided(folds, n_folds, regions, 100, ['2 sites are too few'])


def test_the_config_follows_the_decisions_unless_a_flag_says_otherwise(labels):
    asked = requested(labels)
    config = train.decided_config(asked, asked.config(), decided(regions=True))
    assert (config.data.folds, config.data.n_folds, config.model.regions) == ('site', 4, True)
    asked = requested(labels, '--config.data.folds=clip', '--config.model.regions=False')
    config = train.decided_config(asked, asked.config(), decided(regions=True))
    assert (config.data.folds, config.model.regions) == ('clip', False)
    asked = requested(labels, '--config.data.folds=site')
    with pytest.raises(ValueError, match='requires labels of more sites: 2 sites are too few; leave the flag out'):
        train.decided_config(asked, asked.config(), decided(folds='clip'))


def test_few_labels_shorten_the_warm_up(labels):
    # 100 labels in 4 folds: 75 in training, 7 batches of 10, 2 epochs: 14 updates, of which 0.2 are 2.8.
    given = ['--config.train.batch_size=10', '--config.train.epochs=2']
    asked = requested(labels, *given)
    assert train.decided_config(asked, asked.config(), decided()).train.warmup_steps == 2
    asked = requested(labels, *given, '--config.train.warmup_steps=5')
    assert train.decided_config(asked, asked.config(), decided()).train.warmup_steps == 5
    asked = requested(labels, '--config.train.batch_size=10', '--config.train.epochs=200')
    assert (
        train.decided_config(asked, asked.config(), decided()).train.warmup_steps == asked.config().train.warmup_steps
    )


def test_an_earlier_start_decides_and_other_inputs_are_refused(labels, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = requested(labels)
    deciding.keep_decided(asked, decided(), 5)
    assert json.loads((tmp_path / 'runs' / 'train.json').read_text())['n_folds'] == 4
    monkeypatch.setattr(deciding, 'make_plan', None)  # would fail if it were called
    assert deciding.read_or_decide(asked, 5) == (decided(), None)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    same = request.make_request(
        parse(str(labels), '--clips', '../clips', '--out', '../runs')
    )  # the same command, typed in another folder
    assert deciding.read_or_decide(same, 5)[0] == decided()
    with pytest.raises(ValueError, match='--folds was 5'):
        deciding.read_or_decide(same, 3)
    with pytest.raises(ValueError, match='--enhance was off; the records were begun without sound. Give another'):
        deciding.read_or_decide(requested(labels, '--enhance=auto', '--audio', '--out', '../runs'), 5)
    labels.write_text('video_id,time,distance\na.mp4,0,2\n')
    with pytest.raises(ValueError, match=r'begun with other inputs: .*labels.csv has changed. Give another --out, or'):
        deciding.read_or_decide(same, 5)
