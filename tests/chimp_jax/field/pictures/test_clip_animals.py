"""The animals of one clip: a detector's file becomes targets, one for each animal of a second."""

import json

import numpy as np
import pytest
from make_clips import numbered_frames, write_clip

from chimp_jax.field.pictures.clip_animals import targets_of_animals

LEFT, RIGHT = [0.1, 0.4, 0.2, 0.3], [0.6, 0.4, 0.2, 0.3]  # x, y, width, height


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    """Six seconds of two frames: frame k is at k / 2 s."""
    return str(write_clip(tmp_path_factory.mktemp('clips') / 'Site A' / 'IMG_1.mp4', numbered_frames(12, 36, 64), 2))


def box(frame, bbox, conf=0.9) -> dict:
    return {'category': '1', 'conf': conf, 'bbox': bbox, 'frame_number': frame}


def write(tmp_path, entries: dict):
    """entries: {file: its detections, or the text of a failure}."""
    images = [
        {'file': name, 'frame_rate': 2.0, 'detections': found}
        if isinstance(found, list)
        else {'file': name, 'failure': found, 'detections': None}
        for name, found in entries.items()
    ]
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal'}, 'images': images}
    (tmp_path / 'md.json').write_text(json.dumps(content))
    return tmp_path / 'md.json'


BOXES = [
    *(box(k, LEFT) for k in range(4)),  # seconds 0 and 1
    *(box(k, RIGHT, 0.5) for k in range(2, 8)),  # seconds 1 to 3
    box(8, RIGHT, 0.15),  # second 4: continues the track and is no target
    box(10, LEFT, 0.15),  # no track begins with it
]


@pytest.mark.parametrize('name', ['IMG_1.mp4', 'Site A/IMG_1.mp4', r'D:\cards\site a\IMG_1.MP4'])
def test_a_target_for_each_animal_of_a_second(tmp_path, clip, name):
    task = targets_of_animals(clip, write(tmp_path, {'other.mp4': [box(0, LEFT)], name: BOXES}), 0.2, 0.1)
    targets = [*zip(task.target_time_s, task.target_animal, strict=True)]
    assert targets == [(0, '1'), (1, '1'), (1, '2'), (2, '2'), (3, '2')]
    np.testing.assert_allclose(task.target_box[0], [0.1, 0.4, 0.3, 0.7])
    np.testing.assert_allclose(task.target_box[2], [0.6, 0.4, 0.8, 0.7])
    assert len(task.boxes) == 11 and (task.video_id, task.full_path) == ('IMG_1.mp4', clip)
    assert task.boxes[0][:2] == (0.0, 0.9) and task.boxes[-1][:2] == (4.0, 0.15) and task.boxes[-1][6] == '2'


@pytest.mark.parametrize(
    ('entries', 'message'),
    [
        ({'IMG_2.mp4': BOXES}, r'md\.json does not name .*IMG_1\.mp4; run the detector on this clip'),
        ({'Site B/IMG_1.mp4': BOXES}, r'; it names Site B/IMG_1\.mp4, in another folder; run the detector'),
        ({'c/Site A/IMG_1.mp4': BOXES, 'd/Site A/IMG_1.mp4': BOXES}, r'both may be .*; remove one from the file'),
        ({'IMG_1.mp4': 'no such codec'}, r'md\.json: IMG_1\.mp4: .*no such codec'),
        ({'IMG_1.mp4': []}, r'there is no animal in .*IMG_1\.mp4; leave the boxes out for a distance of every second'),
        ({'IMG_1.mp4': [box(0, LEFT, 0.15)]}, 'there is no animal in'),
        ({'IMG_1.mp4': [box(99, LEFT)]}, r'a detection is in frame 99, but the clip has the frames 0 to 11'),
    ],
)
def test_files_that_do_not_fit_the_clip(tmp_path, clip, entries, message):
    with pytest.raises(ValueError, match=message) as caught:
        targets_of_animals(clip, write(tmp_path, entries), 0.2, 0.1)
    assert '\n' not in str(caught.value)
