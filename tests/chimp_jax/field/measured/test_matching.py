"""Which row of distances.csv is which measured animal, by hand."""

import math

import pandas as pd
import pytest

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.measured.matching import match_animals

NO_BOX = (math.nan,) * 4
LEFT, RIGHT = (0.1, 0.2, 0.3, 0.6), (0.6, 0.2, 0.8, 0.6)


def known(*animals):
    """(animal, x1, y1, x2, y2) of measured animals in second 3 of one clip."""
    rows = [('a.mp4', 3, animal, tuple(box) or NO_BOX) for animal, *box in animals]
    return pd.DataFrame(rows, columns=['video_id', 'time', 'animal', 'box'])


def estimated(*animals):
    """(animal, x1, y1, x2, y2) of rows of distances.csv in the same second."""
    rows = []
    for animal, *box in animals:
        x1, y1, x2, y2 = box or NO_BOX
        rows.append(('a.mp4', 3, animal, x1, y1, x2 - x1, y2 - y1))
    return pd.DataFrame(rows, columns=['video_id', 'time', 'animal', *BOX])


def shifted(box, by):
    return tuple(value + by for value in box[:1]) + box[1:2] + tuple(value + by for value in box[2:3]) + box[3:]


# Two boxes 0.2 wide, one moved by d to the side: they share 0.2 - d of 0.2 + d. d = 0.1: 1/3, d = 0.11: 0.29.
@pytest.mark.parametrize(
    ('by', 'place', 'how'), [(0.0, 0, 'by box'), (0.1, 0, 'by box'), (0.11, -1, 'boxes elsewhere')]
)
def test_boxes_must_overlap_by_three_tenths(by, place, how):
    found = match_animals(known(('', *LEFT)), estimated(('1', *shifted(LEFT, by))))
    assert found.values.tolist() == [[place, how]]


@pytest.mark.parametrize(
    ('truth', 'rows', 'expected'),
    [
        # Boxes decide, even if other names agree.
        ([('1', *LEFT), ('2', *RIGHT)], [('1', *RIGHT), ('2', *LEFT)], [(1, 'by box'), (0, 'by box')]),
        ([('a', *LEFT), ('b', *RIGHT)], [('1', *RIGHT)], [(-1, 'without a row'), (0, 'by box')]),
        ([('a', *LEFT)], [('1', *RIGHT), ('2', 0.1, 0.7, 0.3, 0.9)], [(-1, 'boxes elsewhere')]),
        # Names count if they agree and a box is missing.
        ([('b',), ('a',)], [('a', *LEFT), ('b', *RIGHT)], [(1, 'by name'), (0, 'by name')]),
        ([('b',), ('c',)], [('a',), ('b',)], [(1, 'by name'), (-1, 'of several animals without names or boxes')]),
        ([('b',), ('c',)], [('b',)], [(0, 'by name'), (-1, 'without a row')]),
        # One on both sides.
        ([('a',)], [('1', *LEFT)], [(0, 'alone in the second')]),
        ([('a', *LEFT)], [('',)], [(0, 'alone in the second')]),
        # Several, and nothing tells which: never in the order of the distances.
        ([('a',), ('b',)], [('1', *LEFT), ('2', *RIGHT)], [(-1, 'of several animals without names or boxes')] * 2),
        ([('a',), ('b',)], [('',)], [(-1, 'of several animals without names or boxes')] * 2),
        ([('',)], [('1', *LEFT), ('2', *RIGHT)], [(-1, 'of several animals without names or boxes')]),
        # Boxes in pixels cannot be compared.
        ([('a', 100, 200, 300, 600)], [('1', *LEFT)], [(0, 'alone in the second')]),
    ],
)
def test_boxes_then_names_then_the_only_one(truth, rows, expected):
    found = match_animals(known(*truth), estimated(*rows))
    assert list(found.itertuples(index=False, name=None)) == expected


def test_the_best_sum_of_overlaps_counts():
    # The first animal overlaps both rows; the second only the first row.
    truth = known(('a', 0.10, 0, 0.50, 1), ('b', 0.00, 0, 0.30, 1))
    rows = estimated(('1', 0.05, 0, 0.40, 1), ('2', 0.20, 0, 0.50, 1))
    # a with 1: 0.30 / 0.45 = 0.667; a with 2: 0.30 / 0.40 = 0.75; b with 1: 0.25 / 0.40 = 0.625; b with 2: 0.1 / 0.5.
    assert match_animals(truth, rows)['place'].tolist() == [1, 0]


def test_other_clips_and_seconds_are_not_mixed():
    truth = pd.concat([known(('a',)), known(('a',)).assign(time=4), known(('a',)).assign(video_id='b.mp4')])
    truth = truth.set_axis([7, 8, 9])
    rows = pd.concat([estimated(('a',)).assign(video_id='b.mp4'), estimated(('a',)).assign(time=5), estimated(('a',))])
    found = match_animals(truth, rows.reset_index(drop=True))
    assert found['place'].to_dict() == {7: 2, 8: -1, 9: 0}
    assert found.loc[8, 'how'] == 'without a row'
