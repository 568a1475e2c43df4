"""Scoring by Beam's workers in processes of their own: the bytes of one machine. Run it with make test-beam."""

import shutil

import pytest
import small_workers
from run_estimate import estimate

from chimp_jax.engines import same_code
from chimp_jax.streamed import saved
from data_prep import lock
from data_prep.workers import beam

pytest.importorskip('apache_beam', reason='Apache Beam is not installed; run make test-beam')
pytestmark = pytest.mark.usefixtures('small_processes')
BEAM = ['--runner=DirectRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=2']


def test_a_worker_killed_in_the_middle_and_the_bytes_of_one_machine(data, check_same, tmp_path, monkeypatch):
    monkeypatch.setenv(small_workers.KILL, str(tmp_path / 'killed'))
    assert estimate(data / 'runs', data / 'clips', tmp_path / 'beam', *BEAM) == 3
    assert (tmp_path / 'killed').exists()
    check_same(tmp_path / 'beam')


def test_records_give_the_bytes_of_one_machine(data, here, run_score, tmp_path):
    assert run_score(data, tmp_path / 'scores.csv', *BEAM) == 0
    assert (tmp_path / 'scores.csv').read_bytes() == (here / 'scores.csv').read_bytes()


def test_refused_batches_are_told_in_a_line_and_answers_stay(data, here, tmp_path, monkeypatch, capsys):
    out, hidden = tmp_path / 'out', tmp_path / 'hidden'
    shutil.copytree(here / 'estimate', out)
    lost, *kept = sorted((out / 'work').glob(f'*/*{saved.CLIPS}'))
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in kept}

    def refusal() -> str:
        capsys.readouterr()
        assert estimate(data / 'runs', data / 'clips', out, *BEAM) == 1
        error = capsys.readouterr().err
        assert error.startswith('estimate failed: 1 of 1 batches of clips were refused by a worker: ')
        assert error.endswith('; the others are saved; correct this and run the same command again\n')
        return error

    with monkeypatch.context() as patch:
        patch.setattr(same_code, 'describe_code', lambda: {'code': 'another one'})
        assert ' here, another one on the launching machine; ' in refusal()
    for_each = beam.for_each

    def without_members(*arguments):
        (data / 'runs').rename(hidden)
        try:
            for_each(*arguments)
        finally:
            hidden.rename(data / 'runs')

    with monkeypatch.context() as patch:
        patch.setattr(beam, 'for_each', without_members)
        assert f'{data}/runs holds no finished member' in refusal()
    assert before == {path: path.stat().st_mtime_ns for path in kept}
    assert not lost.exists()


def test_a_second_job_in_the_folder_is_refused(data, tmp_path, capsys):
    with lock.hold(tmp_path / 'out'):
        assert estimate(data / 'runs', data / 'clips', tmp_path / 'out', *BEAM) == 1
    error = capsys.readouterr().err
    assert error.startswith('estimate failed: another run works in ') and error.count('\n') == 1


def test_flags_that_beam_does_not_know_are_refused(data, tmp_path, capsys):
    assert (
        estimate(data / 'runs', data / 'clips', tmp_path / 'out', '--runner=DirectRunner', '--direct_num_wrkers=2') == 1
    )
    assert 'unknown options: --direct_num_wrkers=2' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()
