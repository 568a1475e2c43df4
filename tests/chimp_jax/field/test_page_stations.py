"""The section Stations of the page: places of lines and points by hand, odd names, limits, and a page without it."""

import base64
import io
import json
import re

import pytest
from make_clips import numbered_frames, write_clip
from make_estimates import write_estimates
from make_stations import camera_epoch, measured, stations_file
from PIL import Image
from test_page import HOSTILE, report, row

from chimp_jax.field.calibration.station_file import CameraStation, write_stations
from chimp_jax.field.page.ground import lines_over, points_over


def folder_with(tmp_path, *stations, **more):
    """Writes estimates of one clip, whose frames are 64 x 48, and stations.json."""
    write_clip(tmp_path / 'clips' / 'a' / '1.mp4', numbered_frames(4, 48, 64), 1)
    rows = [row('a/1.mp4', 0, 4.0, 3.0, 5.0)]
    options = {'clips': str(tmp_path / 'clips')}
    folder = write_estimates(tmp_path / 'out', rows, [{'video_id': 'a/1.mp4', 'duration_s': 4}], options=options)
    write_stations(folder / 'stations.json', stations_file(*stations, **more))
    return folder


def station(*known, name='Ridge', notes=(), **changes) -> CameraStation:
    return CameraStation(name, (camera_epoch(known, **changes),), notes)


def test_places_of_lines_by_hand():
    # y = 0.45 + 0.1 (x - 0.5) + 1.4 / r: at 4 m from 0.75 on the left to 0.85 on the right, times 300.
    lines, outside = lines_over(camera_epoch(), 300)
    at = {line['metres']: (line['left'], line['right']) for line in lines}
    assert at[4] == pytest.approx((225, 255)) and at[10] == pytest.approx((162, 192))
    assert [*at] == [4, 6, 8, 10, 15] and outside == [2]  # 2 m: from 1.1 to 1.2
    label = lines[0]['label']
    assert label['y'] == pytest.approx(225 + 30 * label['x'] / 400)  # on its line, in a drawing 400 wide


def test_a_line_that_leaves_the_picture_has_its_label_inside():
    # At 4 m: y = 0.45 + 2 (x - 0.5) + 0.35 is inside up to x = 0.6.
    (line,) = [line for line in lines_over(camera_epoch(mean=(1.4, 0.45, 2.0)), 300)[0] if line['metres'] == 4]
    assert 0 < line['label']['y'] < 300 and line['label']['x'] < 240
    assert lines_over(camera_epoch(mean=(1.4, -3.0, 0.0)), 300) == ([], [2, 4, 6, 8, 10, 15])


def test_places_of_points_by_hand():
    known = [measured(4.0, 0.25, 0.5), measured(2.0, 0.5, 1.2, off=True), measured(x=None), measured(9, 1, 0.2)]
    inside, below, edge = points_over(known, 300)
    assert (inside['x'], inside['y'], inside['outside'], inside['off']) == (100, 150, False, False)
    assert (below['x'], below['y'], below['outside'], below['off']) == (200, 300, True, True)
    assert inside['text'] == '4.0 → 4.2' and inside['text_x'] > 100 and edge['text_x'] < 400
    assert not edge['outside']


def test_labels_do_not_overlap():
    close = [measured(4.0, 0.5 + i / 1000, 0.5) for i in range(20)]
    points = points_over(close, 225)
    texts = [(point['text_x'], point['text_y']) for point in points if point['text']]
    # A label of 9 letters is at most 60 wide and 13 high.
    apart = [abs(a[0] - b[0]) > 50 or abs(a[1] - b[1]) >= 13 for i, a in enumerate(texts) for b in texts[:i]]
    assert all(apart) and 1 < len(texts) < 20


def test_the_page_shows_lines_points_and_residuals(tmp_path):
    known = [
        measured(4.0, 0.25, 0.5, estimate=4.5, residual_sd=-1.26),
        measured(2.0, 0.5, 1.5, estimate=None, residual_sd=3.5, off=True, time=2, row='known.csv:3'),
        measured(6.0, None, None, estimate=None, residual_sd=None, row='known.csv:4'),
    ]
    page = report(folder_with(tmp_path, station(*known, notes=('no flat ground',), mae_m=0.43), theta_deg=40.0))
    assert page.all('a', href='#stations') and page.all('section', id='stations')
    # The frame is 64 x 48, so the drawing is 400 x 300.
    assert page.all('svg', viewbox='0 0 400 300.0')
    assert page.all('path', **{'class': 'equal', 'd': 'M0 225.0L400 255.0'})
    good, bad = page.all('circle')
    assert (good['class'], good['cx'], good['cy']) == ('point', '100.0', '150.0')
    assert (bad['class'], bad['cx'], bad['cy']) == ('point off hollow', '200.0', '300.0')
    assert page.text('title').count('does not fit') == 1
    text = page.text('figcaption')
    assert 'Ridge 1 clip; 3 known points, mean error 0.43 m' in text and 'no flat ground' in text
    assert 'the line of 2 m' in text and 'the foot has no place: 1 known point' in text
    table = page.text('table')
    assert 'Ridge a/1.mp4 1 4.00 4.50 +0.50 -1.3 known.csv:2' in table
    assert 'Ridge a/1.mp4 2 2.00 +3.5 does not fit known.csv:3 Ridge a/1.mp4 1 6.00 known.csv:4' in table
    assert '3 known points, 1 of them does not fit' in page.text('summary')
    assert 'comes from: Hoge Veluwe, 20 stations.' in page.text() and 'field of view is 40°' in page.text()


