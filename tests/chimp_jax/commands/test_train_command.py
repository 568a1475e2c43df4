"""`chimp-distance train` from clips and a table to members: exit codes, errors, bad rows, resumed and repeated runs."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import small
from make_clips import numbered_frames, write_clip

from chimp_jax import members, panel, train, trainer
from chimp_jax.commands import entry
from data_prep import plan
from data_prep.workers import local

# The smallest training: the network of `small` from random weights, one epoch for each of two folds.
SMALL = ['--config.start.init=random', '--config.train.frozen=', '--config.train.epochs=1', '--config.data.size_px=32']
SMALL += ['--config.train.batch_size=4', '--config.train.warmup_steps=0', '--folds=2', '--workers=1']
SITES = ('north', 'south', 'west')
RECIPE = 'full-a2p50-f7s1'


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Six clips of 6 s at three sites."""
    folder = tmp_path_factory.mktemp('clips')
    for i in range(6):
        write_clip(folder / SITES[i % 3] / f'{i}.mp4', numbered_frames(24), 4)
    return folder


def distance_m(i: int, second: int) -> float:
    return 2.0 + i + 0.5 * second


def write_labels(path, changed=None, sites=True) -> None:
    """Five labels of each clip; changed: {line: another text of the row}."""
    rows = [
        [f'{SITES[i % 3]}/{i}.mp4', second, distance_m(i, second), SITES[i % 3] if sites else '']
        for i in range(6)
        for second in range(5)
    ]
    lines = ['video_id,time,distance,site', *(','.join(map(str, row)) for row in rows)]
    for line, text in (changed or {}).items():
        lines[line - 1] = text
    path.write_text('\n'.join(lines) + '\n')


@pytest.fixture(autouse=True)
def small_model(monkeypatch, caplog):
    caplog.set_level(logging.INFO, 'chimp_jax')
    for module in (trainer, panel):
        monkeypatch.setattr(module, 'DistanceModel', small.model)


def run(labels, clips, *more) -> int:
    return entry.main(
        ['train', str(labels), '--clips', str(clips), '--out', str(labels.parent / 'runs'), *SMALL, *more]
    )


def test_one_command_trains_members_and_tells_their_errors(clips, tmp_path, monkeypatch, capsys, caplog):
    labels = tmp_path / 'labels.csv'
    write_labels(labels, {3: 'north/0.mp4,1,far,north', 8: 'north/9.mp4,1,3,north'})  # a bad row, a missing clip
    with small.killed_after_saving(), pytest.raises(small.Killed):
        run(labels, clips)
    first = caplog.text
    capsys.readouterr()
    assert "problem: labels.csv:3: north/0.mp4: the distance 'far' is not a number" in first
    assert 'problem: labels.csv:8: north/9.mp4: ' in first
    assert 'warning: 28 usable labels are few' in first
    monkeypatch.setattr(plan, 'read_headers', None)  # nothing is read or decoded again
    monkeypatch.setattr(local, 'store_clips', None)
    assert run(labels, clips) == 3  # rows are left out
    told = capsys.readouterr().out
    oof = pd.concat(pd.read_csv(path) for path in (tmp_path / 'runs' / RECIPE).glob('fold_*/oof.csv'))
    assert len(oof) == 28
    mae_m = (oof['prediction'].clip(lower=0) - oof['distance']).abs().mean()
    folds = pd.read_csv(tmp_path / 'runs' / 'data' / 'folds.csv').set_index('video_id')['site_fold']
    fold = oof['video_id'].map(folds)
    medians = {one: np.median(oof.loc[fold != one, 'distance']) for one in (0, 1)}
    constant_m = (oof['distance'] - fold.map(medians)).abs().mean()
    found = re.search(r'by site folds: MAE ([\d.]+) m for 28 labels; the best constant has ([\d.]+) m', told)
    assert [float(text) for text in found.groups()] == pytest.approx([mae_m, constant_m], abs=0.006)
    assert '28 labels used, 2 left out' in told and "1: the distance 'far' is not a number" in told
    assert f'chimp-distance estimate MORE_CLIPS --members {tmp_path}/runs --out distances' in told
    assert logging.getLogger('chimp_jax').level != logging.WARNING  # as before
    config = members.read_config(tmp_path / 'runs' / RECIPE)
    assert (config.data.folds, config.data.n_folds, config.model.regions) == ('site', 2, False)

    write_labels(labels)
    assert run(labels, clips) == 1
    assert 'labels.csv has changed. Give another --out, or delete' in capsys.readouterr().err
    write_labels(labels, {3: 'north/0.mp4,1,far,north', 8: 'north/9.mp4,1,3,north'})
    assert run(labels, clips, '--config.train.epochs=2') == 1
    assert 'train.epochs (1 there, 2 here)' in capsys.readouterr().err


def test_without_sites_the_folds_are_by_clip_and_the_intervals_say_so(clips, tmp_path, capsys, caplog):
    labels = tmp_path / 'labels.csv'
    write_labels(labels, sites=False)
    assert run(labels, clips) == 3
    told = capsys.readouterr().out
    assert 'warning: the labels name no site (column site), so the folds are by clip' in told
    assert 'out-of-fold error by clip folds' in told and 'trained with folds by clip' in told
    assert '30 labels used, none left out' in told


@pytest.mark.parametrize(
    'sites,more,told',
    [
        (False, ['--folds=7'], 'usable labels of 6 clips, and 7 folds require 7; label more clips, or give --folds=6'),
        (
            True,
            ['--config.train.batch_size=64'],
            'trains on about 15 of the 30 labels, fewer than a batch of 64; label more',
        ),
        (True, ['--config.model.dtype=float64'], "model.dtype is 'float32', 'bfloat16' or 'float16', not 'float64'"),
        (True, ['--detections=nowhere.json'], 'nowhere.json does not exist'),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_work(clips, tmp_path, capsys, monkeypatch, sites, more, told):
    monkeypatch.setattr(local, 'store_clips', None)
    labels = tmp_path / 'labels.csv'
    write_labels(labels, sites=sites)
    assert run(labels, clips, *more) == 1
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1
    assert not (tmp_path / 'runs').exists()


def test_a_clip_that_changes_after_the_records_are_made_is_refused(clips, tmp_path, capsys, monkeypatch):
    own, labels = tmp_path / 'clips', tmp_path / 'labels.csv'
    for path in clips.rglob('*.mp4'):
        copy = own / path.relative_to(clips)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    write_labels(labels)
    monkeypatch.setattr(train, 'train_recipes', lambda configs, workdir: (_ for _ in ()).throw(ValueError('later')))
    assert run(labels, own) == 1 and 'later' in capsys.readouterr().err
    write_clip(own / 'west' / '2.mp4', numbered_frames(20), 4)
    assert run(labels, own) == 1
    assert re.search(r'1 clips have changed .* the first: west/2.mp4; give another --out, or', capsys.readouterr().err)
