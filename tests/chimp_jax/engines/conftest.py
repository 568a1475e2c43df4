"""Members, records and clips for the tests of engines, and the results of this machine alone."""

import pytest
import small
import small_workers
from make_clips import numbered_frames, write_clip
from run_estimate import RECIPES, estimate

from chimp_jax import panel
from chimp_jax.commands import entry
from chimp_jax.field import evaluate
from chimp_jax.streamed import clip_stream


def _patch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(panel, 'DistanceModel', small.model)
    patch.setattr(clip_stream, 'CLIPS_PER_BATCH', 2)
    patch.setattr(evaluate, 'bias_warning', lambda bands: '')  # members without training would set the exit code


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    """Two recipes x two folds, records, six clips and a damaged one: four batches."""
    folder = tmp_path_factory.mktemp('data')
    small.write_data(folder)
    small.write_members(folder / 'runs', RECIPES, folder)
    for number in range(6):
        write_clip(folder / 'clips' / f'{number % 2}' / f'{number}.mp4', numbered_frames(16 + 8 * number), 8)
    (folder / 'clips' / '0' / 'broken.mp4').write_bytes(b'not a clip')
    return folder


@pytest.fixture(scope='session')
def here(data, tmp_path_factory):
    """The results of this machine with eight devices."""
    folder = tmp_path_factory.mktemp('here')
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch)
        assert estimate(data / 'runs', data / 'clips', folder / 'estimate') == 3
        assert score(data, folder / 'scores.csv') == 0
    return folder


@pytest.fixture
def small_processes(monkeypatch, tmp_path):
    """The small model in this process and in those that an engine starts."""
    _patch(monkeypatch)
    for name, value in small_workers.environment(tmp_path / 'start').items():
        monkeypatch.setenv(name, value)


def score(data, out, *more):
    arguments = [f'--members={data}/runs', f'--records={data}', '--weights=mean', f'--out={out}', '--details', *more]
    return entry.main(['score', *arguments])


@pytest.fixture
def run_score():
    return score


@pytest.fixture
def check_same(here):
    def check(out):
        for name in ('distances.csv', 'clips.csv'):
            assert (here / 'estimate' / name).read_bytes() == (out / name).read_bytes(), name

    return check