def test_the_picture_is_that_of_its_second(tmp_path):
    page = report(folder_with(tmp_path, station(second=3)))
    (image,) = [i for i in page.all('img') if i['alt'].startswith('A frame of the station Ridge')]
    jpeg = base64.b64decode(image['src'].partition(',')[2])
    assert image['alt'].endswith('a/1.mp4, second 3') and Image.open(io.BytesIO(jpeg)).size == (64, 48)
    (first,) = [i for i in page.all('img') if i['alt'].startswith('a/1.mp4, second 0')]
    assert image['src'] != first['src']
    assert 'no known point' in page.text('figcaption') and not page.all('table', id='known-points')


def test_each_position_of_a_camera_has_a_picture(tmp_path):
    epochs = tuple(camera_epoch([measured()], notes=(f'note {i}',)) for i in range(6))
    page = report(folder_with(tmp_path, CameraStation('Ridge', epochs, ('moved',)), theta_deg=None))
    assert len(page.all('figure', **{'class': 'card ground'})) == 4
    text = page.text('section')
    assert '4 of 6 camera positions' in text and '2 more camera positions of these stations are not drawn' in text
    assert page.text('figcaption').count('moved') == 1 and 'note 3' in text and 'note 4' not in text
    assert page.text('table').count('Ridge, position') == 6 and 'there are no angles' in text


def test_many_stations_are_counted_and_those_with_notes_are_drawn(tmp_path):
    stations = [station(measured(), name=f'S{i:02d}') for i in range(39)]
    stations[37] = station(name='S37', notes=('look here',))
    stations.append(station(measured(off=True), name='S39'))
    page = report(folder_with(tmp_path, *stations))
    names = re.findall(r'S\d\d', page.text('figcaption'))
    assert len(names) == 30 and names[:3] == ['S37', 'S39', 'S00']
    assert '10 of 40 stations are not drawn' in page.text() and '39 known points' in page.text('summary')


def test_hostile_texts_in_stations(tmp_path):
    point = measured(video_id=HOSTILE, row=HOSTILE, off=True)
    hostile = station(point, name=HOSTILE, notes=(HOSTILE,), clips=(HOSTILE,), picture=HOSTILE)
    folder = folder_with(tmp_path, hostile, station(name='x' * 300))
    content = json.loads((folder / 'stations.json').read_text())
    content['prior']['source'] = HOSTILE
    (folder / 'stations.json').write_text(json.dumps(content))
    page = report(folder)
    assert len(page.all('script')) == 2 and not page.all('b')
    assert page.text('section').count('<script>alert("1")</script>') == 7
    assert 'the clip is not in the folder' in page.text('figcaption')


def test_no_frames_decodes_nothing_and_draws_lines(tmp_path):
    page = report(folder_with(tmp_path, station(measured())), n_frames=0)
    assert not page.all('img') and page.all('circle') and 'No picture.' in page.text('figcaption')


def test_a_page_without_stations_json_has_no_such_section(tmp_path):
    folder = folder_with(tmp_path, station(measured()))
    whole = report(folder)
    (folder / 'stations.json').unlink()
    page = report(folder)
    ids = [attributes['id'] for _, attributes in page.elements if 'id' in attributes]
    added = {'stations', 'h-stations', 'known-points'}
    assert ids == [a['id'] for _, a in whole.elements if 'id' in a and a['id'] not in added]
    assert not page.all('a', href='#stations') and not page.all('svg', preserveaspectratio='none')
    assert page.sheet == whole.sheet


def test_stations_json_without_stations(tmp_path):
    page = report(folder_with(tmp_path))
    assert 'No station has clips.' in page.text()


def test_a_damaged_stations_json_is_refused(tmp_path):
    folder = folder_with(tmp_path, station())
    (folder / 'stations.json').write_text('{"prior": 3}')
    with pytest.raises(ValueError, match=r'stations\.json: theta_deg, stations is missing; run the same'):
        report(folder)
