"""Chosen labels beside random ones: the draws, the rows that count, and the comparison by hand."""

from pathlib import Path

import numpy as np
import pytest

from bench import choice_of_labels as study
from bench.box_corrections import Rows
from chimp_jax.stations.correction import ASSUMED_ERRORS


def made(n_clips: int = 16, per_clip: int = 4, site: str = 's') -> study.Found:
    """A site whose estimates are 1.3 times too large; seconds 0, 10, 20, ... of each clip."""
    random, n = np.random.default_rng(0), n_clips * per_clip
    label_m = random.uniform(2, 10, n)
    clip = np.repeat([f'{site}{i}' for i in range(n_clips)], per_clip)
    rows = Rows(1.3 * label_m, label_m, random.random((n, 2)), np.full(n, site), clip, np.zeros(n, int))
    return study.Found(rows, np.tile(np.arange(per_clip) * 10, n_clips), np.full(n, 0.9), np.full(n, np.nan))


def test_random_rows_are_of_the_pool():
    found, random = made(), np.random.default_rng(0)
    pool = np.arange(0, 60)
    by_clip = study.random_rows(found.rows, pool, 'clips', 10, random)
    assert len(set(found.rows.clip[by_clip])) == 10 and set(by_clip) <= set(pool)
    by_row = study.random_rows(found.rows, pool, 'rows', 10, random)
    assert len(set(by_row)) == 10 and set(by_row) <= set(pool)


def test_rows_near_a_label_do_not_count():
    found = made()._replace(second=np.tile([0, 4, 5, 30], 16))
    here = np.arange(8)  # two clips
    assert study.far_from(found, here, np.array([0])).tolist() == [2, 3, 4, 5, 6, 7]  # 5 s away is far enough
    assert study.far_from(found, here, np.array([], int)).tolist() == here.tolist()


def test_random_and_chosen_labels_have_the_same_rows(monkeypatch):
    monkeypatch.setattr(study, 'SPLITS', 2)
    monkeypatch.setattr(study, 'DRAWS', 1)
    errors = study.station_errors(made(), 's', ASSUMED_ERRORS)
    assert set(errors) == {(m, w, k) for m in study.MEASURES for w in study.WAYS for k in ('random', 'chosen')}
    for measure in study.MEASURES:
        for way in study.WAYS:
            random, chosen = errors[measure, way, 'random'], errors[measure, way, 'chosen']
            assert random[0] == chosen[0] > 1.3 * chosen[-1] and random[0] > random[-1]


def test_the_summary_by_hand():
    n, goal, least = len(study.NUMBERS), study.NUMBERS.index(10), study.NUMBERS.index(4)
    random, chosen = np.full(n, 2.0), np.full(n, 2.0)
    random[goal], chosen[least:] = 1.5, 1.4
    errors = {
        site: {('station', 'rows', 'random'): random + shift, ('station', 'rows', 'chosen'): chosen + shift}
        for site, shift in (('a', 0.0), ('b', 1.0))
    }
    found = study.summarise(errors, 'station', 'rows')
    assert (found['sites'], found['needed']) == (2, 4)
    assert found['difference_m'] == pytest.approx(-0.1) and found['difference_90_m'] == pytest.approx([-0.1, -0.1])
    errors['a']['station', 'rows', 'chosen'][:] = 9
    assert study.summarise(errors, 'station', 'rows')['needed'] is None


def test_wrong_input_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(study, 'find_spec', lambda name: True)
    with pytest.raises(SystemExit, match='train_labels.csv cannot be read') as refused:
        study.main([str(Path(tmp_path))])
    assert '\n' not in str(refused.value)
    monkeypatch.setattr(study, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit, match='scikit-learn is not installed'):
        study.main([str(tmp_path)])
