"""From three clips and their tables to a CSV of distances: every step, on pictures of a few pixels."""

import numpy as np
import pandas as pd
import pytest
import small
from make_clips import numbered_frames, write_clip

from chimp_jax import panel, train, trainer
from chimp_jax.commands import entry as command
from data_prep.build import build
from data_prep.job import Job

ORDER = [('b.mp4', 5), ('b.mp4', 0), ('b.mp4', 3)]


@pytest.fixture
def clips(tmp_path):
    """Two clips to train on, one to predict, a broken one, and the challenge's tables."""
    folder = tmp_path / 'clips'
    write_clip(folder / 'sub dir' / 'IMG_0001.MP4', numbered_frames(64), 8)
    write_clip(folder / 'IMG_0001.avi', numbered_frames(48), 8, codec='mpeg4')
    write_clip(folder / 'b.mp4', numbered_frames(48), 8)
    (folder / 'broken.mp4').write_bytes(b'\0' * 1000)
    rows = [
        (f'{name}', second, 1.0 + second) for name in ('sub dir/IMG_0001.MP4', 'IMG_0001.avi') for second in range(5)
    ]
    rows.append(('broken.mp4', 0, 3.0))
    pd.DataFrame(rows, columns=['video_id', 'time', 'distance']).to_csv(tmp_path / 'train_labels.csv', index=False)
    order = pd.DataFrame(ORDER, columns=['video_id', 'time']).assign(distance=1.0)
    order.to_csv(tmp_path / 'submission_format.csv', index=False)
    return tmp_path


def test_from_clips_to_csv(clips, monkeypatch):
    for module in (trainer, panel):
        monkeypatch.setattr(module, 'DistanceModel', small.model)
    monkeypatch.chdir(clips)  # all paths are relative, as people type them
    problems = build(Job(out='data', tables='.', clips_full=('clips',), n_folds=2))
    assert [problem.video_id for problem in problems] == ['broken.mp4']
    config = small.config('data', 'down-a4p50-f7s1')
    config.train.update(epochs=1, batch_size=2)
    table = train.train_recipes([config], 'runs')
    oof = pd.concat(pd.read_csv(path) for path in (clips / 'runs').glob('*/fold_*/oof.csv'))
    assert len(oof) == 10 and oof['video_id'].nunique() == 2
    assert table['members'].tolist() == [2]
    # The folds have a clip with five labels each, so that the mean of their MAEs is the MAE of all rows.
    assert table['cv_mae'].item() == pytest.approx((oof['prediction'] - oof['distance']).abs().mean(), rel=1e-5)
    arguments = ['--members=runs', '--records=data', '--out=out.csv', '--submission_format=submission_format.csv']
    assert command.main(arguments) == 0
    written = pd.read_csv('out.csv')
    assert list(written.columns) == ['video_id', 'time', 'distance']
    assert list(written[['video_id', 'time']].itertuples(index=False, name=None)) == ORDER
    assert np.isfinite(written['distance']).all() and (written['distance'] >= 0).all()
