import json

import pytest

from data_prep.inputs.detections import ClipDetections, Detection, read_detections
from data_prep.inputs.frame_times import best_by_second

NAMES, NAMES_FROM_0 = {'1': 'animal', '2': 'person'}, ['Animal', 'person']
BOX, CORNERS = [0.25, 0.5, 0.5, 0.25], (0.25, 0.5, 0.75, 0.75)


def animal(conf=0.9, frame=30, **other):
    return {'category': '1', 'conf': conf, 'bbox': BOX, 'frame_number': frame} | other


def clip(*detections, file='a.mp4', **other):
    return {'file': file, 'detections': list(detections), 'frame_rate': 30} | other


def pixel(conf=0.9, **other):
    return {'category': 'animal', 'confidence': conf, 'bbox': [10, 20, 110, 70.5], 'frame_number': 30} | other


def read(folder, content, min_confidence=0.2):
    path = folder / 'md.json'
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_detections(path, min_confidence)


def read_images(folder, *images, names=NAMES):
    return read(folder, {'info': {'format_version': '1.5'}, 'detection_categories': names, 'images': list(images)})


def test_megadetector_results(tmp_path):
    below, person = animal(0.1999), animal(category='2', bbox=None)
    seen = clip(animal(0.2, 0), below, person, animal(0.5, 60, bbox=[0.5, 0, 0.504, 1]), file='x\\a.MP4')
    unseen = clip(file='b.avi', frame_rate=29.97, failure=None), {'file': 'c.mp4', 'detections': []}
    assert read_images(tmp_path, seen, *unseen).clips == [
        ClipDetections('x/a.MP4', 30.0, [Detection(0, 0.2, CORNERS), Detection(60, 0.5, (0.5, 0, 1, 1))], 'share'),
        ClipDetections('b.avi', 29.97, [], 'share'),
        ClipDetections('c.mp4', None, [], 'share'),
    ]


def test_names_count_not_ids(tmp_path):
    found = read_images(tmp_path, clip(animal(), animal(0.7, category='7')), names={'1': 'human', '7': ' Animal'})
    assert found.clips[0].sightings == [Detection(30, 0.7, CORNERS)]
    with pytest.raises(ValueError, match="md.json: none of the categories .'deer'. is named animal"):
        read_images(tmp_path, clip(animal()), names={'1': 'deer'})
    with pytest.raises(ValueError, match=r"md.json does not name its categories \('1'\).*detection_categories"):
        read_images(tmp_path, clip(animal()), names=None)


LISTS = {'bbox': [[10, 20, 110, 70.5], [0, 0, 5, 5]], 'category': [0, 1], 'confidence': [0.9, 0.8], 'frame_number': 30}
WITH_CLASSES = {f'det_{key}': LISTS[key] for key in ('category', 'confidence')} | {'clf_category': [3, 3]}


def exported(entry, categories, key='categories'):
    return {'annotations': [{'img_id': 'a.mp4'} | entry], key: categories, 'clf_categories': {'3': 'ocelot'}}


@pytest.mark.parametrize(
    'content',
    [
        [{'file': 'a.mp4', 'detections': [pixel(), pixel(category='person'), pixel(0.1)]}],
        [{'file': 'a.mp4', 'frame_number': 30, 'detections': [{k: v for k, v in pixel().items() if k[0] != 'f'}]}],
        exported(LISTS, {'0': 'animal', '1': 'person'}),
        exported(LISTS | {'frame_number': [30, 60]}, NAMES_FROM_0),
        exported({'detections': [pixel(category=4)]}, [{'id': 4, 'name': 'animal'}, {'id': 0, 'name': 'person'}]),
        exported(WITH_CLASSES | {key: LISTS[key] for key in ('bbox', 'frame_number')}, NAMES_FROM_0, 'det_categories'),
    ],
)
def test_pytorch_wildlife_results(tmp_path, content):
    sighting = Detection(30, 0.9, (10, 20, 110, 70.5))
    assert read(tmp_path, content) == ([ClipDetections('a.mp4', None, [sighting], 'pixel')], [], [])


