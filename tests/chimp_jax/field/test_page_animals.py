"""The page with several animals in a second: every animal has its box, its label, its line and its correction."""

import json
import math
import re

import numpy as np
import pytest
from make_clips import numbered_frames, write_clip
from make_estimates import write_estimates
from test_page import HOSTILE, report, row

from chimp_jax.field.page.labels import LETTER_WIDTH, TEXT_HEIGHT, label_boxes
from chimp_jax.field.pictures.palette import ON_LIGHT

TRACKS = 'video_id,animal,start_s,end_s,seconds,path_length_m,speed,speed_lower,speed_upper,nearest_distance_m\n'


def box(x, y, width, height) -> dict:
    return {'bbox_x': x, 'bbox_y': y, 'bbox_width': width, 'bbox_height': height}


# Doubt: spread / distance. The most doubtful row is animal 10 in second 4 (2 / 5), so the card shows second 4.
ROWS = [
    row('a.mp4', 3, 8.0, 6.0, 10.0, spread=0.8, animal='2', **box(0.1, 0.5, 0.2, 0.25)),
    row('a.mp4', 4, 7.0, 5.0, 9.0, spread=0.7, animal='2', **box(0.1, 0.5, 0.2, 0.25)),
    row('a.mp4', 4, 5.0, 3.0, 9.0, spread=2.0, animal='10', flags='wide_spread', **box(0.6, 0.25, 0.3, 0.5)),
    row('a.mp4', 4, math.nan, status='the picture is damaged', animal='3'),
    row('a.mp4', 6, 6.0, 4.0, 8.0, spread=0.6, animal='10'),
    row('b.mp4', 0, 4.0, 3.0, 5.0, spread=0.1, animal=''),
]
CLIPS = [{'video_id': 'a.mp4', 'duration_s': 8}, {'video_id': 'b.mp4', 'duration_s': 2}]


@pytest.fixture(scope='module')
def clips_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    write_clip(folder / 'a.mp4', numbered_frames(8, 48, 64), 1)
    return folder


@pytest.fixture
def folder(tmp_path, clips_folder):
    return write_estimates(tmp_path, ROWS, CLIPS, options={'clips': str(clips_folder)})


def fields(page) -> list[tuple]:
    return [(a['data-clip'], a['data-time'], a.get('data-animal')) for a in page.all('input') if 'data-time' in a]


def test_a_card_is_a_second_with_all_its_animals(folder):
    page = report(folder)
    assert fields(page) == [
        ('a.mp4', '4', '2'), ('a.mp4', '4', '3'), ('a.mp4', '4', '10'),  # as people count, not as text sorts
        ('a.mp4', '3', '2'), ('a.mp4', '6', '10'), ('b.mp4', '0', None),
    ]  # fmt: skip
    assert len(page.all('figure')) == 2 and len(page.all('img')) == 3  # a picture a second, not one an animal
    assert page.all('img')[0]['alt'] == (
        'a.mp4, second 4: animal 2 estimated at 7.0 m, interval 5.0 to 9.0 m; animal 3 without a distance; '
        'animal 10 estimated at 5.0 m, interval 3.0 to 9.0 m'
    )
    assert 'no distance: the picture is damaged' in page.text('li')
    assert '2 other seconds of this clip' in page.text('summary')


def test_boxes_have_the_colour_and_the_name_of_their_track(folder):
    page = report(folder)
    first, second = [a for a in page.all('span') if a.get('class', '').startswith('box')][:2]
    assert first == {'class': 'box c0 s0', 'style': 'left:10.00%;top:50.00%;width:20.00%;height:25.00%'}
    assert second['class'] == 'box c2 s0'  # the tracks are 2, 3 and 10
    # The picture is 300 x 225 units. The boxes begin at (30, 112.5) and (180, 56.25), and both labels have room.
    texts = page.text('text')
    assert '2: 7.0 m (5.0 to 9.0) 10: 5.0 m (3.0 to 9.0)' in texts
    places = [a['transform'] for a in page.all('g') if 'transform' in a]
    assert places[0] == 'translate(30.0 110.5)'  # the lower edge, 2 units above the box


