import json

import pytest

from data_prep.inputs.categories import read_species, scientific_names, split_names
from data_prep.inputs.detections import ClipDetections, Detection, read_detections

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
    with pytest.raises(ValueError, match='md.json has the categories \'deer\'; .*--animals "deer"'):
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


def test_two_spellings_of_one_path_are_one_clip(tmp_path):
    (tmp_path / 'md.json').write_text(
        json.dumps([{'file': name, 'detections': [pixel()]} for name in ('./a.mp4', 'A.mp4')])
    )
    found = read_detections(tmp_path / 'md.json', 0.2, None, str.lower)
    assert [(seen.video_id, len(seen.sightings)) for seen in found.clips] == [('a.mp4', 1)]


def test_entries_of_one_clip_are_merged_and_stills_ignored(tmp_path):
    stills = [clip(animal(), file=f'{k}.TIF', failure='no') for k in range(3)]
    again = clip(animal(0.6, 0), animal(), file='x/a.mp4', frame_rate=None)
    found = read_images(tmp_path, clip(animal(), file='x\\a.mp4'), *stills, clip(file='b.mp4'), again, again)
    assert [(seen.video_id, seen.frame_rate) for seen in found.clips] == [('x/a.mp4', 30), ('b.mp4', 30)]
    assert found.clips[0].sightings == [Detection(30, 0.9, CORNERS), Detection(0, 0.6, CORNERS)]
    assert found.notes == ['md.json: images that are no JPEG or PNG ignored in 3 entries, first in images[1]']


def test_photos_need_no_frame_numbers(tmp_path):
    # github.com/agentmorris/MegaDetector, megadetector-output-format.md: an image has neither frames nor a frame rate
    def photo(name, *detections, **other):
        return {'file': name, 'detections': list(detections)} | other

    without = {key: value for key, value in animal(0.8).items() if key != 'frame_number'}
    failed = photo('d.jpg', failure='Image cannot be opened', detections=None)
    found = read_images(tmp_path, photo('x\\a.JPG', without, without | {'conf': 0.1}), photo('b.png'), failed)
    assert found.clips == [
        ClipDetections('x/a.JPG', None, [Detection(0, 0.8, CORNERS)], 'share', [0]),
        ClipDetections('b.png', None, [], 'share', [0]),
    ]
    assert [(problem.video_id, problem.reason) for problem in found.problems] == [
        ('d.jpg', "the detector failed: 'Image cannot be opened'")
    ]
    # PyTorch-Wildlife
    lists = {key: LISTS[key] for key in ('bbox', 'category', 'confidence')} | {'img_id': 'a.jpg'}
    found = read(tmp_path, exported(lists, {'0': 'animal', '1': 'person'}))
    assert found.clips == [ClipDetections('a.jpg', None, [Detection(0, 0.9, (10, 20, 110, 70.5))], 'pixel', [0])]
    # a video still needs them
    assert 'has no frame_number' in read_images(tmp_path, clip(without)).problems[0].reason


@pytest.mark.parametrize(
    'entry, reason',
    [
        ({'file': 'a.mp4', 'detections': None, 'failure': 'no\nframes'}, r"the detector failed: 'no\nframes'"),
        ({'file': 'a.mp4'}, 'its detections are None, not a list; run the detector on it again'),
    ],
)
def test_an_entry_without_detections_is_a_problem_of_its_clip(tmp_path, entry, reason):
    found = read_images(tmp_path, clip(file='b.mp4'), clip(animal()), entry, clip(animal(), file='c.mp4'))
    assert [seen.video_id for seen in found.clips] == ['b.mp4', 'c.mp4']
    assert [problem[:3] for problem in found.problems] == [('a.mp4', 'md.json:images[2]', 'detections')]
    assert reason in found.problems[0].reason and '\n' not in found.problems[0].reason