def test_pytorch_wildlife_without_category_names(tmp_path):
    assert read(tmp_path, exported(LISTS, None), 0.95).clips[0].sightings == []  # no name is required
    with pytest.raises(ValueError, match=r'does not name its categories \(0\); .*categories=model.CLASS_NAMES'):
        read(tmp_path, exported(LISTS, None))


def test_entries_of_one_clip_are_merged_and_stills_ignored(tmp_path):
    stills = [clip(animal(), file=f'{k}.JPG', failure='no') for k in range(3)]
    again = clip(animal(0.6, 0), animal(), file='x/a.mp4', frame_rate=None)
    found = read_images(tmp_path, clip(animal(), file='x\\a.mp4'), *stills, clip(file='b.mp4'), again, again)
    assert [(seen.video_id, seen.frame_rate) for seen in found.clips] == [('x/a.mp4', 30), ('b.mp4', 30)]
    assert found.clips[0].sightings == [Detection(30, 0.9, CORNERS), Detection(0, 0.6, CORNERS)]
    assert found.notes == ['md.json: still images ignored in 3 entries, first in images[1]']


@pytest.mark.parametrize(
    'entry, reason',
    [
        ({'file': 'a.mp4', 'detections': None, 'failure': 'no\nframes'}, r"the detector failed: 'no\nframes'"),
        ({'file': 'a.mp4'}, 'its detections are None, not a list; run the detector on it again'),
        ({'file': 'a.mp4', 'detections': [3]}, 'its detections are [3], not a list'),
        (clip(animal(frame=None)), 'run the detector on video frames with frame numbers'),
        (clip(animal(frame=-1)), 'the frame_number -1 is not a number from 0 to 1e+09'),
        (clip(animal(frame=1.5)), 'the frame_number 1.5 is not a whole number'),
        (clip(animal(frame=True)), 'the frame_number True is not'),
        (clip(animal(frame=10**400)), 'is not a number from 0 to 1e+09'),
        (clip(animal(conf=float('nan'))), 'the confidence nan is not a number from 0 to 1'),
        (clip(animal(conf=1.01)), 'the confidence 1.01 is not'),
        (clip(pixel()), 'the confidence None is not'),  # it is in pixels
        (clip(animal(category='9')), "the category '9' is not among the category names"),
        (clip(animal(bbox=[0, 0, 1])), 'the bbox [0, 0, 1] is not 4 numbers'),
        (clip(animal(bbox=[0, 0, 1, float('inf')])), 'the bbox value inf is not a number from -0.01 to 1.01'),
        (clip(animal(bbox=[0.5, 0.5, -0.01, 0.1])), 'has a negative size'),
        (clip(animal(bbox=[0.5, 0.5, 0.6, 0.1])), 'the bbox end 1.1 is not'),
        (clip(animal(bbox=[10, 20, 110, 70])), 'the bbox value 10 is not'),
        (clip(frame_rate=0), 'the frame_rate 0 is not a number from 0.001'),
        (clip(frame_rate=25), 'the frame_rate is 25 here, 30 in an earlier entry'),
    ],
)
def test_a_faulty_entry_is_a_problem_of_its_clip(tmp_path, entry, reason):
    found = read_images(tmp_path, clip(file='b.mp4'), clip(animal()), entry, clip(animal(), file='c.mp4'))
    assert [seen.video_id for seen in found.clips] == ['b.mp4', 'c.mp4']
    assert [problem[:3] for problem in found.problems] == [('a.mp4', 'md.json:images[2]', 'detections')]
    assert reason in found.problems[0].reason and '\n' not in found.problems[0].reason


