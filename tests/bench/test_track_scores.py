"""IDF1 on cases made by hand, and on cases that TrackEval has scored."""

import json

import numpy as np
import pytest

from bench.track_clips import BoxClip
from bench.track_scores import IdentityCounts, count_identities, measure_speeds, read_clips, score_clips, stretches

BOX = [0.4, 0.4, 0.5, 0.6]
FAR = [0.7, 0.4, 0.8, 0.6]


def counts(truth, found):
    """Counts of rows (time_s, name, box)."""
    return count_identities(*zip(*truth, strict=True), *zip(*found, strict=True))


def test_idf1_by_hand():
    # One animal, 4 pictures. Track 1 has the first 3, and a false box; track 2 has the last one: 3 right, 1 missed,
    # 2 wrong, 1 switch. 2 * 3 / (2 * 3 + 1 + 2).
    truth = [(t, 'a', BOX) for t in range(4)]
    found = [(0, '1', BOX), (1, '1', BOX), (2, '1', BOX), (3, '1', FAR), (3, '2', BOX)]
    assert counts(truth, found) == IdentityCounts(3, 1, 2, 1)
    assert counts(truth, found).idf1 == pytest.approx(6 / 9)


def test_exchanged_names_cost_half():
    # Two animals over 4 pictures; the names change after 2: under the best assignment, 4 of 8 boxes are right.
    truth = [(t, name, box) for t in range(4) for name, box in (('a', BOX), ('b', FAR))]
    found = [(t, '12'[(t > 1) ^ k], box) for t in range(4) for k, box in enumerate((BOX, FAR))]
    assert counts(truth, found) == IdentityCounts(4, 4, 4, 2)


def test_boxes_without_a_track_do_not_count():
    found = [(0, '1', BOX), (0, '', FAR), (1, '', BOX)]
    assert counts([(0, 'a', BOX), (1, 'a', BOX)], found) == IdentityCounts(1, 1, 0, 0)


def made(seed):
    """Truth and found boxes of 4 animals, with misses, false boxes and wrong names."""
    rng, truth, found = np.random.default_rng(seed), [], []
    for t in range(12):
        for a in range(4):
            if rng.random() < 0.8:
                x = 0.2 * a + 0.01 * t
                box = [x, 0.3, x + 0.15, 0.6]
                truth.append((t, a, *box))
                if rng.random() < 0.85:
                    noise = rng.normal(0, 0.015, 4)
                    found.append((t, int((a + (rng.random() < 0.2)) % 5), *(np.array(box) + noise)))
        if rng.random() < 0.3:
            found.append((t, 4, 0.85, 0.7, 0.95, 0.9))
    truth, found = np.array(truth), np.array(found)
    return truth, found[np.unique(found[:, :2], axis=0, return_index=True)[1]]


@pytest.mark.parametrize(
    ('seed', 'expected'), [(0, (19, 19, 10, 6)), (1, (29, 10, 8, 6)), (2, (18, 22, 11, 14)), (4, (23, 9, 7, 6))]
)
def test_counts_equal_those_of_trackeval(seed, expected):
    """TrackEval 1.3.0, Identity and CLEAR with a threshold of 0.5: IDTP, IDFN, IDFP, IDSW."""
    truth, found = made(seed)
    names = found[:, 1].astype(int).astype(str)
    assert count_identities(truth[:, 0], truth[:, 1], truth[:, 2:], found[:, 0], names, found[:, 2:]) == expected


def test_an_animal_out_of_sight_for_more_than_2_seconds_is_a_new_one():
    time_s, findable = np.array([0, 1, 2, 4, 5, 7.5, 8]), np.array([1, 1, 0, 0, 1, 1, 1], bool)
    # Out of sight from 1 s to 5 s, and from 5 s to 7.5 s. The hidden rows belong to the nearest second in sight.
    expected = ['3.0', '3.0', '3.0', '3.1', '3.1', '3.2', '3.2']
    assert stretches(time_s, np.full(7, 3), findable).tolist() == expected


def clip_of(truth, found, **changes):
    """A clip of one animal from rows (time_s, box, counts) and (time_s, box, confidence). It walks 1 m/s."""
    times_s, boxes, count = (np.array(column) for column in zip(*truth, strict=True))
    found_s, found_box, confidence = (np.array(column, float) for column in zip(*found, strict=True))
    place_m = np.stack([np.zeros(len(times_s)), 4 + times_s], 1)[:, None]
    return BoxClip(
        1, times_s, np.zeros(len(times_s), int), boxes, count, count, found_s, found_box, confidence, place_m
    )


def test_a_clip_with_a_missed_box_and_a_hidden_animal():
    # Found at all half seconds but 1.0 s, where the track is interpolated, and at 2.0 s, where the animal is hidden.
    halves = np.arange(0, 4, 0.5)
    clip = clip_of([(t, BOX, t != 2) for t in halves], [(t, BOX, 0.9) for t in halves if t != 1])
    scores = score_clips([clip])
    assert (scores['idf1'], scores['n_clips'], scores['switches'], scores['never_found_share']) == (1, 1, 0, 0)


def test_an_animal_that_is_never_found_is_counted_apart():
    halves = np.arange(0, 4, 0.5)
    clip = clip_of([(t, BOX, True) for t in halves], [(t, BOX, 0.2) for t in halves])
    scores = score_clips([clip])
    assert scores['never_found_share'] == 1 and scores['idf1_with_never_found'] == 0


def test_speed_of_a_straight_walk():
    halves = np.arange(0, 10, 0.5)
    clip = clip_of([(t, BOX, True) for t in halves], [(t, BOX, 0.9) for t in halves])
    speeds = measure_speeds([clip] * 8, 0.5)
    assert speeds['n_walking'] == 8 and speeds['error'] < 0.2 < 0.5 < speeds['straight_lines_error']
    assert speeds['bias'] == pytest.approx(1, abs=0.2)


def test_clips_of_the_simulator_are_read(tmp_path):
    rows = ['video_id,time_s,animal,x1,y1,x2,y2,distance,angle,speed,visible']
    rows += ['a.mp4,0.0,A,0.4,0.4,0.5,0.6,5,30,1,yes', 'a.mp4,0.5,A,,,,,6,0,1,no']
    rows += ['a.mp4,0.0,B,0.7,0.4,0.8,0.6,9,0,0,no', 'a.mp4,0.5,B,0.7,0.4,0.8,0.6,9,0,0,yes']
    (tmp_path / 'animals.csv').write_text('\n'.join(rows) + '\n')
    detection = {'category': '1', 'conf': 0.8, 'bbox': [0.7, 0.4, 0.1, 0.2], 'frame_number': 2}
    image = {'file': 'a.mp4', 'frame_rate': 5.0, 'frames_processed': [0, 2], 'detections': [detection]}
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal'}, 'images': [image]}
    (tmp_path / 'detections.json').write_text(json.dumps(content))
    (clip,) = read_clips(tmp_path)
    assert clip.n_animals == 2 and clip.truth_s.tolist() == [0, 0, 0.5] and clip.truth_animal.tolist() == [0, 1, 1]
    assert clip.truth_counts.tolist() == [True, False, True]
    # Frame 2 of 5 per second, 0.4 s, is the last picture before 0.5 s.
    assert clip.found_s.tolist() == [0.5] and clip.found_confidence.tolist() == [0.8]
    np.testing.assert_allclose(clip.found_box, [FAR])
    np.testing.assert_allclose(clip.place_m[0], [[2.5, 5 * 3**0.5 / 2], [0, 9]])
