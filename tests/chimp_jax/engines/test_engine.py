"""Pieces run until all are done, whatever an engine loses; refusals and failures are one line."""

import argparse
import pickle
import time

import pytest
from etils import epath

from chimp_jax.commands import entry
from chimp_jax.engines import counting, same_code, worker
from chimp_jax.engines.counting import Counts
from chimp_jax.engines.engine import Engine, EngineJob, choose_engine, run_pieces
from data_prep import progress
from data_prep.workers.guard import WorkerError

SAVE = f'{__name__}:save'


def save(folder, numbers):
    """Saves numbers; 3 is refused."""
    for number in numbers:
        if number == 3:
            raise ValueError('the members are missing')
        (folder / str(number)).touch()


def pending(folder, numbers):
    return [number for number in numbers if not (folder / str(number)).exists()]


def run(folder, numbers, do):
    counts = Counts(
        'numbers', None, lambda number: (1, 1.0), lambda asked: {i for i, n in enumerate(asked) if n not in left(asked)}
    )

    def left(asked):
        return pending(folder, asked)

    job = EngineJob('numbers', SAVE, folder, epath.Path(folder / 'work'), lambda: pending(folder, numbers), counts)
    run_pieces(Engine('cluster', do), job)


def test_an_engine_that_loses_a_worker_is_started_again_for_what_is_left(tmp_path):
    started = []

    def loses_a_worker(work, pieces):
        started.append([pickle.loads(piece) for piece in pieces])
        worker.do_pieces(work, pieces[:2])
        if len(pieces) > 2:
            raise RuntimeError('a worker died')

    run(tmp_path, range(10, 15), loses_a_worker)
    assert started == [[10, 11, 12, 13, 14], [12, 13, 14], [14]]
    assert not pending(tmp_path, range(10, 15))


def test_an_engine_that_does_nothing_fails_with_its_last_line(tmp_path):
    def fails(work, pieces):
        raise RuntimeError('Traceback\n  a line\nno worker can be reached\n')

    with pytest.raises(WorkerError, match='^cluster did none of 2 numbers: no worker can be reached$'):
        run(tmp_path, [1, 2], fails)


def test_the_progress_line_counts_results_of_other_machines(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(counting, 'POLL_S', 0.01)
    monkeypatch.setattr(progress, 'SECONDS_BETWEEN_LINES', 0.0)

    def slowly(work, pieces):
        for piece in pieces:
            worker.do_pieces(work, [piece])
            until, wanted = time.monotonic() + 60, f'number {pickle.loads(piece) - 9} of 3'
            while wanted not in ''.join(said) and time.monotonic() < until:
                time.sleep(0.01)
                said.append(capsys.readouterr().out)

    said = []
    run(tmp_path, range(10, 13), slowly)
    told = ''.join(said)
    assert [told.count(f'number {n} of 3') > 0 for n in (1, 2, 3)] == [True] * 3
    assert 'number 3 of 3, 100 %, done in ' in told


def test_refused_pieces_are_told_and_the_others_are_saved(tmp_path):
    def one_by_one(work, pieces):
        for piece in pieces:
            worker.do_pieces(work, [piece])

    with pytest.raises(ValueError, match='^1 of 4 numbers were refused by a worker: .*: the members are missing; the'):
        run(tmp_path, [1, 2, 3, 4], one_by_one)
    assert pending(tmp_path, [1, 2, 3, 4]) == [3]
    assert not (tmp_path / 'work' / 'refused').exists()


def test_a_worker_with_other_code_does_nothing(tmp_path):
    work = worker.Work(
        SAVE, pickle.dumps(tmp_path), {**same_code.describe_code(), 'jax': '0'}, str(tmp_path / 'reports')
    )
    worker.do_pieces(work, [pickle.dumps(1)])
    assert pending(tmp_path, [1]) == [1]
    (report,) = (tmp_path / 'reports').iterdir()
    assert 'on the launching machine; install the same versions' in report.read_text()
    assert (
        same_code.difference({'jax': '1', 'av': '2'}, {'jax': '0', 'av': '2'})
        == 'jax 1 here, 0 on the launching machine'
    )


def test_flags(capsys):
    assert choose_engine('local', (), False) is None
    with pytest.raises(ValueError, match='--multihost and --runner=DirectRunner are two ways'):
        choose_engine('DirectRunner', (), True)
    arguments = ['score', '--members=m', '--records=r', '--out=o.csv', '--direct_num_workers=2']
    with pytest.raises(SystemExit):
        entry._parse(arguments)
    assert 'unrecognized arguments: --direct_num_workers=2' in capsys.readouterr().err
    options = entry._parse([*arguments, '--runner=DirectRunner'])[2]
    assert isinstance(options, argparse.Namespace) and options.runner_options == ('--direct_num_workers=2',)
    assert entry.main(['estimate', 'clips', '--detect', '--out=o', '--runner=DirectRunner']) == 1
    assert 'without --members one machine does all the work' in capsys.readouterr().err
