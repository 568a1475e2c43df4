"""The share of animals that were not detected, by hand."""

import math

import numpy as np
import pandas as pd

from chimp_jax.field.calibration.ground_rows import NO_BOX
from chimp_jax.field.evaluate import evaluate, join_truth
from chimp_jax.field.measured.detected import detection_table, seen_animals
from chimp_jax.field.measured.matching import match_animals
from chimp_jax.field.measured.reading import read_distances
from chimp_jax.field.measured.screen import detection_lines, matched_lines, screen_lines

HEADER = 'video_id,time,animal,distance,status,bbox_x,bbox_y,bbox_width,bbox_height'
LEFT, RIGHT = '0.1,0.2,0.2,0.4', '0.6,0.2,0.2,0.4'
# Animal 1 is detected at 0 and 1 s, animal 2 at 1 s only. c.mp4 has a second without a box and a lost one.
ROWS = [
    f'a.mp4,0,1,2.5,ok,{LEFT}',
    f'a.mp4,1,1,3.0,ok,{LEFT}',
    f'a.mp4,1,2,9.0,ok,{RIGHT}',
    'c.mp4,0,,4.0,ok,,,,',
    'c.mp4,1,,,not decoded,,,,',
    f'c.mp4,2,,,{NO_BOX},,,,',
    'c.mp4,3,,7.0,known distance,,,,',
]
IN_LEFT, IN_RIGHT = (0.1, 0.2, 0.3, 0.6), (0.6, 0.2, 0.8, 0.6)
NOWHERE = (math.nan,) * 4
# near and far are the animals 1 and 2 of a.mp4. gone is in the picture, but the detector never found it.
KNOWN = [
    ('a.mp4', 0, 'near', 2.0, IN_LEFT),
    ('a.mp4', 0, 'far', 8.0, IN_RIGHT),
    ('a.mp4', 1, 'near', 2.0, IN_LEFT),
    ('a.mp4', 1, 'far', 7.0, IN_RIGHT),
    ('a.mp4', 2, 'far', 6.0, IN_RIGHT),
    ('b.mp4', 0, 'gone', 11.0, NOWHERE),
    ('b.mp4', 1, 'gone', 9.0, NOWHERE),
    ('c.mp4', 0, '', 4.0, NOWHERE),
    ('c.mp4', 1, '', 4.0, NOWHERE),
    ('c.mp4', 2, '', 4.0, NOWHERE),
    ('c.mp4', 3, '', 7.0, NOWHERE),
    ('d.mp4', 0, 'unwatched', 4.0, NOWHERE),
]
# near 0, far 0, near 1, far 1, far 2, gone 0, gone 1, c 0 (a distance without a box), c 1 (lost), c 2, c 3 (known), d
SEEN = [1, 0, 1, 1, 0, 0, 0, 0, math.nan, 0, math.nan, math.nan]


def tables(tmp_path, lines=ROWS):
    (tmp_path / 'distances.csv').write_text('\n'.join([HEADER, *lines]) + '\n')
    truth = pd.DataFrame(KNOWN, columns=['video_id', 'time', 'animal', 'distance', 'box']).assign(site='')
    return read_distances(tmp_path / 'distances.csv'), truth


def seen(rows, truth):
    has_boxes = bool(rows['bbox_x'].notna().any())
    return seen_animals(match_animals(truth, rows), rows, truth['video_id'], ['d.mp4'], has_boxes)


def test_an_animal_without_a_box_in_its_second_is_not_detected(tmp_path):
    rows, truth = tables(tmp_path)
    np.testing.assert_array_equal(seen(rows, truth), SEEN)


def test_nothing_is_known_if_no_detector_looked(tmp_path):
    rows, truth = tables(tmp_path, [f'{line.rpartition(",ok,")[0]},ok,,,,' for line in ROWS[:3]])
    assert np.isnan(seen(rows, truth)).all()
    table = detection_table(truth, seen(rows, truth), np.array([0.0, 5.0, 10.0]))
    assert table['seconds'].tolist() == [0] and detection_lines(table) == []


def test_shares_by_distance(tmp_path):
    rows, truth = tables(tmp_path)
    table = detection_table(truth, seen(rows, truth), np.array([0.0, 5.0, 10.0])).set_index('name')
    # Up to 5 m: near 0, near 1, c 0, c 2. Up to 10 m: far 0, far 1, far 2, gone 1. Above: gone 0.
    columns = ['seconds', 'not_detected', 'animals', 'never_detected']
    assert table[columns].T.to_dict('list') == {
        'all': [9, 6, 3, 1],
        '0 to 5 m': [4, 2, 1, 0],  # near
        '5 to 10 m': [4, 3, 2, 1],  # far, and gone by its nearest distance of 9 m
        'above 10 m': [1, 1, 0, 0],
    }
    assert table.loc['5 to 10 m', ['share', 'share_never']].tolist() == [0.75, 0.5]
    assert math.isnan(table.loc['above 10 m', 'share_never'])
    lines = detection_lines(table.reset_index())
    assert lines[0] == (
        'Not detected: 6 of 9 measured animals in their second; 1 of 3 animals with a name in none of their seconds.'
    )
    assert lines[3].split() == '5 to 10 m 4 75 % 2 50 %'.split()
    assert lines[4].split() == 'above 10 m 1 100 % 0'.split()


def test_errors_with_one_and_with_several_animals_in_view(tmp_path):
    rows, truth = tables(tmp_path)
    joined, left_out, matched = join_truth(rows, truth)
    # near 0 (2.5 - 2; two are measured), near 1 (3 - 2), far 1 (9 - 7), c 0 (4 - 4)
    assert (joined['distance'] - joined['truth']).tolist() == [0.5, 1.0, 2.0, 0.0]
    assert joined['in_view'].tolist() == [2, 2, 2, 1]
    table = evaluate(joined, [0, 5, 10]).set_index(['scope', 'name'])
    assert table.loc['animals']['mae'].to_dict() == {'one in view': 0.0, 'several in view': 3.5 / 3}
    assert table.loc['animals']['n'].to_dict() == {'one in view': 1, 'several in view': 3}
    assert table.loc['band']['n'].to_dict() == {'0 to 5 m': 3, '5 to 10 m': 1}
    assert 'several in view' in '\n'.join(screen_lines(table.reset_index()))
    assert matched_lines(matched['how']) == ['Matched with the estimates: 3 by box, 4 alone in the second.']
    assert left_out['known, without a row'] == [
        'a.mp4 at 0 s, animal far',
        'a.mp4 at 2 s, animal far',
        'b.mp4 at 0 s, animal gone',
        'b.mp4 at 1 s, animal gone',
        'd.mp4 at 0 s, animal unwatched',
    ]
    assert left_out['known, without an estimate'] == ['c.mp4 at 1 s', 'c.mp4 at 2 s']
