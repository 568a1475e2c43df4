"""The scores of distances per animal, by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small import record

from bench import animal_scores

BOX = {'a': (0.1, 0.2, 0.3, 0.4), 'b': (0.5, 0.2, 0.7, 0.6), 'c': (0.6, 0.1, 0.9, 0.3)}


def clip(name, targets, boxes):
    """targets: (second, animal, has a box). boxes: (time, animal, confidence)."""
    return dataclasses.replace(
        record(name, 3, [0] * len(targets), seed=0),
        target_time_s=np.array([second for second, _, _ in targets], np.int32),
        target_animal=[animal for _, animal, _ in targets],
        target_box=np.array([BOX[a] if found else [np.nan] * 4 for _, a, found in targets], np.float32),
        target_distance_m=np.ones(len(targets), np.float32),
        box_time_s=np.array([time_s for time_s, _, _ in boxes], np.float32),
        box=np.array([BOX[animal] for _, animal, _ in boxes], np.float32),
        box_confidence=np.array([confidence for _, _, confidence in boxes], np.float32),
        box_animal=[animal for _, animal, _ in boxes],
    )


def test_each_animal_gets_the_boxes_of_the_next_one():
    targets = [(0, 'a', True), (0, 'b', True), (2, 'a', True), (2, 'c', True)]
    boxes = [(0, 'a', 0.9), (0, 'b', 0.8), (2, 'a', 0.7), (2, 'c', 0.6)]
    changed = animal_scores.exchange_boxes(clip('k.mp4', targets, boxes))
    # a gets the boxes of b, b those of c, c those of a
    found = list(zip(changed.box_time_s.tolist(), changed.box_animal, changed.box.round(6).tolist(), strict=True))
    at = {(time_s, animal): tuple(np.round(box, 3)) for time_s, animal, box in found}
    assert at == {(0, 'c'): BOX['a'], (0, 'a'): BOX['b'], (2, 'c'): BOX['a'], (2, 'b'): BOX['c']}
    assert changed.box_animal == ['a', 'c', 'b', 'c']  # sorted by time and animal
    assert changed.box_confidence == pytest.approx([0.8, 0.9, 0.6, 0.7])
    # targets: a at 0 has b's box; b at 0 has none, since c is not there; a at 2 has none; c at 2 has a's
    assert np.isnan(changed.target_box[[1, 2]]).all()
    assert changed.target_box[[0, 3]] == pytest.approx(np.array([BOX['b'], BOX['a']]))
    assert changed.target_animal == ['a', 'b', 'a', 'c']


def test_one_animal_keeps_its_boxes():
    alone = clip('k.mp4', [(0, 'a', True)], [(0, 'a', 0.9)])
    changed = animal_scores.exchange_boxes(alone)
    np.testing.assert_array_equal(changed.box, alone.box)
    np.testing.assert_array_equal(changed.target_box, alone.target_box)
    assert animal_scores.targets_of([alone])['other'].tolist() == ['']


def test_scores_by_hand():
    rows = pd.DataFrame(
        [
            # one in view: errors 1 and 2; one without a box does not count
            ('k', 0, 'a', 5.0, 6.0, 5.0, 6.0, True, 'b'),
            ('k', 2, 'b', 5.0, 3.0, 5.0, 3.0, True, 'a'),
            ('k', 4, 'b', 5.0, 99.0, 5.0, 99.0, False, 'a'),
            # two in view, 3 m and 12 m: errors 0.5 and 1.5, copied 4.5 and 4.5; both follow
            ('k', 6, 'a', 3.0, 3.5, 7.5, 10.0, True, 'b'),
            ('k', 6, 'b', 12.0, 10.5, 7.5, 4.0, True, 'a'),
            # 1.2 times apart: too near to each other to count as an exchange; errors 0 and 2, copied 0.5 and 0.5
            ('k', 8, 'a', 5.0, 5.0, 5.5, 4.0, True, 'b'),
            ('k', 8, 'b', 6.0, 8.0, 5.5, 5.0, True, 'a'),
            # the other has no box: counts as one of two in view, and not as exchanged; error 1, copied 2
            ('m', 0, 'a', 4.0, 5.0, 6.0, 9.0, True, 'b'),
            ('m', 0, 'b', 8.0, 4.0, 6.0, 9.0, False, 'a'),
            # a follows, b does not; errors 0 and 0, copied 3 and 3
            ('m', 2, 'a', 2.0, 2.0, 5.0, 7.0, True, 'b'),
            ('m', 2, 'b', 8.0, 8.0, 5.0, 8.5, True, 'a'),
        ],
        columns=['video_id', 'time', 'animal', 'true', 'distance', 'copied', 'exchanged', 'has_box', 'other'],
    )
    assert animal_scores.summarize(rows.sample(frac=1, random_state=0)) == pytest.approx(
        {
            'mae_one_m': (1 + 2) / 2,
            'mae_many_m': (0.5 + 1.5 + 0 + 2 + 1 + 0 + 0) / 7,
            'mae_copied_m': (4.5 + 4.5 + 0.5 + 0.5 + 2 + 3 + 3) / 7,
            'swap_share': 3 / 4,
            'n_one': 2,
            'n_many': 7,
            'n_exchanged': 4,
            'n_without_box': 2,
        }
    )


def test_only_whole_seconds_of_the_truth_are_targets(tmp_path):
    (tmp_path / 'animals.csv').write_text('video_id,time_s,animal,distance\nk,0.5,a,3\nk,1.0,a,4.25\nk,2.0,b,7\n')
    truth = animal_scores.read_truth(tmp_path)
    assert truth.to_numpy().tolist() == [['k', 1, 'a', 4.25], ['k', 2, 'b', 7.0]]
