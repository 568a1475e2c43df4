"""Photos from the folder to the records: which are targets, and what is told about the others."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from make_photos import write_photo
from PIL import Image

from data_prep import build
from data_prep.job import Job
from data_prep.plan import Watch, make_plan, make_tasks, planned_seconds
from data_prep.records import read_records

FRAMES = numbered_frames(12)


@pytest.fixture
def card(tmp_path):
    """Two bursts, a photo without a time, a broken one and a video of 3 s."""
    folder = tmp_path / 'card'
    for number in range(3):
        write_photo(folder / 'a' / f'{number}.JPG', FRAMES[number], f'2024:03:01 08:00:0{number}', quality=95)
        write_photo(folder / 'a' / f'{number + 3}.png', FRAMES[number + 3], '2024:03:01 09:00:00')
    write_photo(folder / 'b' / 'alone.jpg', FRAMES[6], quality=95)
    (folder / 'b' / 'broken.jpg').write_bytes((folder / 'a' / '0.JPG').read_bytes()[:900])
    write_clip(folder / 'b' / 'v.mp4', FRAMES[:3], 1)
    return folder


PHOTOS = [*(f'a/{number}.JPG' for number in range(3)), *(f'a/{number}.png' for number in range(3, 6))]


def job(card, **options):
    return Job(out='unused', clips_full=(str(card),), **options)


def test_each_photo_is_a_target_at_second_0(card):
    plan = make_plan(job(card, every_s=2))
    rows = plan.targets['test'].rows.set_index('video_id')['time_s']
    assert rows[[*PHOTOS, 'b/alone.jpg', 'b/broken.jpg']].tolist() == [0] * 8 and rows.isna().sum() == 1
    assert plan.notes() == [
        f'{card} holds 8 photos and 1 videos; both are read as clips',
        '1 photos have no time in their EXIF data, so each of them stands alone, first b/alone.jpg',
    ]
    tasks = {task.video_id: task for task in make_tasks(plan, job(card, every_s=2))}
    assert tasks['a/4.png'].target_time_s == [0] and np.isnan(tasks['a/4.png'].target_box[0]).all()
    assert [mate[0] for mate in tasks['a/4.png'].mates] == [-1, 1]
    assert tasks['b/v.mp4'].target_time_s is None and not tasks['b/v.mp4'].mates
    assert planned_seconds(plan, ['a/4.png', 'b/v.mp4'], 2, 1) == {'a/4.png': {0}, 'b/v.mp4': range(0, 5, 2)}
    assert not make_plan(job(card, burst_gap_s=0.5)).mates.keys() & {'a/0.JPG'}


def test_what_exports_need_to_know_about_photos(card):
    plan = make_plan(job(card), Watch(lengths=True, frames=True))
    assert plan.durations_s()['a/0.JPG'] == 0
    assert plan.looked_at['a/0.JPG'].times_s.tolist() == [0] and plan.n_animals()['a/0.JPG', 0] == 1
    assert list(plan.unreadable()) == []  # that the end is missing is found when the photo is decoded


def test_detections_of_photos(card, tmp_path):
    box = {'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.25, 0.5, 0.5]}
    images = [
        {'file': 'a\\0.JPG', 'detections': [box | {'conf': 0.5}, box]},
        {'file': 'a/1.JPG', 'detections': []},
        {'file': 'gone.jpg', 'detections': [box]},
        {'file': 'b/v.mp4', 'frame_rate': 1, 'detections': [box | {'frame_number': 2}], 'frames_processed': [0, 1, 2]},
    ]
    (tmp_path / 'md.json').write_text(json.dumps({'detection_categories': {'1': 'animal'}, 'images': images}))
    plan = make_plan(job(card, detections=str(tmp_path / 'md.json')), Watch(frames=True))
    rows = plan.targets['test'].rows
    assert rows[['video_id', 'time_s']].values.tolist() == [['a/0.JPG', 0], ['b/v.mp4', 2]]
    assert rows['box'].tolist() == [(0.25, 0.25, 0.75, 0.75)] * 2
    assert [(problem.video_id, problem.reason) for problem in plan.problems()] == [
        ('gone.jpg', f'no such file in {card}')
    ]
    assert plan.looked_at['a/0.JPG'].n_animals.tolist() == [2] and plan.looked_at['a/1.JPG'].n_animals.tolist() == [0]
    assert plan.looks_fault == '' and set(plan.unlooked) == {*PHOTOS[2:], 'b/alone.jpg', 'b/broken.jpg'}
    # the whole burst is in the window, also the photos without an animal
    (task, _) = make_tasks(plan, job(card))
    assert [mate[0] for mate in task.mates] == [1, 2]


def test_the_boxes_of_the_window_of_a_photo(card):
    plan = make_plan(job(card))
    first, second = (0.0, 0.9, 0.1, 0.1, 0.2, 0.2, '1'), (0.0, 0.8, 0.3, 0.1, 0.4, 0.2, '1')
    plan = plan.with_boxes({'a/0.JPG': [first], 'a/2.JPG': [second], 'a/3.png': [second]})
    boxes = {task.video_id: task.boxes for task in make_tasks(plan, job(card))}
    # the names of another photo mean other animals
    assert boxes['a/0.JPG'] == (first, (2, *second[1:6], ''))
    assert boxes['a/1.JPG'] == ((-1, *first[1:6], ''), (1, *second[1:6], ''))
    assert boxes['a/5.png'] == ((-2, *second[1:6], ''),) and boxes['b/alone.jpg'] is None


def test_labelled_photos_become_records(card, tmp_path, capsys):
    lines = [f'{name},0,{number + 1}' for number, name in enumerate([*PHOTOS, 'b/alone.jpg', 'b/broken.jpg'])]
    (tmp_path / 'labels.csv').write_text('\n'.join(['video_id,time,distance', *lines, 'a/0.JPG,1,9', 'b/v.mp4,1,4']))
    out = tmp_path / 'out'
    command = [f'--tables={tmp_path}/labels.csv', f'--clips_full={card}', f'--out={out}', '--workers=1', '--n_folds=2']
    assert build.main(command) == 3
    problems = pd.read_csv(out / 'problems.csv', keep_default_na=False).set_index('video_id')['reason']
    assert problems['a/0.JPG'] == 'second 1 is not in a photo; write the time 0'
    assert problems['b/broken.jpg'].startswith('the photo is cut off or damaged') and len(problems) == 2
    records = {record.video_id: record for record in read_records(out, 'full', 'train')}
    assert set(records) == {*PHOTOS, 'b/alone.jpg', 'b/v.mp4'}
    numbers = {
        name: [frame_number(np.asarray(Image.open(io.BytesIO(jpeg)))) for jpeg in record.frame_jpeg]
        for name, record in records.items()
    }
    assert all(numbers[name] == [0, 1, 2] for name in PHOTOS[:3])
    assert all(numbers[name] == [3, 4, 5] for name in PHOTOS[3:])
    assert numbers['b/alone.jpg'] == [6] and records['a/1.JPG'].frame_time_s.tolist() == [-1, 0, 1]
    assert records['a/1.JPG'].target_distance_m.tolist() == [2]
    folds = pd.read_csv(out / 'folds.csv').set_index('video_id')
    for burst in (PHOTOS[:3], PHOTOS[3:]):
        assert folds.loc[burst, 'clip_fold'].nunique() == folds.loc[burst, 'site_fold'].nunique() == 1
    capsys.readouterr()
    assert build.main(command) == 3 and 'have changed' not in capsys.readouterr().out
    write_photo(card / 'a/2.JPG', FRAMES[9], '2024:03:01 08:00:02', quality=95)  # in the windows of three photos
    build.main(command)
    assert '3 clips have changed' in capsys.readouterr().out
    assert build.main([*command, '--burst_gap=5']) == 1
    assert 'burst_gap_s: None before, 5.0 now' in capsys.readouterr().err
