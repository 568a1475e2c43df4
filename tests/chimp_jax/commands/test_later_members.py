"""A member that joins later is asked alone, and the results are those of all members at once."""

import shutil

import pandas as pd
import pytest
from run_estimate import RECIPES, estimate, read

from chimp_jax import panel

pytestmark = pytest.mark.usefixtures('small_model')


def test_a_later_member_costs_only_itself(runs, clips, tmp_path, monkeypatch):
    assert estimate(runs, clips, tmp_path / 'at_once', '--details') == 3
    score, asked = panel.Panel.score, []
    monkeypatch.setattr(panel.Panel, 'score', lambda self, m, *a: asked.append(m.name) or score(self, m, *a))
    shutil.copytree(runs / RECIPES[0], tmp_path / 'runs' / RECIPES[0])
    assert estimate(tmp_path / 'runs', clips, tmp_path / 'later') == 3
    assert {*asked} == {f'{RECIPES[0]}/fold_0', f'{RECIPES[0]}/fold_1'}
    first = read(tmp_path / 'later')
    asked.clear()
    shutil.copytree(runs / RECIPES[1], tmp_path / 'runs' / RECIPES[1])
    assert estimate(tmp_path / 'runs', clips, tmp_path / 'later', '--details') == 3
    assert {*asked} == {f'{RECIPES[1]}/fold_0', f'{RECIPES[1]}/fold_1'}
    for name in ('distances.csv', 'clips.csv'):
        assert (tmp_path / 'at_once' / name).read_bytes() == (tmp_path / 'later' / name).read_bytes()
    # Without the later recipe the first results are used again.
    asked.clear()
    shutil.rmtree(tmp_path / 'runs' / RECIPES[1])
    assert estimate(tmp_path / 'runs', clips, tmp_path / 'later') == 3
    assert not asked
    pd.testing.assert_frame_equal(read(tmp_path / 'later'), first)
