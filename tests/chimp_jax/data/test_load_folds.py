"""Folds as members are trained on them."""

import hashlib

import pytest

from chimp_jax.data.folds import choose_folds, folds_digest, load_folds
from data_prep import published_folds

TABLE = 'video_id,clip_fold,site_fold\n007,0,1\n7,1,1\nNA,0,0\n1e5,1,0\n100000.0,0,1\n'
PUBLISHED = 'video_id,clip_fold,site_fold,published_fold\nb/aany.mp4,0,1,1\na/cdef.avi,1,1,0\n'


def test_clips_whose_names_look_like_numbers_are_in_their_folds(tmp_path):
    (tmp_path / 'folds.csv').write_text(TABLE)
    first, second = load_folds(tmp_path, 'clip', 2)
    assert (first.number, second.number) == (0, 1)
    assert first.validation == second.training == {'007', 'NA', '100000.0'}
    assert second.validation == first.training == {'7', '1e5'}
    assert load_folds(tmp_path, 'site', 2)[0].validation == {'NA', '1e5'}


def test_the_digest_depends_on_the_assignment_and_not_on_the_order_of_rows(tmp_path):
    (tmp_path / 'folds.csv').write_text(TABLE)
    digests = {kind: folds_digest(load_folds(tmp_path, kind, 2)) for kind in ('clip', 'site')}
    header, *rows = TABLE.split()
    (tmp_path / 'folds.csv').write_text('\n'.join([header, *rows[::-1]]) + '\n')
    assert {kind: folds_digest(load_folds(tmp_path, kind, 2)) for kind in ('clip', 'site')} == digests
    assert digests['clip'] != digests['site']


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match='folds.csv is missing; make the data with'):
        load_folds(tmp_path, 'clip', 2)
    (tmp_path / 'folds.csv').write_text(TABLE)
    with pytest.raises(
        ValueError, match='has 2 clip folds, the config has data.n_folds=5; set --config.data.n_folds=2'
    ):
        load_folds(tmp_path, 'clip', 5)
    (tmp_path / 'folds.csv').write_text(TABLE.replace(',0\n', ',1\n'))
    with pytest.raises(
        ValueError, match='has clips in 1 of 2 folds by site. If .*, label clips of more sites, or train'
    ):
        load_folds(tmp_path, 'site', 2)
    (tmp_path / 'folds.csv').write_text(TABLE)
    with pytest.raises(ValueError, match='folds.csv has no column published_fold; prepare the data in a new folder'):
        load_folds(tmp_path, 'published', 2)
    (tmp_path / 'folds.csv').write_text(PUBLISHED)
    with pytest.raises(ValueError, match="does not hold the original's folds: .* all 2072 clips .*; use .*folds=clip"):
        load_folds(tmp_path, 'published', 2)
    with pytest.raises(ValueError, match="data.folds is 'clip', 'site', 'published', not 'park'"):
        load_folds(tmp_path, 'park', 2)
    folds = load_folds(tmp_path, 'clip', 2)
    assert choose_folds(folds, None) == folds and choose_folds(folds, [1]) == folds[1:]
    with pytest.raises(ValueError, match='--folds=1,2: there are 0 to 1'):
        choose_folds(folds, [2, 1])


def test_published_folds_are_known_by_the_names_of_the_clips_in_any_folder(tmp_path, monkeypatch):
    (tmp_path / 'folds.csv').write_text(PUBLISHED)
    monkeypatch.setattr(published_folds, 'SHA256', hashlib.sha256(b'aany.mp4\t1\ncdef.avi\t0').hexdigest())
    assert [fold.validation for fold in load_folds(tmp_path, 'published', 2)] == [{'a/cdef.avi'}, {'b/aany.mp4'}]
    (tmp_path / 'folds.csv').write_text(PUBLISHED.replace('aany.mp4,0,1,1', 'aany.mp4,0,1,0') + 'x.avi,0,0,1\n')
    with pytest.raises(ValueError, match='does not hold'):
        load_folds(tmp_path, 'published', 2)
