"""Where a detector or a person looked in each clip, from their files and the headers of the clips."""

import math

import numpy as np
import pandas as pd
import pytest

from data_prep.inputs import clip_looks
from data_prep.inputs.detections import ClipDetections, Detection
from data_prep.inputs.headers import Header
from data_prep.inputs.looked_at import OWN_SECONDS

BOX = (0.1, 0.1, 0.5, 0.5)
TEN = Header(6.0, 10.0, np.arange(60) / 10)


def clip(name='a.mp4', seen=(), processed=None, rate=10.0):
    return ClipDetections(name, rate, [Detection(number, 0.9, BOX) for number in seen], 'share', processed)


def test_the_last_frame():
    assert clip_looks.last_frame_s(TEN) == 5.9
    assert clip_looks.last_frame_s(Header(6.0, 10.0)) == 5.9
    assert clip_looks.last_frame_s(Header(6.0, 0.0)) == 6.0 and math.isinf(clip_looks.last_frame_s(Header(math.inf, 8)))


def test_frames_of_a_detector_are_at_the_clips_own_times():
    slow = Header(6.0, 10.0, np.r_[np.arange(20) / 10, 2 + np.arange(20) / 5])  # the camera slows down at 2 s
    looks = clip_looks.looks_of_detector(
        [clip('a.mp4', [20, 20], [0, 10, 20, 30, 99]), clip('b.mp4', [], [0])], {'a.mp4': slow}, None
    )
    assert list(looks) == ['a.mp4']  # nobody knows the length of b.mp4
    assert looks['a.mp4'].times_s.tolist() == [0, 1, 2, 4]  # frame 99 does not exist
    assert looks['a.mp4'].n_animals.tolist() == [0, 0, 2, 0]


def test_a_file_that_does_not_list_its_frames():
    clips = [clip(seen=[20]), clip('b.mp4', processed=[0])]
    assert clip_looks.looks_fault('md.json', clips, None) == (
        'md.json does not say in which frames the detector looked (1 of 2 clips have no frames_processed, first a.mp4)'
    )
    assert not clip_looks.looks_of_detector(clips, {'a.mp4': TEN}, None)['a.mp4'].is_known
    assert clip_looks.looks_fault('md.json', clips, 2) == ''
    stated = clip_looks.looks_of_detector(clips, {'a.mp4': TEN}, 2)['a.mp4']
    assert stated.times_s.tolist() == [0, 2, 4] and stated.n_animals.tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match='a.mp4: frame 20 has an animal.*correct --detector_every'):
        clip_looks.looks_of_detector(clips, {'a.mp4': TEN}, 3)


def test_the_best_frame_of_each_clip_alone():
    best = [clip(f'{i}.mp4', [10 * i], [0, 10, 20, 30, 40, 50]) for i in range(5)]
    others = [clip('empty.mp4', [], [0, 10, 20])]
    assert 'md.json seems to hold the best frame of each clip alone: each of 5' in clip_looks.looks_fault(
        'md.json', best + others, None
    )
    assert clip_looks.looks_fault('md.json', best[1:] + others, None) == ''
    (note,) = clip_looks.best_frames_note('md.json', best[1:] + others, None)
    assert note.startswith('md.json: each of the 4 clips with an animal has one in a single frame; if')
    assert clip_looks.best_frames_note('md.json', best[1:], 10.0) == []
    assert clip_looks.best_frames_note('md.json', best + others, None) == []  # refused
    assert clip_looks.best_frames_note('md.json', [best[0], clip('b.mp4', [0, 10], [0, 10, 20])], None) == []
    assert clip_looks.best_frames_note('md.json', best[:1], None) == []  # one short passage tells nothing
    assert clip_looks.looks_fault('md.json', [*best, clip('more.mp4', [0, 10], [0, 10, 20])], None) == ''
    assert clip_looks.looks_fault('md.json', [*best, clip('short.mp4', [0], [0])], None) == ''


def test_a_table():
    rows = pd.DataFrame({'video_id': ['a.mp4', 'a.mp4', 'gone.mp4'], 'time_s': [4, 0, 1]})
    ends_s = {'a.mp4': 5.9, 'b.mp4': 2.9, 'c.mp4': 1.0}
    looks = clip_looks.looks_of_table(rows, [('a.mp4', 2), ('b.mp4', 0)], ends_s, others_empty=False)
    assert {name: look.times_s.tolist() for name, look in looks.items()} == {'a.mp4': [0, 2, 4], 'b.mp4': [0]}
    assert looks['a.mp4'].n_animals.tolist() == [1, 0, 1] and looks['b.mp4'].step_s == OWN_SECONDS
    watched = clip_looks.looks_of_table(rows, [], ends_s, others_empty=True)
    assert {name: look.n_animals.tolist() for name, look in watched.items()} == {
        'a.mp4': [1, 0, 0, 0, 1, 0], 'b.mp4': [0, 0, 0], 'c.mp4': [0, 0]
    }  # fmt: skip


def test_every_second():
    looks = clip_looks.looks_of_every_second({'a.mp4': 5.9, 'b.mp4': math.inf}, 2)
    assert list(looks) == ['a.mp4'] and looks['a.mp4'].times_s.tolist() == [0, 2, 4] and looks['a.mp4'].n_animals.all()