@pytest.mark.parametrize(
    'entry, reason',
    [
        ({'file': 'a.mp4', 'detections': [pixel(bbox=[0.1, 0.2, 0.5, 1])]}, 'is not in pixels'),
        ({'file': 'a.mp4', 'detections': [pixel(bbox=[9, 2, 8, 5])]}, 'has a negative size'),
        ({'file': 'a.mp4', 'detections': [animal()]}, 'the confidence None is not'),  # it is in shares
        ({'file': 'a.mp4'} | LISTS | {'category': [0]}, 'are not lists of one length'),
        ('a.mp4', "'a.mp4' names no file"),
    ],
)
def test_faults_in_a_list(tmp_path, entry, reason):
    found = read(tmp_path, [{'file': 'b.mp4', 'detections': [pixel()]}, entry])
    assert [seen.video_id for seen in found.clips] == ['b.mp4']
    assert found.problems[0].row == 'md.json:[1]' and reason in found.problems[0].reason


@pytest.mark.parametrize(
    'content, reason',
    [
        (b'', 'Expecting value'),
        (b'{"images": [{"file": "a.mp4", "det', 'Unterminated string'),
        (b'[' * 1_000_000, 'recursion'),
        ('{"images": []}'.encode('utf-16'), "can't decode byte 0xff"),
        (b'{"images": [], "x": ' + b'9' * 5000 + b'}', '4300 digits'),
        ({'type': 'FeatureCollection'}, "md.json is {'type': 'FeatureCollection'}; expected MegaDetector's"),
        ({'images': [{'id': 1, 'file_name': 'a.mp4'}], 'annotations': []}, "expected MegaDetector's"),  # COCO
        ([7], r'md.json is \[7\]; expected'),
    ],
)
def test_another_format_is_refused_in_one_line(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read(tmp_path, content)
    assert 'md.json' in str(error.value) and len(str(error.value).splitlines()) == 1


def test_a_missing_file_and_odd_ones(tmp_path):
    with pytest.raises(ValueError, match='md.json.*No such file.*; give the complete JSON file'):
        read_detections(tmp_path / 'md.json', 0.2)
    with pytest.raises(ValueError, match='min_confidence nan'):
        read(tmp_path, [], float('nan'))
    assert read(tmp_path, b'\xef\xbb\xbf[]') == ([], [], [])  # a byte order mark
    deep = b'{"images": [{"file": "a\\ud800.mp4", "failure": ' + b'[' * 400 + b']' * 400 + b'}]}'
    (problem,) = read(tmp_path, deep).problems
    assert problem.video_id.encode() == b'a\\ud800.mp4' and len(problem.reason) < 100


def test_one_hundred_thousand_entries(tmp_path):
    apart = [clip(animal(), file=f'{k}.mp4') for k in range(50_000)]
    of_one_clip = [clip(animal(frame=k)) for k in range(50_000)]
    found = read_images(tmp_path, *apart, *of_one_clip)
    assert (len(found.clips), len(found.clips[-1].sightings)) == (50_001, 50_000)


@pytest.mark.parametrize(
    'frame_rate, seconds',  # {frame: its second}
    [
        (30, {29: 0, 30: 1, 59: 1, 60: 2}),
        (30000 / 1001, {29: 0, 30: 1, 60: 2, 29_999: 1000, 30_000: 1001}),  # 30,000 frames are 1,001 s
        (24000 / 1001, {23_999: 1000, 24_000: 1001}),  # as floats 24,000 frames are 1,000.9999999999999 s
        (0.1, {0: 0, 1: 10, 3: 30}),  # as floats 3 // 0.1 is 29
    ],
)
def test_seconds(frame_rate, seconds):
    for frame, second in seconds.items():
        seen = Detection(frame, 1, CORNERS)
        assert best_by_second(ClipDetections('a', None, [seen], 'share'), frame_rate) == {second: seen}


def test_the_most_confident_of_a_second():
    seen = [Detection(frame, conf, CORNERS) for frame, conf in ((75, 0.4), (31, 0.5), (45, 0.8), (40, 0.8), (59, 0.7))]
    best = best_by_second(ClipDetections('a', 30.0, seen, 'share'), 30)
    assert list(best.items()) == [(1, seen[3]), (2, seen[0])]  # frame 40, not 45
    with pytest.raises(ValueError, match='a: the frame rate 0 is not from 0.001 to 10000'):
        best_by_second(ClipDetections('a', None, seen, 'share'), 0)
