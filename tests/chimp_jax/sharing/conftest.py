"""Two recipes x two folds, their package, and a try with a changed package."""

import numpy as np
import pytest
import small
from made_members import RECIPES, entries_of, listed, refused, write_member, write_zip

from chimp_jax.sharing import model_shapes
from chimp_jax.sharing.packing import pack


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Two recipes x two folds with random weights, in folders as training leaves them."""
    folder = tmp_path_factory.mktemp('made') / 'runs'
    rng = np.random.default_rng(0)
    for recipe in RECIPES:
        made = small.config('data', recipe)
        for fold in (0, 1):
            write_member(folder / recipe / f'fold_{fold}', recipe, fold, rng)
        (folder / recipe / 'config.json').write_text(made.to_json_best_effort())
        sites = [f'clip {i}.mp4,s{i},\n' for i in range(6)]
        (folder / recipe / 'clips.csv').write_text(''.join(['video_id,site,park\n', *sites]))
    return folder


@pytest.fixture(scope='module')
def packed(runs, tmp_path_factory):
    path = tmp_path_factory.mktemp('packed') / 'members.zip'
    assert pack(runs, path, anonymous=False).unfinished == []
    return path


@pytest.fixture
def small_layout(monkeypatch):
    monkeypatch.setattr(model_shapes, 'DistanceModel', small.model)


@pytest.fixture
def hostile(packed, tmp_path):
    """Returns the line with which a changed package is refused. change(entries) -> entries, manifest made anew."""

    def try_it(change, stored=lambda name: True, with_manifest=True):
        entries = change(entries_of(packed))
        path = tmp_path / 'hostile.zip'
        write_zip(path, listed(entries) if with_manifest else entries, stored)
        return refused(path, tmp_path)

    return try_it
