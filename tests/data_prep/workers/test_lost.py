"""Clips that were lost with their worker process: the next run of the same command tries them again, once."""

import json

import pytest
from make_clips import numbered_frames, write_clip

from data_prep import build
from data_prep.workers import guard, local


def run(clips, out, *flags) -> int:
    return build.main([f'--tables={clips}/t.csv', f'--clips_full={clips}', f'--out={out}', '--workers=1', *flags])


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob('*') if file.is_file()}


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / 'clips'
    folder.mkdir()
    for name in 'ab':
        write_clip(folder / f'{name}.mp4', numbered_frames(16), 8)
    (folder / 'bad.mp4').write_bytes(b'no clip')
    rows = ['video_id,time,distance,site', 'a.mp4,1,2,s', 'b.mp4,1,3,t', 'bad.mp4,1,4,u']
    (folder / 't.csv').write_text('\n'.join(rows) + '\n')
    return folder


class Killer:
    """Kills the workers of the clips in `killed`, and notes which clips each run decodes."""

    def __init__(self):
        self.killed, self.tried, self._run = set(), [], guard.run_guarded

    def __call__(self, function, tasks, *rest):
        if function != local.STORE_CLIP:
            yield from self._run(function, tasks, *rest)
            return
        tasks = list(tasks)
        self.tried.append({task.video_id for _, task in tasks})
        for pair in tasks:
            if pair[1].video_id in self.killed:
                yield pair, guard.WorkerDied('its worker process was killed, twice', crashed=True)
        yield from self._run(function, [pair for pair in tasks if pair[1].video_id not in self.killed], *rest)


@pytest.fixture
def killer(monkeypatch):
    one = Killer()
    monkeypatch.setattr(guard, 'run_guarded', one)
    return one


def test_the_next_run_tries_a_lost_clip_again_and_ends_with_the_bytes_of_an_undisturbed_one(
    clips, tmp_path, killer, capsys
):
    whole, out = tmp_path / 'whole', tmp_path / 'out'
    assert run(clips, whole, '--n_folds=2') == 3  # bad.mp4
    killer.killed = {'a.mp4'}
    assert run(clips, out, '--n_folds=2') == 3
    assert 'clips lost with their worker process: 1; run the same command again' in capsys.readouterr().out
    assert 'killed, twice; run the same command again to try the clip again' in (out / 'problems.csv').read_text()
    assert json.loads((out / 'dataset.json').read_bytes())['lost_clips'] == {'a.mp4': 1}
    killer.killed = set()
    assert run(clips, out, '--n_folds=2') == 3
    assert killer.tried[-1] == {'a.mp4'}  # neither the sound clip nor the damaged one
    assert contents(out).keys() == contents(whole).keys()  # the frame store is deleted
    assert contents(out) == contents(whole)


def test_a_data_set_whose_clips_are_deleted_stays_as_it_is(clips, tmp_path, killer, capsys):
    out = tmp_path / 'out'
    killer.killed = {'a.mp4'}
    run(clips, out, '--n_folds=2')
    before, n_runs = contents(out), len(killer.tried)
    (clips / 'b.mp4').unlink()
    assert run(clips, out, '--n_folds=2') == 3
    assert len(killer.tried) == n_runs and 'complete; nothing to do' in capsys.readouterr().out
    assert contents(out / 'chimp_records') == {
        name.removeprefix('chimp_records/'): data for name, data in before.items() if name.startswith('chimp_records/')
    }


def test_a_clip_lost_in_two_runs_stays_a_problem_until_the_user_asks(clips, tmp_path, killer, capsys):
    out = tmp_path / 'out'
    killer.killed = {'a.mp4'}
    for _ in range(2):
        assert run(clips, out, '--n_folds=2') == 3
    reason = 'its worker process was killed, twice, in 2 runs; the flag --retry tries the clip again'
    assert reason in (out / 'problems.csv').read_text()
    assert not (out / 'frames').exists()
    n_runs = len(killer.tried)
    assert run(clips, out, '--n_folds=2') == 3
    assert len(killer.tried) == n_runs and 'complete; nothing to do' in capsys.readouterr().out
    killer.killed = set()
    assert run(clips, out, '--n_folds=2', '--retry') == 3
    assert 'a.mp4' not in (out / 'problems.csv').read_text()
    assert 'lost_clips' not in json.loads((out / 'dataset.json').read_bytes())
