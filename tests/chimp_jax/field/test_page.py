"""The page of `chimp-distance report`: its order, numbers, pictures and safety."""

import csv
import html.parser
import io
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from make_estimates import COLUMNS, walks, write_estimates
from PIL import Image

from chimp_jax.field import flags
from chimp_jax.field.page.choice import rank_doubt
from chimp_jax.field.page.distance_counts import count_distances
from chimp_jax.field.page.histogram import count, default_cutpoints, draw_histogram
from chimp_jax.field.page.page import FLAG_TEXTS, write_report
from chimp_jax.field.pictures import thumbnails
from data_prep.decoding.decode import decode_seconds

HOSTILE = '</script ></script><script>alert("1")</script>/<b>\'a\' & "b", c\n--><!--.mp4'


class Page(html.parser.HTMLParser):
    """The elements of a page with their attributes, in order, and the text inside each kind of element."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self._open: list[str] = []
        self._texts: list[tuple[tuple[str, ...], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ('meta', 'img', 'input', 'path', 'br', 'link'):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag  # elements are closed in the right order

    def handle_data(self, data):
        self._texts.append((tuple(self._open), data))

    def all(self, tag: str, **attributes) -> list[dict]:
        return [a for t, a in self.elements if t == tag and attributes.items() <= a.items()]

    def text(self, within: str = 'body') -> str:
        texts = (t for path, t in self._texts if within in path and 'script' not in path and 'style' not in path)
        return ' '.join(' '.join(texts).split())

    @property
    def data(self) -> dict:
        (text,) = (t for path, t in self._texts if path[-1:] == ('script',) and t.startswith('{"clips"'))
        return json.loads(text)

    @property
    def sheet(self) -> list[tuple[str, int]]:
        return [(a['data-clip'], int(a['data-time'])) for a in self.all('input') if 'data-time' in a]


def report(folder, **arguments) -> Page:
    page = Page(write_report(folder, **arguments).read_text())
    assert not page._open
    return page


@pytest.fixture(scope='module')
def clips_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    # Two frames per second: second t shows frame 2 t.
    write_clip(folder / 'site' / 'a.mp4', numbered_frames(12, 480, 640), 2, options={'crf': '12'})
    (folder / 'broken.mp4').write_bytes(b'no clip at all')
    return folder


def row(video_id, time, distance, lower=math.nan, upper=math.nan, **more) -> dict:
    interval = {'distance_lower': lower, 'distance_upper': upper}
    return {'video_id': video_id, 'time': time, 'distance': distance} | interval | more


ROWS = [
    row('site/a.mp4', 0, 4.0, 3.0, 5.0),  # width 2
    row('site/a.mp4', 3, 6.0, 3.0, 10.0, bbox_x=0.25, bbox_y=0.5, bbox_width=0.125, bbox_height=0.1),  # width 7
    row('site/a.mp4', 5, 9.0, status='corrected', spread=8.0),
    row('site/a.mp4', 4, math.nan, status='the picture is damaged'),
    row('broken.mp4', 1, 5.0, 2.0, 5.5, flags='dark wide_spread'),  # width 3.5
    row('gone.mp4', 2, 1.0, spread=0.5),  # no interval: after all rows with one
    row('gone.mp4', 7, 2.0, spread=0.75),
]
CLIPS = [
    {'video_id': 'site/a.mp4', 'duration_s': 6, 'site': 'S 1'},
    {'video_id': 'broken.mp4', 'status': 'failed', 'reason': 'no moov atom'},
    {'video_id': 'gone.mp4', 'status': 'partly', 'reason': '1 target left out'},
    {'video_id': 'empty.mp4', 'status': 'no animal'},
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory, clips_folder):
    folder = tmp_path_factory.mktemp('out')
    return write_estimates(folder, ROWS, CLIPS, options={'clips': str(clips_folder), 'every_s': 1})


@pytest.fixture(scope='module')
def page(folder):
    return report(folder)


def test_contact_sheet_order(page):
    assert page.sheet == [
        ('site/a.mp4', 3), ('site/a.mp4', 0), ('site/a.mp4', 5), ('broken.mp4', 1), ('gone.mp4', 7), ('gone.mp4', 2)
    ]  # fmt: skip
    assert len(page.all('figure')) == 3  # one per clip; its other seconds are in the card


def test_order_without_interval_and_spread():
    rows = pd.DataFrame([row('b', 1, 1.0), row('a', 2, 9.0), row('a', 1, 3.0, flags='dark')])
    rows = rows.reindex(columns=COLUMNS).fillna({'flags': '', 'status': 'ok'})
    chosen = rank_doubt(rows)
    assert [*zip(chosen['video_id'], chosen['time'], strict=True)] == [('a', 1), ('a', 2), ('b', 1)]


def test_frames_are_those_of_their_seconds(clips_folder):
    wanted = {('site/a.mp4', 0): 320, ('site/a.mp4', 3): 480, ('site/a.mp4', 99): 320}
    wanted |= {('broken.mp4', 1): 320, ('x.mp4', 1): 320}
    found = thumbnails.frames_of(wanted, str(clips_folder), n_workers=1)
    pictures = {key: np.asarray(Image.open(io.BytesIO(jpeg))) for key, jpeg in found.items() if isinstance(jpeg, bytes)}
    assert {key[1]: frame_number(p) for key, p in pictures.items()} == {0: 0, 3: 6, 99: 10}  # the last second is 5
    assert {key[1]: p.shape[:2] for key, p in pictures.items()} == {0: (240, 320), 3: (360, 480), 99: (240, 320)}
    assert found['x.mp4', 1] == 'the clip is not in the folder'
    assert 'Invalid data' in found['broken.mp4', 1] and '\n' not in found['broken.mp4', 1]


def test_pictures_in_the_page(page):
    images = page.all('img')
    assert [image['alt'] for image in images] == [
        'site/a.mp4, second 3: estimated at 6.0 m, interval 3.0 to 10.0 m',
        'site/a.mp4, second 5: known distance 9.0 m',  # to compare: the only known distance of the station
        'site/a.mp4, second 0: estimated at 4.0 m, interval 3.0 to 5.0 m',
        'site/a.mp4, second 5: corrected to 9.0 m',
    ]
    assert [button['data-text'] for button in page.all('button', **{'class': 'picture'})] == [i['alt'] for i in images]
    (box,) = page.all('span', **{'class': 'box'})
    assert box['style'] == 'left:25.00%;top:50.00%;width:12.50%;height:10.00%'
    assert 'no picture: the clip is not in the folder' in page.text() and 'Invalid data' in page.text()


def test_words_and_tables(page):
    text = page.text()
    assert '6 distances from 3 of 4 clips' in text
    assert '1 clip: ok' in text and '1 clip: no animal' in text
    tables = page.text('table')
    assert 'broken.mp4 failed no moov atom' in tables and 'gone.mp4 partly 1 target left out' in tables
    assert 'empty.mp4' not in tables
    assert all('scope' in th for th in page.all('th'))


def test_every_flag_is_explained(page):
    assert set(FLAG_TEXTS) == {flags.ONE_FOR_ALL, *flags.FLAGS, *flags.NO_GROUND_FLAGS, *flags.GROUND_FLAGS}
    assert all(words in page.text('dl') and text in page.text('dl') for words, text in FLAG_TEXTS.values())


def test_nothing_comes_from_outside(page, folder):
    assert re.search(r'https?://', (folder / 'report.html').read_text()) is None
    for tag, attributes in page.elements:
        assert attributes.get('src', 'data:').startswith('data:')
        assert attributes.get('href', '#').startswith('#')
        assert tag not in ('link', 'iframe', 'object', 'base')
        assert not any(name.startswith('on') for name in attributes)
    assert page.all('html', lang='en') and page.all('meta', name='viewport')
    assert "default-src 'none'" in page.all('meta', **{'http-equiv': 'Content-Security-Policy'})[0]['content']


def test_series(page):
    broken, gone, a = page.data['clips']
    assert a == {
        'n': 'site/a.mp4', 'g': 'S 1', 'd': 6.0, 't': [0, 3, 4, 5], 'v': [4.0, 6.0, None, 9.0],
        'lo': [3.0, 3.0, None, None], 'hi': [5.0, 10.0, None, None], 's': [None, None, None, 8.0], 'c': [0, 0, 0, 1],
    }  # fmt: skip
    assert broken['f'] == ['dark wide_spread'] and broken['g'] == ''
    assert gone == {'n': 'gone.mp4', 'g': '', 't': [2, 7], 'v': [1.0, 2.0], 's': [0.5, 0.75]}


def test_hostile_names(tmp_path):
    clips = [
        {'video_id': HOSTILE, 'status': 'failed', 'reason': '<img src=x onerror=alert(1)>', 'site': '</style>&amp;'}
    ]
    rows = [row(HOSTILE, 0, 3.0, flags='<i>', status="a'b<u>")]
    summary = {'no_interval': '<b>none</b> & "why"', 'device': '<u>cpu'}
    found = write_estimates(tmp_path, rows, clips, summary, {'clips': '/no/<s>folder'})
    page = report(found)
    assert page.data['clips'][0]['n'] == HOSTILE and page.data['clips'][0]['g'] == '</style>&amp;'
    (embedded,) = re.findall(r'id="data">(.*)</script>\n<script>', (found / 'report.html').read_text())
    assert not set('<>&') & set(embedded)  # so the data cannot end the script or begin a comment
    assert page.sheet == [(HOSTILE, 0)]
    assert len(page.all('script')) == 2 and not page.all('img')
    assert not any(page.all(tag) for tag in ('b', 'i', 'u', 's'))
    assert '<img src=x onerror=alert(1)>' in page.text() and '<b>none</b> & "why"' in page.text()


def test_clips_folder_is_gone_or_has_moved(tmp_path, clips_folder):
    found = write_estimates(tmp_path, ROWS, CLIPS, options={'clips': str(tmp_path / 'unplugged')})
    page = report(found)
    assert not page.all('img') and len(page.sheet) == 6
    assert f'there is no folder {tmp_path / "unplugged"}' in page.text()
    assert len(report(found, clips_folder=str(clips_folder), n_frames=3).all('img')) == 2


def test_earlier_corrections_are_kept(tmp_path):
    found = write_estimates(tmp_path, [*ROWS, row(HOSTILE, 3, 5.0)], [*CLIPS, {'video_id': HOSTILE}])
    with open(tmp_path / 'corrections.csv', 'w', newline='') as file:
        csv.writer(file).writerows([('video_id', 'time', 'distance'), ('gone.mp4', 7, '2.25'), (HOSTILE, 3, '8')])
    page = report(found, n_frames=3)
    assert page.all('input', **{'data-clip': 'gone.mp4', 'data-time': '7'})[0]['value'] == '2.25'
    # cards.js saves all of them again, with or without a field on the page.
    assert page.data['typed'] == [[HOSTILE, 3, '8'], ['gone.mp4', 7, '2.25'], ['site/a.mp4', 5, '9']]


def test_bins_by_hand():
    # (0, 2]: 0, 1, 2; (2, 4]: 2.5 and a corrected 4; (4, 8]: 8; outside: -1, 8.5, 100.
    estimated, corrected = count_distances([0, 1, 2, 2.5, 8, -1, 8.5, 100]), count_distances([4])
    bins = count(estimated, corrected, [0, 2, 4, 8])
    assert bins.bins == [(0, 2, 3, 0), (2, 4, 1, 1), (4, 8, 1, 0)]
    assert (bins.n_nearer, bins.n_farther, bins.unequal) == (1, 2, True)
    # Counts per metre are 1.5, 1 and 0.25; the axis ends at 1.5, so the bars end at the top, at 2/3 and at 1/6.
    svg = draw_histogram(bins, 458, 164, 'x')  # the plot is 400 x 100 px, from (46, 22)
    assert re.findall(r'class="(estimated|corrected)" d="M([\d.]+) [\d.]+V([\d.]+)H([\d.]+)', svg) == [
        ('estimated', '47.0', '22.0', '145.0'),
        ('estimated', '147.0', '88.7', '245.0'),
        ('corrected', '147.0', '55.3', '245.0'),
        ('estimated', '247.0', '105.3', '445.0'),
    ]


@pytest.mark.parametrize(
    ('distance_m', 'cutpoints'),
    [
        ([], [0, 1]),
        ([0.4], [0, 1]),
        ([11.0, 27.9], range(0, 29, 2)),
        ([11.0, 28.1], range(0, 31, 2)),  # the 99th percentile, 27.93, requires 14 steps of 2; the largest adds one
        ([11.0, 29.0], range(0, 31, 5)),  # 28.82 requires more than 14
        ([-0.5, 3], range(-1, 4)),
        # The 99th percentile of 999 times 9 and once 1e9 is 9; distances beyond 18 are not drawn.
        ([9.0] * 999 + [1e9], range(0, 19)),
    ],
)
def test_default_cutpoints(distance_m, cutpoints):
    assert default_cutpoints(count_distances(distance_m)) == pytest.approx(list(cutpoints))


@pytest.mark.parametrize('cutpoints', [[], [3], [0, 2, 2], [4, 2], [0, math.nan]])
def test_bad_cutpoints(cutpoints):
    with pytest.raises(ValueError, match='two or more rising distances'):
        count(count_distances([1.0]), count_distances([]), cutpoints)


def test_no_rows(tmp_path):
    page = report(write_estimates(tmp_path, [], []))
    assert '0 distances from 0 of 0 clips' in page.text() and not page.all('figure') and page.data['clips'] == []


def test_all_failed(tmp_path):
    rows = [row('a.mp4', 0, math.nan, status='failed'), row('a.mp4', 1, math.nan, status='failed')]
    page = report(write_estimates(tmp_path, rows, [{'video_id': 'a.mp4', 'status': 'failed', 'reason': 'why not'}]))
    assert 'why not' in page.text('table') and 'No second has a distance' in page.text() and not page.sheet


def test_one_member_and_huge_distance(tmp_path):
    rows = [row('a.mp4', 0, 4.0, members=1), row('b.mp4', 0, 1e30, members=1)]
    summary = {'no_interval': 'the members have no out-of-fold predictions', 'coverage': None}
    page = report(write_estimates(tmp_path, rows, [{'video_id': 'a.mp4'}, {'video_id': 'b.mp4'}], summary))
    assert 'by 1 trained model.' in page.text() and 'cpu' not in page.text('header')
    assert 'No intervals. The members have no out-of-fold predictions.' in page.text()
    assert 'interval' not in page.text('figure')


def test_twenty_thousand_rows(tmp_path):
    names = {f'disk/camera{i % 40:02d}/IMG_{i:04d}.MP4': 4 for i in range(5000)}
    found = write_estimates(tmp_path, walks(names), [{'video_id': name, 'duration_s': 4} for name in names])
    page = report(found)
    assert len(page.data['clips']) == 5000 and sum(len(c['t']) for c in page.data['clips']) == 20_000
    # 200 pictures of 320 px take at most about 29 kB each in base64, so the page stays below 10 MB.
    assert (found / 'report.html').stat().st_size + 200 * 29_000 < 10e6
    assert len(page.elements) < 40_000  # charts are drawn when they come into view


def test_same_estimates_same_bytes(folder, page):
    before = (folder / 'report.html').read_bytes()
    write_report(folder)
    assert (folder / 'report.html').read_bytes() == before and not list(folder.glob('*.tmp'))


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('distances.csv', None, r'has no distances\.csv; write it with: chimp-distance estimate'),
        ('clips.csv', None, r'clips\.csv is missing'),
        ('distances.csv', b'', r'distances\.csv is empty'),
        ('distances.csv', b'video_id,time\na,1\n', r'distances\.csv lacks the column distance, '),
        ('clips.csv', b'\xff\xfe\x00', r'clips\.csv is not UTF-8'),
        ('summary.json', b'{', r'summary\.json is not JSON'),
        ('options.json', b'[]', r'options\.json must hold names and values, not list'),
        (
            'corrections.csv',
            b'video_id,time,distance\na,1,far\n',
            r"corrections\.csv:2: the distance 'far' is not a num",
        ),
    ],
)
def test_damaged_file(tmp_path, name, content, message):
    write_estimates(tmp_path, ROWS, CLIPS)
    (tmp_path / name).unlink(missing_ok=True) if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        write_report(tmp_path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'distance': 'inf'}, "distances.csv:3: distance 'inf' is not a number"),
        ({'distance': 'six'}, "distances.csv:3: distance 'six' is not a number"),
        ({'time': '1.5'}, "distances.csv:3: time '1.5' is not a whole second"),
        ({'time': 0}, "distances.csv:3: a second row for 'site/a.mp4', 0;"),
    ],
)
def test_damaged_row(tmp_path, change, message):
    write_estimates(tmp_path, [ROWS[0], ROWS[1] | change], CLIPS)
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path)


def test_row_with_one_cell_too_many_is_refused(tmp_path):
    for name in ('distances.csv', 'clips.csv', 'corrections.csv'):
        write_estimates(tmp_path, ROWS, CLIPS)
        (tmp_path / 'corrections.csv').write_text('video_id,time,distance\ngone.mp4,2,1\ngone.mp4,7,2\n')
        lines = (tmp_path / name).read_text().splitlines()
        lines[2] += ',5'
        (tmp_path / name).write_text('\n'.join(lines))
        n = lines[0].count(',') + 1
        with pytest.raises(ValueError, match=rf'{name}:3 has {n + 1} cells, the header has {n};'):
            write_report(tmp_path)


def test_names_that_look_like_numbers_stay_names(tmp_path):
    names = ['007', '1e5', 'NA', 'nan', 'null']
    rows = [row(name, 1, 2.0) for name in names]
    found = write_estimates(tmp_path, rows, [{'video_id': name, 'site': '01', 'duration_s': 3} for name in names])
    (tmp_path / 'corrections.csv').write_text('video_id,time,distance\n007,1,4\nNA,2,5\n')
    page = report(found)
    assert [clip['n'] for clip in page.data['clips']] == names
    assert {clip['g'] for clip in page.data['clips']} == {'01'} and {clip['d'] for clip in page.data['clips']} == {3}
    assert page.sheet == [(name, 1) for name in names]
    assert page.all('input', **{'data-clip': '007'})[0]['value'] == '4'
    assert page.data['typed'] == [['007', 1, '4'], ['NA', 2, '5']]


def test_corrections_with_fractions_and_another_form_of_letters(tmp_path):
    name = 'e\u0301/a.mp4'
    found = write_estimates(tmp_path, [row(name, 7, 4.0)], [{'video_id': name}])
    (tmp_path / 'corrections.csv').write_text('video_id,time,distance\n\xe9\\a.mp4,7.5,2.250\n,,\n')
    (box,) = report(found).all('input', **{'data-clip': name, 'data-time': '7'})
    assert box['value'] == '2.25'


def test_corrections_saved_by_a_spreadsheet(tmp_path):
    found = write_estimates(tmp_path, ROWS, CLIPS)
    (tmp_path / 'corrections.csv').write_bytes('\ufeffvideo_id;time;distance\r\ngone.mp4;7;2,25\r\n'.encode())
    assert report(found).all('input', **{'data-clip': 'gone.mp4', 'data-time': '7'})[0]['value'] == '2.25'


def test_thumbnail_of_a_small_picture_keeps_its_size(clips_folder):
    _, frames = decode_seconds(clips_folder / 'site' / 'a.mp4', [0])
    small = np.ascontiguousarray(frames[0][:100, :200])
    assert Image.open(io.BytesIO(thumbnails.to_jpeg(small))).size == (200, 100)


def test_everything_in_a_bucket(remote, clips_folder):
    write_estimates(remote / 'out', ROWS, CLIPS, options={'clips': 'gs://clips'})
    shutil.copytree(clips_folder, remote / 'clips')
    page = report('gs://out')
    assert len(page.all('img')) == 4 and (remote / 'out' / 'report.html').exists()


def test_arguments_are_checked_before_clips_are_read(tmp_path):
    for arguments, message in (({'n_frames': -1}, '0 or more; got -1'), ({'cutpoints': [3, 1]}, 'rising distances')):
        with pytest.raises(ValueError, match=message):  # not the error of the missing distances.csv
            write_report(tmp_path, **arguments)
