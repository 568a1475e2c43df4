"""Looks at clips: boxes, background, resuming by clip, and the file for other programs."""

import json

import numpy as np
import pytest
from make_clips import numbered_frames, write_clip

from chimp_jax import looks
from data_prep.inputs.detections import read_detections
from data_prep.progress import Progress


@pytest.fixture
def clips(tmp_path):
    """a.mp4 of 3 s, b.mp4 of 2 s, and a file that is no clip."""
    write_clip(tmp_path / 'clips' / 'a.mp4', numbered_frames(24), 8)
    write_clip(tmp_path / 'clips' / 'b.mp4', numbered_frames(16), 8)
    (tmp_path / 'clips' / 'c.mp4').write_bytes(b'not a clip')
    return {name: str(tmp_path / 'clips' / name) for name in ('a.mp4', 'b.mp4', 'c.mp4')}


class Detector:
    """Finds one box in every second picture: the middle of the picture."""

    def __init__(self):
        self.n = 0

    def __call__(self, pictures):
        answers = []
        for picture in pictures:
            assert picture.dtype == np.uint8 and picture.shape == (480, 640, 3)
            found = self.n % 2 == 0
            answers.append((np.array([[160, 120, 480, 480.0]] * found).reshape(-1, 4), np.array([0.75] * found)))
            self.n += 1
        return answers


def look(paths, folder, detect, name='detector 1', per_second='2'):
    with Progress('', len(paths)) as progress:
        return looks.look_at_clips(paths, folder, per_second, detect, name, 1, progress)


def test_boxes_are_shares_of_the_picture_with_their_frame_numbers(clips, tmp_path):
    found = look(clips, tmp_path / 'looks', Detector())
    a = found['a.mp4']
    assert a.numbers == [0, 4, 8, 12, 16, 20] and a.times_s == [0, 0.5, 1, 1.5, 2, 2.5]
    assert (a.height_px, a.width_px, a.frame_rate, a.duration_s) == (48, 64, 8, 3)
    # 160 / 640 = 0.25, 120 / 480 = 0.25, 480 / 640 = 0.75, 480 / 480 = 1
    assert a.boxes == [[number, 0.75, 0.25, 0.25, 0.75, 1.0] for number in (0, 8, 16)]
    assert a.background_grey().shape == (480, 640)
    assert 'video' in found['c.mp4'].problem and found['c.mp4'].background_grey() is None


def test_a_second_call_does_what_is_left_and_a_changed_clip_again(clips, tmp_path):
    folder, first = tmp_path / 'looks', Detector()
    before = look({'a.mp4': clips['a.mp4']}, folder, first)
    assert first.n == 6
    again = Detector()
    found = look(clips, folder, again)
    assert again.n == 4 and found['a.mp4'] == before['a.mp4']  # the frames of b.mp4 alone
    write_clip(tmp_path / 'clips' / 'a.mp4', numbered_frames(8), 8)
    changed = Detector()
    assert look(clips, folder, changed)['a.mp4'].numbers == [0, 4] and changed.n == 2
    other = Detector()
    look(clips, folder, other, name='detector 2')
    assert other.n == 6  # 2 frames of a.mp4, 4 of b.mp4
    assert not list(folder.glob('*/scratch-*'))


def test_an_interrupted_look_keeps_the_finished_clips(clips, tmp_path):
    class Breaks(Detector):
        def __call__(self, pictures):
            if self.n:
                raise KeyboardInterrupt
            return super().__call__(pictures)

    with pytest.raises(KeyboardInterrupt):
        look(clips, tmp_path / 'looks', Breaks())
    rest = Detector()
    assert len(look(clips, tmp_path / 'looks', rest)) == 3
    assert rest.n in (4, 6)  # the other one of a.mp4 and b.mp4
    whole, resumed = (look(clips, tmp_path / name, Detector()) for name in ('whole', 'looks'))
    assert {name: list(one.numbers) for name, one in whole.items()} == {
        name: list(one.numbers) for name, one in resumed.items()
    }


def test_the_file_is_read_back_as_megadetectors(clips, tmp_path):
    found = look(clips, tmp_path / 'looks', Detector())
    content = looks.detector_file(found.values(), 'a detector', 0.1, 0.25, '2026-01-01T00:00:00+00:00')
    assert content['info']['format_version'] == '1.5'
    (tmp_path / 'detections.json').write_text(json.dumps(content))
    read = read_detections(tmp_path / 'detections.json', 0.5)
    a, b = read.clips
    assert (a.video_id, a.frame_rate, a.frames_processed) == ('a.mp4', 8, [0, 4, 8, 12, 16, 20])
    assert [(one.frame_number, one.confidence, one.box) for one in a.sightings] == [
        (number, 0.75, (0.25, 0.25, 0.75, 1.0)) for number in (0, 8, 16)
    ]
    assert b.frames_processed == [0, 4, 8, 12]
    (problem,) = read.problems
    assert problem.video_id == 'c.mp4' and 'video' in problem.reason


def test_the_entry_of_a_photo_has_no_frames(tmp_path):
    # github.com/agentmorris/MegaDetector, megadetector-output-format.md: frame_rate and frame_number are for videos
    box = [0, 0.75, 0.25, 0.25, 0.75, 1.0]
    photo = looks.ClipLook('a/1.JPG', '', numbers=[0], times_s=[0.0], boxes=[box])
    (entry,) = looks.detector_file([photo], 'd', 0.1, 0.25, '2024-03-01T08:00:00+00:00')['images']
    assert entry == {
        'file': 'a/1.JPG',
        'detections': [{'category': '1', 'conf': 0.75, 'bbox': [0.25, 0.25, 0.5, 0.75]}],
    }
    file = tmp_path / 'md.json'
    file.write_text(json.dumps({'detection_categories': {'1': 'animal'}, 'images': [entry]}))
    found = read_detections(file, 0.2)
    assert found.clips[0].sightings[0].frame_number == 0 and not found.notes and not found.problems
