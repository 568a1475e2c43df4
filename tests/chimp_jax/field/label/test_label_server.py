"""The server of the labelling page: who may ask, what it refuses, what it sends."""

import http.client
import json
import threading
import urllib.parse

import pytest
from make_clips import numbered_frames, write_clip
from make_labels import make_session, make_survey

from chimp_jax.field.label.frames import FrameStore
from chimp_jax.field.label.server import LabelServer


class Page:
    """A client of a server, below its token unless the path begins with '/'."""

    def __init__(self, server):
        self.server = server
        self.root = urllib.parse.urlsplit(server.address).path

    def ask(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection('127.0.0.1', self.server.server_address[1], timeout=600)
        if isinstance(body, dict):
            body, headers = json.dumps(body), {'Content-Type': 'application/json'} | headers
        connection.request(method, path if path.startswith('/') else self.root + path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply, content

    def json(self, method, path, body=None, **headers):
        reply, content = self.ask(method, path, body, **headers)
        return reply.status, json.loads(content)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('label')
    write_clip(folder / 'A' / 'a.mp4', numbered_frames(24), 8)
    (folder / 'A' / 'broken.avi').write_bytes(b'no clip')
    survey = make_survey({'A/a.mp4': 2, 'A/broken.avi': 2}, folder=folder)
    frames = FrameStore()
    server = LabelServer(make_session(folder, survey), frames)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Page(server)
    server.shutdown()
    server.server_close()
    frames.close()


def answer(second, distance, clip=0, **more):
    target = [clip, second, '']
    return {'target': target, 'asked': target, 'kind': 'distance', 'distance': distance, 'keys': 3, 'took_s': 5} | more


def test_it_listens_on_the_loopback_alone(page):
    assert page.server.server_address[0] == '127.0.0.1' and page.server.server_address[1] != 0
    assert len(page.server.token) >= 32


def test_the_page_loads_nothing_from_elsewhere(page):
    reply, content = page.ask('GET', '')
    assert reply.status == 200 and b'Measure distances' in content
    policy = reply.headers['Content-Security-Policy']
    assert "default-src 'none'" in policy and 'unsafe' not in policy and 'http' not in policy
    for name in (
        'page.html',
        'page.css',
        'label.css',
        'label.js',
        'overlay.js',
        'references.js',
        'server.js',
        'viewer.js',
        'icon.svg',
    ):
        reply, content = page.ask('GET', name)
        assert reply.status == 200
        outside = content.replace(b'http://www.w3.org/2000/svg', b'')
        assert b'http:' not in outside and b'https:' not in outside and b'innerHTML' not in outside


@pytest.mark.parametrize(
    'path,headers',
    [
        ('/', {}),
        ('/wrong-token/', {}),
        ('/wrong-token/next', {}),
        ('', {'Host': 'evil.example'}),
        ('next', {'Host': 'evil.example:80'}),
        ('next', {'Host': '127.0.0.1'}),  # without the port
        ('next', {'Origin': 'http://evil.example'}),
        ('next', {'Origin': 'null'}),
    ],
)
def test_strangers_are_refused(page, path, headers):
    reply, content = page.ask('GET', path, **headers)
    assert reply.status in (403, 404) and page.server.token.encode() not in content
    assert 'A/a.mp4' not in content.decode()


def test_strangers_cannot_answer(page):
    before = len(page.server.session.answers())
    assert page.json('POST', '/wrong-token/answer', answer(0, 4.0))[0] == 404
    assert page.json('POST', 'answer', answer(0, 4.0), Host='evil.example')[0] == 403
    assert page.json('POST', 'answer', answer(0, 4.0), Origin='http://evil.example')[0] == 403
    assert page.ask('POST', 'answer', json.dumps(answer(0, 4.0)), **{'Content-Type': 'text/plain'})[0].status == 415
    assert len(page.server.session.answers()) == before


@pytest.mark.parametrize(
    'path',
    [
        '../setup.cfg',
        '..%2f..%2fetc/passwd',
        'frame/../0',
        'frame/0/..',
        'frame/-1/0',
        'frame/9/0',
        'frame/0/99',
        'frame/²/0',
    ]
    + ['frame/0/1.5', 'video/..', 'video/99', 'page/page.html', 'session.py', 'nothing', 'help?clip=9&second=0'],
)
def test_no_path_leads_out_of_the_clips(page, path):
    status, content = page.json('GET', urllib.parse.quote(path, safe='/.%?&=-'))
    assert status == 404 and set(content) == {'error'}


def test_bodies_are_bounded_and_checked(page):
    assert page.json('POST', 'answer', b'x' * 10_001, **{'Content-Type': 'application/json'})[0] == 413
    assert page.ask('POST', 'answer', None, **{'Content-Length': '99999999999'})[0].status == 413
    for body in (b'not JSON', b'[1]', b'\xff\xfe', b'{}', b'[' * 10_000):
        assert page.json('POST', 'answer', body, **{'Content-Type': 'application/json'})[0] == 400
    bad = [0, -1, 100.1, 1e300, float('nan'), float('inf'), 10**400, 'four', True, None, [4]]
    for distance in bad:
        status, content = page.json('POST', 'answer', answer(0, distance))
        assert status == 400 and content['error'], distance
    assert page.json('POST', 'answer', answer(0, 4.0, kind='guess'))[0] == 400
    assert page.json('POST', 'answer', answer(0, 4.0, kind='no animal'))[0] == 400
    assert page.json('POST', 'answer', answer(99, 4.0))[0] == 404
    assert page.json('POST', 'answer', answer(0, 4.0, target=['a', 0, '']))[0] == 404
    assert page.json('POST', 'answer', answer(0, 4.0, target=[0, 0]))[0] == 400
    assert page.server.session.answers() == []


def test_answers_travel_to_the_table_and_back(page):
    status, first = page.json('GET', 'next')
    assert status == 200 and first['hint'] == 'hint' and first['who'] == 'ama'
    assert 'estimate' not in json.dumps(first)
    status, reply = page.json('POST', 'answer', answer(1, 4.5))
    assert status == 200 and reply['progress']['distances'] == 1 and reply['progress']['keys'] == 3
    assert reply['progress']['per_hour'] == 720  # an answer in 5 s
    assert reply['replaced'] is None and reply['problem'] == ''
    status, reply = page.json('POST', 'answer', answer(1, 4.25))  # from another window
    assert reply['replaced'] == {'kind': 'distance', 'distance': 4.5}
    assert not page.json('POST', 'undo', {})[1]['near']  # the next second is one of the other clip
    table = (page.server.session._out).read_text()
    assert table.splitlines()[1].startswith('A/a.mp4,1,4.5,A,')
    _, before = page.json('GET', 'before')
    assert before['answer']['distance'] == 4.5 and before['answer']['target']['second'] == 1
    assert page.json('GET', f'before?id={before["answer"]["id"]}')[1] == {'answer': None}
    assert page.json('GET', 'before?id=x')[0] == 400
    status, undone = page.json('POST', 'undo', {})
    assert undone['undone']['distance'] == 4.5 and undone['progress']['distances'] == 0
    assert page.server.session._out.read_text().count('\n') == 1


def test_frames_are_pictures_or_a_reason(page):
    reply, content = page.ask('GET', 'frame/0/1')
    assert reply.status == 200 and reply.headers['Content-Type'] == 'image/jpeg' and content[:2] == b'\xff\xd8'
    status, content = page.json('GET', 'frame/1/0')
    assert status == 422 and content['error']


def test_a_browser_gets_the_part_of_a_video_that_it_asks_for(page):
    whole = page.ask('GET', 'video/0')[1]
    assert whole == open(page.server.session.survey.clips[0].path, 'rb').read()
    reply, part = page.ask('GET', 'video/0', Range='bytes=10-19')
    assert reply.status == 206 and part == whole[10:20]
    assert reply.headers['Content-Range'] == f'bytes 10-19/{len(whole)}'
    assert page.ask('GET', 'video/0', Range='bytes=-5')[1] == whole[-5:]
    assert page.ask('GET', 'video/0', Range=f'bytes={len(whole) - 3}-')[1] == whole[-3:]
    assert page.json('GET', 'video/1')[0] == 404  # AVI