def test_tracks_in_a_card(folder):
    text = report(folder).text('details')
    assert '3 animals in this clip 2 3 to 4 s, nearest 7.0 m 3 4 s 10 4 to 6 s, nearest 5.0 m' in text
    (folder / 'tracks.csv').write_text(
        TRACKS + 'a.mp4,10,4.25,6.75,3,1.5,0.6,0.41,0.95,4.8\na.mp4,2,3,4,2,,,,,7\nz.mp4,1,0,9,9,1,1,1,1,1\n'
    )
    text = report(folder).text('details')
    assert '2 3 to 4 s, nearest 7.0 m 3 4 s 10 4.25 to 6.75 s, nearest 4.8 m, 0.60 m/s (0.41 to 0.95)' in text
    (folder / 'tracks.csv').write_text(TRACKS + 'a.mp4,10,4,6,3,1.5,fast,,,4.8\n')
    with pytest.raises(ValueError, match=r"tracks\.csv:2: speed 'fast' is not a number"):
        report(folder)


def test_series_name_the_track_of_each_row(folder):
    a, b = report(folder).data['clips']
    assert (a['a'], a['y']) == (['2', '3', '10'], [[0, 0], [1, 0], [2, 0]])
    rows = [(t, a['a'][k], v) for t, k, v in zip(a['t'], a['k'], a['v'], strict=True)]
    assert sorted(rows, key=str) == sorted(
        [(3, '2', 8.0), (4, '10', 5.0), (4, '2', 7.0), (4, '3', None), (6, '10', 6.0)], key=str
    )
    assert not {'a', 'y', 'k'} & set(b)


def test_counts_are_of_animals(folder):
    page = report(folder, cutpoints=[0, 4, 6, 8])
    # (0, 4]: 4; (4, 6]: 5 and 6; (6, 8]: 8 and 7.
    assert 'observations 0 4 1 0 1 4 6 2 0 2 6 8 2 0 2' in page.text('table')
    header = page.text('header')
    assert 'animals followed 3' in header and 'seconds analysed 4' in header and '5 distances from 2 of 2' in header
    assert 'observations with a distance 5' in header


def test_corrections_name_their_animal(folder):
    (folder / 'corrections.csv').write_text(
        'video_id,time,animal,distance\na.mp4,4,10,5.5\na.mp4,3,,7.5\nb.mp4,0,,3\n'  # second 3 has one row
    )
    page = report(folder)
    assert page.data['typed'] == [['a.mp4', 3, '7.5', '2'], ['a.mp4', 4, '5.5', '10'], ['b.mp4', 0, '3']]
    assert [a['value'] for a in page.all('input') if a.get('data-animal') == '10'] == ['5.5', '']
    (folder / 'corrections.csv').write_text('video_id,time,distance\na.mp4,4,5.5\n')
    message = r'corrections\.csv:2 \(a\.mp4 at 4 s\) has the animals 2, 3, 10; write into a column animal which one'
    with pytest.raises(ValueError, match=message):
        report(folder)


def test_the_known_distance_of_an_animal_is_compared(tmp_path, clips_folder):
    rows = [*ROWS[:3], row('c.mp4', 0, 5.2, 4.0, 6.0, spread=1.0, animal='1')]
    rows[2] = rows[2] | {'status': 'corrected', 'distance_lower': math.nan, 'distance_upper': math.nan}
    clips = [{'video_id': name, 'site': 'S'} for name in ('a.mp4', 'c.mp4')]
    page = report(write_estimates(tmp_path, rows, clips, options={'clips': str(clips_folder)}))
    # The station has one known distance, 5.0 m of animal 10; c.mp4 compares with it.
    assert 'the same station: 5.0 m in a.mp4, second 4, animal 10' in page.text('figure')
    assert 'box c0 s0' in [a.get('class') for a in page.all('span')]


