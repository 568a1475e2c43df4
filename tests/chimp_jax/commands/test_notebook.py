"""docs/demo.ipynb: its cells run, and its saved outputs are those of its code."""

import json
from pathlib import Path

import pytest
from notebook_cells import run_cells
from PIL import Image

DOCS = Path(__file__).resolve().parents[3] / 'docs'
NOTEBOOK = json.loads((DOCS / 'demo.ipynb').read_text())


@pytest.mark.usefixtures('small_model')
def test_from_a_clip_to_distances_and_a_picture(runs, clips, tmp_path, monkeypatch):
    monkeypatch.chdir(DOCS)  # where Jupyter starts
    given = {'CLIP': str(clips / 'st B' / 'IMG_0001.MP4'), 'MEMBERS': str(runs), 'OUT': str(tmp_path / 'out')}
    _, (printed, _), (_, table), (_, picture) = run_cells(NOTEBOOK, given)
    assert '4 distances in' in printed  # the clip has 4 s
    assert table['time'].tolist() == [0, 1, 2, 3] and (table['distance'] >= 0).all()
    assert {'distance', 'spread'} <= set(table.columns)  # which the text explains
    assert isinstance(picture, Image.Image) and min(picture.size) > 300


def test_the_saved_outputs_show_a_table_and_a_picture():
    saved = [output for cell in NOTEBOOK['cells'] for output in cell.get('outputs', ())]
    kinds = {kind for output in saved for kind in output.get('data', ())}
    assert {'text/html', 'image/jpeg'} <= kinds
    assert (DOCS / 'demo.ipynb').stat().st_size < 200_000
