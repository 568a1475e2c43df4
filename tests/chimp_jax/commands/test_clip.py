"""chimp-distance clip with the boxes of a detector: a row and a line for each animal of a second."""

import json

import numpy as np
import pandas as pd
import pytest

from chimp_jax.commands import clip, entry

pytestmark = pytest.mark.usefixtures('small_model')

LEFT, RIGHT = [0.1, 0.4, 0.2, 0.3], [0.6, 0.4, 0.2, 0.3]  # x, y, width, height


def boxes_file(tmp_path, boxes: list[tuple]) -> str:
    """boxes: (frame, of 8 per second; box)."""
    found = [{'category': '1', 'conf': 0.9, 'bbox': bbox, 'frame_number': frame} for frame, bbox in boxes]
    entry = {'file': 'st B/IMG_0001.MP4', 'frame_rate': 8.0, 'detections': found}
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal'}, 'images': [entry]}
    (tmp_path / 'md.json').write_text(json.dumps(content))
    return str(tmp_path / 'md.json')


def test_each_animal_has_a_row_a_line_and_a_box(runs, clips, tmp_path, capsys, monkeypatch):
    drawn = {}
    monkeypatch.setattr(clip, 'draw_clip', lambda path, **what: drawn.update(what))
    boxes = [(frame, LEFT) for frame in range(0, 16, 4)] + [(frame, RIGHT) for frame in range(8, 32, 4)]
    file, out = boxes_file(tmp_path, boxes), tmp_path / 'out'
    path = clips / 'st B' / 'IMG_0001.MP4'
    arguments = ['--clip', str(path), '--members', str(runs), '--out', str(out), '--detections', file]
    assert entry.main(['clip', *arguments]) == 0
    printed = capsys.readouterr().out
    rows = pd.read_csv(out / 'distances.csv', dtype={'animal': str})
    # Frames 0 to 12 are in seconds 0 and 1, frames 8 to 28 in seconds 1 to 3.
    assert list(zip(rows['time'], rows['animal'], strict=True)) == [(0, '1'), (1, '1'), (1, '2'), (2, '2'), (3, '2')]
    np.testing.assert_allclose(rows['bbox_x'], [0.1, 0.1, 0.6, 0.6, 0.6], atol=1e-6)
    assert list(drawn['animal']) == ['1', '1', '2', '2', '2'] and list(drawn['frame_time_s']) == [0, 1, 2, 3]
    np.testing.assert_allclose(drawn['box'][2], [0.6, 0.4, 0.8, 0.7], atol=1e-6)
    np.testing.assert_allclose(drawn['distance_m'], rows['distance'], atol=1e-6)
    # The members see the whole picture, so both animals of second 1 have one distance. Picture and screen say so.
    assert rows['distance'][1] == rows['distance'][2]
    assert drawn['note'] == 'The members give one distance to all animals of a second.' and drawn['note'] in printed
    assert '5 distances of 2 animals in' in printed


def test_one_animal_at_a_time_needs_no_note(runs, clips, tmp_path, capsys, monkeypatch):
    drawn = {}
    monkeypatch.setattr(clip, 'draw_clip', lambda path, **what: drawn.update(what))
    arguments = ['--clip', str(clips / 'st B' / 'IMG_0001.MP4'), '--members', str(runs), '--out', str(tmp_path / 'out')]
    assert entry.main(['clip', *arguments, '--detections', boxes_file(tmp_path, [(0, LEFT), (8, LEFT)])]) == 0
    assert not drawn['note'] and 'one distance' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['--detect', '--detections', 'md.json'], '--detect finds the animals itself, and --detections gives them'),
        (['--detections', 'gone.json'], r'gone.json'),
    ],
)
def test_flags_that_do_not_fit(runs, clips, tmp_path, capsys, more, message):
    path = clips / 'st B' / 'IMG_0001.MP4'
    arguments = ['clip', '--clip', str(path), '--members', str(runs), '--out', str(tmp_path / 'out')]
    assert entry.main([*arguments, *more]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_no_animal_is_refused_before_the_work(runs, clips, tmp_path, capsys):
    path = clips / 'st B' / 'IMG_0001.MP4'
    arguments = ['clip', '--clip', str(path), '--members', str(runs), '--out', str(tmp_path / 'out')]
    assert entry.main([*arguments, '--detections', boxes_file(tmp_path, [])]) == 1
    assert 'there is no animal in' in capsys.readouterr().err
