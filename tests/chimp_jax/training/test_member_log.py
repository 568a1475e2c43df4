"""What is kept of a run's start."""

import json
import subprocess
import sys

import jax
import jaxlib

from chimp_jax.training import member_log


def git(folder, *arguments):
    identity = ['-c', 'user.name=n', '-c', 'user.email=e@x']
    done = subprocess.run(['git', '-C', str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_a_row_a_start(tmp_path):
    member_log.note_start(tmp_path)
    member_log.note_start(tmp_path)
    first, second = json.loads((tmp_path / 'run.json').read_text())
    assert first['time'] <= second['time']
    assert second['versions']['jax'] == jax.__version__ and second['versions']['jaxlib'] == jaxlib.__version__
    assert second['versions']['python'] == sys.version.split()[0]
    assert 'tensorflow' in second['versions']  # whichever of its packages is installed
    assert (second['device_kind'], second['devices'], second['processes']) == ('cpu', 8, 1)
    assert sys.orig_argv[-1].split()[-1].strip("'") in second['command']


def test_the_git_revision_is_that_of_our_own_checkout(tmp_path):
    assert member_log.git_revision(tmp_path / 'not there') is None
    git(tmp_path, 'init', '-q')
    assert member_log.git_revision(tmp_path) is None  # no commit yet
    (tmp_path / 'sub').mkdir()
    (tmp_path / 'sub' / 'file').write_text('a')
    git(tmp_path, 'add', '.')
    git(tmp_path, 'commit', '-q', '-m', 'first')
    revision = git(tmp_path, 'rev-parse', 'HEAD')
    assert member_log.git_revision(tmp_path) == revision
    (tmp_path / 'new').write_text('data of a run')
    assert member_log.git_revision(tmp_path) == revision
    (tmp_path / 'sub' / 'file').write_text('b')
    assert member_log.git_revision(tmp_path) == f'{revision}+changes'
    assert member_log.git_revision(tmp_path / 'sub') is None  # another program's folder in somebody's checkout


def test_a_member_of_simulated_clips_says_so(tmp_path):
    history = [{'epoch': 1, 'val_mae': 2.0}]
    (tmp_path / 'dataset.json').write_text('{"simulated": true}')
    member = member_log.finish_member(tmp_path, 'full-a4p50-f7s1', 0, 'ab', history, tmp_path)
    assert member['simulated'] is True and json.loads((tmp_path / 'member.json').read_text()) == member
    for text in ('{}', '{"simulated": false}'):
        (tmp_path / 'dataset.json').write_text(text)
        assert 'simulated' not in member_log.finish_member(tmp_path, 'full-a4p50-f7s1', 0, 'ab', history, tmp_path)
    made = {'enhance': 'fuse,below=640,to=640', 'gamma': 'never', 'sampling': 'legacy_r1'}
    (tmp_path / 'dataset.json').write_text(json.dumps({'options': made | {'seed': 0}}))
    member = member_log.finish_member(tmp_path, 'full-a4p50-f7s1', 0, 'ab', history, tmp_path)
    assert not {'simulated', 'seed'} & {*member} and {name: member[name] for name in made} == made
    (tmp_path / 'dataset.json').unlink()
    assert 'simulated' not in member_log.finish_member(tmp_path, 'full-a4p50-f7s1', 0, 'ab', history, str(tmp_path))


def test_an_epoch_that_is_trained_again_replaces_its_costs(tmp_path):
    for epoch, seconds in ((1, 9.0), (2, 4.5), (2, 1.25)):
        member_log.note_cost(tmp_path, epoch, seconds)
    rows = [line.split(',') for line in (tmp_path / 'costs.csv').read_text().splitlines()]
    assert [row[:2] for row in rows] == [['epoch', 'seconds'], ['1', '9.000'], ['2', '1.250']]
    assert all(float(row[2]) > 50 for row in rows[1:])  # MB; Python with JAX and TensorFlow takes more
