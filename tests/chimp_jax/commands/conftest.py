"""Trained members and clips for the tests of estimate, made once a session."""

import pytest
import small
from make_clips import numbered_frames, write_clip
from run_estimate import RECIPES

from chimp_jax import panel
from chimp_jax.field import evaluate
from chimp_jax.streamed import clip_stream


@pytest.fixture(scope='session')
def runs(tmp_path_factory):
    """Two recipes x two folds, trained for an epoch."""
    folder = tmp_path_factory.mktemp('trained')
    small.train_members(folder, RECIPES)
    return folder / 'runs'


@pytest.fixture
def small_model(monkeypatch):
    monkeypatch.setattr(panel, 'DistanceModel', small.model)
    monkeypatch.setattr(clip_stream, 'CLIPS_PER_BATCH', 2)
    # After an epoch the members know nothing: their bias would set the exit code of every run here.
    monkeypatch.setattr(evaluate, 'bias_warning', lambda bands: '')


@pytest.fixture(scope='session')
def clips(tmp_path_factory):
    """Three clips of 5, 4 and 3 s at two stations, a damaged clip, and a file of another kind."""
    folder = tmp_path_factory.mktemp('clips')
    write_clip(folder / 'st A' / 'IMG_0001.MP4', numbered_frames(40), 8)
    write_clip(folder / 'st B' / 'IMG_0001.MP4', numbered_frames(32), 8)
    write_clip(folder / 'st B' / 'IMG_0002.avi', numbered_frames(24), 8, codec='mpeg4')
    (folder / 'st B' / 'broken.mp4').write_bytes(b'not a clip')
    (folder / 'notes.txt').write_text('not a clip either')
    return folder