ODD = [
    (animal(frame=None), 'run the detector on video frames with frame numbers'),
    (animal(frame=-1), 'the frame_number -1 is not a number from 0 to 1e+09'),
    (animal(frame=1.5), 'the frame_number 1.5 is not a whole number'),
    (animal(frame=True), 'the frame_number True is not'),
    (animal(frame=10**400), 'is not a number from 0 to 1e+09'),
    (animal(frame='1,000'), "the frame_number '1,000' is not"),
    (animal(conf=float('nan')), 'the confidence nan is not a number from 0 to 1'),
    (animal(conf='nan'), "the confidence 'nan' is not"),
    (animal(conf=1.01), 'the confidence 1.01 is not'),
    (animal(conf=87), 'the confidence 87 is not'),
    (animal(conf=None), 'the confidence None is not'),
    (pixel(), 'the confidence None is not'),
    (animal(category='9'), "the category '9' is not among the category names"),
    (animal(category=None), 'the category None is not among the category names'),
    (animal(bbox=[0, 0, 1]), 'the bbox [0, 0, 1] is not 4 numbers'),
    (animal(bbox=[0, 0, 1, float('inf')]), 'the bbox value inf is not a number from -0.02 to 1.02'),
    (animal(bbox=[0, float('nan'), 1, 1]), 'the bbox value nan is not'),
    (animal(bbox=[0.5, 0.5, -0.01, 0.1]), 'has no area in the picture'),
    (animal(bbox=[0.5, 0.5, 0, 0.1]), 'has no area in the picture'),
    (animal(bbox=[1.01, 0.5, 0.01, 0.1]), 'has no area in the picture'),
    (animal(bbox=[0.5, 0.5, 0.6, 0.1]), 'the bbox end 1.1 is not'),
    (animal(bbox=[10, 20, 110, 70]), 'the bbox value 10 is not'),
    (3, 'the confidence None is not'),
]


@pytest.mark.parametrize('odd, reason', ODD)
def test_an_odd_detection_is_dropped_alone(tmp_path, odd, reason):
    good = Detection(30, 0.9, CORNERS), Detection(60, 0.8, CORNERS)
    found = read_images(tmp_path, clip(animal(), odd, animal(0.8, 60)), clip(animal(), file='b.mp4'))
    assert [seen.sightings for seen in found.clips] == [list(good), [good[0]]]
    (problem,) = found.problems  # it could be an animal at or above the least confidence
    assert problem[:3] == ('a.mp4', 'md.json:images[0]', 'detections') and found.notes == []
    assert problem.reason.startswith('a detection is dropped: ') and reason in problem.reason
    assert problem.reason.endswith('; correct the file or run the detector on the clip again')


def test_dropped_detections_of_a_clip_are_one_problem(tmp_path):
    found = read_images(tmp_path, clip(animal(conf=7), animal(frame=None), animal(frame=-3)), clip(animal(frame=-4)))
    assert found.clips[0].sightings == []
    (problem,) = found.problems
    assert problem.reason.startswith('4 detections are dropped, the first because: the confidence 7 is not')


@pytest.mark.parametrize(
    'odd, notes',
    [
        (animal(-0.83, bbox=None), []),  # a person discarded it: MegaDetector's repeat detection elimination
        (animal('-0.83'), []),
        (animal(0.1, bbox=[9]), []),
        (animal(category='0', frame=None), []),  # the format reserves 0 for empty pictures
        (animal(category='2', bbox=None, frame=-1), []),
        (animal('much', category='2'), ["'much' is not a number"]),
        (animal(float('nan'), category='2'), ['in 1 entries, first images[0]: the confidence nan is not']),
    ],
)
def test_what_cannot_be_an_animal_is_no_problem(tmp_path, odd, notes):
    found = read_images(tmp_path, clip(animal(), odd))
    assert (found.clips[0].sightings, found.problems) == ([Detection(30, 0.9, CORNERS)], [])
    assert len(found.notes) == len(notes) and all(text in found.notes[0] for text in notes)


def test_numbers_written_as_text_are_numbers(tmp_path):
    text = animal('0.9', '30', bbox=['0.25', ' 0.5', '0.5', '2.5e-1'])
    found = read_images(tmp_path, clip(text, frame_rate='29.97', frames_processed=['0', '30.0']))
    (seen,) = found.clips
    assert seen == ClipDetections('a.mp4', 29.97, [Detection(30, 0.9, CORNERS)], 'share', [0, 30])


@pytest.mark.parametrize(
    'entry, reason',
    [
        (pixel(bbox=[0.1, 0.2, 0.5, 1]), 'is not in pixels'),
        (pixel(bbox=[9, 2, 8, 5]), 'has no area in the picture'),
        (animal(), 'the confidence None is not'),  # it is in shares
    ],
)
def test_an_odd_detection_of_a_list_is_dropped_alone(tmp_path, entry, reason):
    found = read(tmp_path, [{'file': 'b.mp4', 'detections': [pixel(), entry]}])
    assert len(found.clips[0].sightings) == 1 and reason in found.problems[0].reason


