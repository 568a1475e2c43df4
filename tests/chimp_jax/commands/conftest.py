"""Trained members and clips for the tests of estimate, made once a session."""

import pytest
import small
from make_clips import numbered_frames, write_clip
from run_estimate import RECIPES
from run_ground import box_at, write_detections

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


@pytest.fixture
def station(tmp_path):
    """A station with an animal at 4 and 8 m in a.mp4, and a person at 3, 5 and 10 m in reference.mp4."""
    for name in ('a.mp4', 'reference.mp4'):
        write_clip(tmp_path / 'clips' / 'A' / name, numbered_frames(32), 8)
    animals = [box_at(4, frame_number=0), box_at(8, x=0.3, frame_number=16)]
    persons = [box_at(r, category='2', frame_number=8 * i) for i, r in enumerate((3, 5, 10))]
    write_detections(tmp_path / 'md.json', {'A/a.mp4': animals, 'A/reference.mp4': persons})
    lines = ['A/reference.mp4,0,3,no', 'A/reference.mp4,1,5,no', 'A/reference.mp4,2,10,no']
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance,animal', *lines]) + '\n')
    return tmp_path