def test_twenty_animals_and_odd_names(tmp_path, clips_folder):
    names = [HOSTILE, '<b>Ada</b>', *map(str, range(1, 19))]
    rows = [
        row('a.mp4', 2, 2.0 + k, 1.0, 9.0 + k, spread=0.2, animal=name, **box(k % 5 * 0.18, k // 5 * 0.2, 0.2, 0.3))
        for k, name in enumerate(names)
    ]
    page = report(write_estimates(tmp_path, rows, CLIPS[:1], options={'clips': str(clips_folder)}))
    assert {a for _, _, a in fields(page)} == set(names) and not page.all('b') and len(page.all('script')) == 2
    assert set(page.data['clips'][0]['a']) == set(names)
    classes = [a['class'] for a in page.all('span') if a.get('class', '').startswith('box')]
    assert len(set(classes)) == 20 and len(ON_LIGHT) < 20  # colour and stroke together tell all apart
    labels = page.all('text')
    assert 15 <= len([a for a in labels if 'textlength' in {k.lower() for k in a}]) <= 20


def overlap(one, other) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_labels_of_boxes_do_not_overlap():
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 240, 30), random.uniform(0, 120, 30)
    boxes = [(a, b, a + 60, b + 50) for a, b in zip(x, y, strict=True)]
    placed = [
        label for label in label_boxes(boxes, [['1', '1: 4.2 m', '1: 4.2 m (3.0 to 6.0)']] * 30, 300, 170) if label
    ]
    areas = [area for _, area in placed]
    assert not any(overlap(areas[i], areas[k]) for i in range(len(areas)) for k in range(i))
    assert all(0 <= a[0] and 0 <= a[1] and a[2] <= 300 and a[3] <= 170 for a in areas)
    assert len(placed) == 30  # every box has its name before one has a longer label


def test_a_label_lies_beside_the_other_boxes_if_it_can():
    # Above the small box is the large one, so the label goes below.
    (_, area), _ = label_boxes([(100, 60, 120, 80), (90, 0, 300, 58)], [['1: 4.2 m'], ['2: 3.0 m']], 300, 170)
    assert area[1] >= 80
    (_, alone) = label_boxes([(100, 60, 120, 80)], [['1: 4.2 m']], 300, 170)[0]
    assert alone[3] <= 60


def test_a_long_label_stays_short_where_it_has_no_room():
    (label,) = label_boxes([(0, 0, 10, 10)], [['1', '1: 4.2 m (3.0 to 6.0)']], 60, 40)
    assert label[0] == '1' and label[1][2] - label[1][0] < 60 < LETTER_WIDTH * 21
    assert label_boxes([(0, 0, 10, 5)], [['1']], 60, TEXT_HEIGHT - 1) == [None]


def test_models_that_give_one_distance_for_all(tmp_path):
    rows = [row('a', 1, 5.0, animal=name, flags='one_for_all') for name in '12']
    page = report(write_estimates(tmp_path, rows, [{'video_id': 'a'}]))
    assert 'One distance for all animals. 2 observations have the distance of the whole picture' in page.text('header')
    assert 'one distance for all' in page.text('figure')


def test_two_rows_of_one_animal_are_refused(tmp_path):
    write_estimates(tmp_path, [ROWS[1], ROWS[1] | {'distance': 3.0}], CLIPS)
    with pytest.raises(ValueError, match=r"distances\.csv:3: a second row for 'a\.mp4', 4, '2';"):
        report(tmp_path)


def test_a_table_without_the_column_and_one_with_empty_names_give_one_page(tmp_path):
    plain = [ROWS[0], ROWS[4], ROWS[5]]
    texts = []
    for name, rows in (('with', [r | {'animal': ''} for r in plain]), ('without', plain)):
        rows = [{k: v for k, v in r.items() if k != 'animal' or name == 'with'} for r in rows]
        page = report(write_estimates(tmp_path / name, rows, CLIPS))
        texts.append((page.text(), json.dumps(page.data)))
    assert texts[0] == texts[1] and not re.search('observation|animals followed', texts[0][0])