@pytest.mark.parametrize(
    'entry, reason',
    [
        ({'file': 'a.mp4'} | LISTS | {'category': [0]}, 'are not lists of one length'),
        ('a.mp4', "'a.mp4' names no file"),
    ],
)
def test_faults_in_a_list(tmp_path, entry, reason):
    found = read(tmp_path, [{'file': 'b.mp4', 'detections': [pixel()]}, entry])
    assert [seen.video_id for seen in found.clips] == ['b.mp4']
    assert found.problems[0].row == 'md.json:[1]' and reason in found.problems[0].reason


@pytest.mark.parametrize(
    'rates, note',
    [
        ([0], 'images[0]: the frame_rate 0 is not a number from 0.001'),
        (['fast'], "images[0]: the frame_rate 'fast' is not a number"),
        ([25, 30], 'images[1]: the entries of a.mp4 give different ones'),
    ],
)
def test_a_frame_rate_that_cannot_be_used_costs_no_detection(tmp_path, rates, note):
    found = read_images(tmp_path, *(clip(animal(frame=k), frame_rate=rate) for k, rate in enumerate(rates)))
    assert [seen.frame_rate for seen in found.clips] == [None] and found.problems == []
    assert len(found.clips[0].sightings) == len(rates)
    assert found.notes[0].startswith(f'md.json: the frame_rate ignored in 1 entries, first {note}')


# ---------------------------------------------------------------- where the detector looked


def test_frames_processed(tmp_path):
    frames = [clip(animal(frame=20), frames_processed=[40, 0, 20]), clip(animal(frame=60), frames_processed=[0, 10])]
    others = clip(file='b.mp4', frames_processed=[]), clip(file='c.mp4'), clip(file='d.mp4', frames_processed='all')
    found = read_images(tmp_path, *frames, *others)
    looked = {seen.video_id: seen.frames_processed for seen in found.clips}
    # Frame 60 has an animal, so somebody looked at it.
    assert looked == {'a.mp4': [0, 10, 20, 40, 60], 'b.mp4': [], 'c.mp4': None, 'd.mp4': None}
    assert found.notes == [
        "md.json: frames_processed ignored in 1 entries, first images[4]: the frames_processed are 'all', "
        'not a list of frame numbers'
    ]
    again = read_images(tmp_path, clip(animal(), frames_processed=[30]), clip())  # the second entry does not say
    assert again.clips[0].frames_processed is None


def test_the_frame_of_a_dropped_detection_is_not_looked_at(tmp_path):
    (seen,) = read_images(
        tmp_path, clip(animal(7, 10), animal(7, 20), animal(frame=20), frames_processed=[0, 10, 20])
    ).clips
    assert seen.frames_processed == [0, 20]  # frame 20 has another animal


def test_a_dropped_detection_without_a_frame_makes_every_empty_frame_doubtful(tmp_path):
    (seen,) = read_images(tmp_path, clip(animal(frame=20), animal(frame=None), frames_processed=[0, 10, 20])).clips
    assert seen.frames_processed == [20]


def frame(number, *detections, file='a.mp4'):
    return {'file': file, 'frame_number': number, 'detections': list(detections)}


def test_a_list_with_empty_frames_tells_where_the_detector_looked(tmp_path):
    seen = {k: v for k, v in pixel().items() if k != 'frame_number'}
    found = read(tmp_path, [frame(0), frame(30, seen), frame(0, seen, file='b.mp4'), frame(None, file='c.mp4')])
    looked = {clip.video_id: clip.frames_processed for clip in found.clips}
    assert looked == {'a.mp4': [0, 30], 'b.mp4': [0], 'c.mp4': None}
    # Without an empty frame beside another, the file may list the frames with an animal only.
    only = read(tmp_path, [frame(30, seen), frame(60, seen), frame(0, file='b.mp4')])
    assert [clip.frames_processed for clip in only.clips] == [None, None]


# ---------------------------------------------------------------- categories

SPECIES = {'1': 'animal', '2': 'person', '3': 'vehicle', '4': 'Common chimpanzee', '5': 'duiker'}


def read_species_file(folder, animals, *detections, names=SPECIES, **more):
    (folder / 'md.json').write_text(json.dumps({'detection_categories': names, 'images': [clip(*detections)]} | more))
    return read_detections(folder / 'md.json', 0.2, animals)


def test_species_as_categories_are_refused_until_the_user_says_which_count(tmp_path):
    with pytest.raises(ValueError) as refused:
        read_species_file(tmp_path, None, animal())
    assert str(refused.value).endswith(
        "md.json has the categories 'animal', 'person', 'vehicle', 'Common chimpanzee', 'duiker'; say which of them "
        'are the animals to count, for example --animals "Common chimpanzee,duiker"'
    )
    with pytest.raises(ValueError, match="--animals: .*md.json has no category 'bongo'; it has 'animal', 'person', 'v"):
        read_species_file(tmp_path, ('duiker', 'bongo'), animal())
    seen = [animal(0.9, k, category=category) for k, category in enumerate('12345')]
    found = read_species_file(tmp_path, ('common chimpanzee', 'DUIKER'), *seen, animal(0.1, 9))
    assert [(seen.frame_number, seen.label) for seen in found.clips[0].sightings] == [
        (3, 'Common chimpanzee'),
        (4, 'duiker'),
    ]
    assert found.notes == ['md.json: detections that --animals does not name are not counted: animal (1)']
    found = read_species_file(tmp_path, ('animal', 'duiker'), *seen)
    assert [seen.label for seen in found.clips[0].sightings] == ['', 'duiker']


@pytest.mark.parametrize('name', ['human', 'Blank', 'empty', 'PERSON', ' vehicle'])
def test_persons_vehicles_and_blanks_ask_no_question(tmp_path, name):
    found = read_species_file(tmp_path, None, animal(), animal(category='2'), names={'1': 'Animal', '2': name})
    assert len(found.clips[0].sightings) == 1 and found.notes == []


def test_species_within_the_detections_of_a_list(tmp_path):
    content = [{'file': 'a.mp4', 'detections': [pixel(category='duiker'), pixel(0.1, category='bongo')]}]
    with pytest.raises(ValueError, match='has the categories \'duiker\'; .*--animals "duiker"'):
        read(tmp_path, content)
    (seen,) = read_detections(tmp_path / 'md.json', 0.2, ['Duiker']).clips
    assert [sighting.label for sighting in seen.sightings] == ['duiker']


def classified(*pairs, **more):
    return animal(classifications=[list(pair) for pair in pairs], **more)


def test_a_classification_above_its_own_threshold_is_the_label(tmp_path):
    names = {'classification_categories': {'3': 'ocelot', '8': 'margay'}}
    seen = classified(('3', 0.8), ('8', 0.1)), classified(('3', 0.7), ('8', 0.2), frame=60), classified(frame=90)
    odd = classified(('99', 0.9), frame=120), classified(('3', 'sure'), frame=150), animal(frame=180)
    info = {'info': {'format_version': '1.2', 'classifier_metadata': {'typical_classification_threshold': 0.75}}}
    found = read_species_file(tmp_path, None, *seen, *odd, names=NAMES, **names, **info)
    assert [sighting.label for sighting in found.clips[0].sightings] == ['ocelot', '', '', '', '', '']
    found = read_species_file(tmp_path, None, *seen, names=NAMES, **names)  # the file gives no threshold
    assert [sighting.label for sighting in found.clips[0].sightings] == ['', '', '']


def test_names_of_the_flag():
    assert split_names('duiker, Common chimpanzee,,"a, b"') == ('duiker', 'Common chimpanzee', 'a, b')
    with pytest.raises(ValueError, match='--animals names no category'):
        split_names(' , ')


def test_the_table_of_species(tmp_path):
    (tmp_path / 'species.csv').write_text('label,scientificName\n Duiker ,Philantomba monticola\nanimal,Mammalia\n')
    species = read_species(tmp_path / 'species.csv')
    labels = ['duiker', 'DUIKER', '', float('nan'), 'bongo']
    assert scientific_names(labels, species) == [*['Philantomba monticola'] * 2, 'Mammalia', 'Mammalia', '']
    (tmp_path / 'species.csv').write_text('label,scientificName\nDuiker,A\nduiker,B\n')
    with pytest.raises(ValueError, match="species.csv:3: a second row for 'duiker'"):
        read_species(tmp_path / 'species.csv')


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


def test_many_entries_of_many_clips_and_of_one(tmp_path):
    apart = [clip(animal(), file=f'{k}.mp4') for k in range(5_000)]
    of_one_clip = [clip(animal(frame=k)) for k in range(5_000)]
    found = read_images(tmp_path, *apart, *of_one_clip)
    assert (len(found.clips), len(found.clips[-1].sightings)) == (5_001, 5_000)
