"""The labelling page in Chromium, by keyboard alone: `make test-browser`. Skipped elsewhere and without Chromium."""

import threading

import pandas as pd
import pytest
from browser import LONGEST_S, Browser, By, webdriver
from make_clips import numbered_frames, write_clip
from make_labels import give, make_session, make_survey

from chimp_jax.field.label.frames import FrameStore
from chimp_jax.field.label.server import LabelServer

Keys = webdriver.Keys
NASTY = 'A/<img src=x onerror=document.title=1><b>.mp4'
BOXES = {
    ('A/a.mp4', 4): [('1', 0.1, 0.2, 0.3, 0.8), ('2', 0.5, 0.2, 0.7, 0.6)],
    ('A/a.mp4', 12): [('1', 0.1, 0.2, 0.3, 0.7)],
}


class Served:
    def __init__(self, folder, survey, **more):
        self.session, self.frames = make_session(folder, survey, **more), FrameStore()
        self.server = LabelServer(self.session, self.frames)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.frames.close()


@pytest.fixture
def served(tmp_path):
    for name in ('A/a.mp4', 'B/b.mp4', NASTY):
        write_clip(tmp_path / name, numbered_frames(160, 180, 320), 8)
    made = []

    def serve(last_s, boxes=None, **more):
        made.append(Served(tmp_path, make_survey(last_s, boxes, folder=tmp_path), **more))
        return made[-1]

    yield serve
    for one in made:
        one.close()


@pytest.fixture
def browser():
    made = []

    def start(*size, **more):
        made.append(Browser(*size, **more))
        return made[-1]

    yield start
    for one in made:
        one.driver.quit()


def test_distances_by_keyboard_alone(served, browser, tmp_path):
    served = served({'A/a.mp4': 19, 'B/b.mp4': 19})
    page = browser(1280, 800)
    page.open(served.server.address)
    assert page.run('document.activeElement.id') == 'distance'
    typed = ['4', '4.5', '12', '7,5', '3', '6.5', '10', '8', '5.5', '9']
    for distance in typed:
        page.press(distance, Keys.ENTER)
        page.says(f'Saved: {distance.replace(",", ".")} m')
        page.ready()
    distances = [answer.distance_m for answer in served.session.answers()]
    assert distances == [4, 4.5, 12, 7.5, 3, 6.5, 10, 8, 5.5, 9]
    assert len(pd.read_csv(tmp_path / 'labels.csv')) == 10
    # By hand: 4 x 2 + 2 x 3 + 4 x 4 keys for ten answers.
    assert [answer.keys for answer in served.session.answers()] == [2, 4, 3, 4, 2, 4, 3, 2, 4, 2]
    assert served.session.progress()['keys'] == 3.0
    assert '10 distances by ama' in page.text('count')
    assert 'No others are left' in page.text('near')  # 20 s have room for four seconds that are 5 s apart
    before = served.session.upcoming()[0]
    page.press('x')
    page.says('Saved: no animal')
    page.ready()
    page.press('c')
    page.says('Saved: cannot tell')
    page.ready()
    page.press('s')
    page.says('Saved: skip')
    page.press('u')
    page.says('Undone: skip')
    page.press('b')
    page.says('Your answer was: cannot tell')
    page.press('b')
    page.says('Your answer was: no animal')
    page.ready()
    page.press('2.5', Keys.ENTER)
    page.says('Saved: 2.5 m')
    assert 'in place of no animal' in page.text('status')
    kinds = {answer.target: answer.kind for answer in served.session.answers()}
    assert kinds[before] == 'distance' and sorted(kinds.values()).count('cannot tell') == 1
    page.until(lambda: page.run("document.getElementById('distance').value") == '', 'no next second')
    page.ready()
    page.press('dfz', Keys.ENTER)  # no letters get into the field
    page.says('Type the distance')
    page.press('0', Keys.ENTER)
    page.says('This is no distance')
    assert len(served.session.answers()) == 12
    assert page.complaints() == []
    origins = page.run('[...new Set(performance.getEntriesByType("resource").map(e => new URL(e.name).origin))]')
    assert origins == [served.server.address.rsplit('/', 2)[0]]


def test_lines_references_and_known_points_by_keyboard(served, browser):
    served = served({'A/a.mp4': 19, 'B/b.mp4': 3}, BOXES)
    give(served.session, 'A/a.mp4', 4, 5.0, '1')
    page = browser(1280, 800)
    page.open(served.server.address)
    while page.text('clip') != 'A/a.mp4':
        page.press('n')
        page.says('Set aside')
        page.ready()
    assert page.run("document.querySelectorAll('#over .equal').length") == 0
    for distance, rows in (('3', 20), ('6', 0), ('9', -10)):
        page.press('g')
        page.until(lambda: page.run('document.activeElement.id') == 'point-distance', 'no point')
        page.press(*[Keys.ARROW_DOWN if rows > 0 else Keys.ARROW_UP] * abs(rows))
        page.press(distance, Keys.ENTER)
        page.says(f'Saved: a known point at {distance} m')
    page.until(lambda: page.run("document.querySelectorAll('#over .equal').length") >= 3, 'no lines')
    clicks = pd.read_csv(served.session._out.with_name('labels.known.csv'))
    assert clicks['distance'].tolist() == [3, 6, 9] and clicks['y'].is_monotonic_decreasing
    page.press('r')
    page.until(lambda: page.run("!document.getElementById('beside').hidden"), 'no reference')
    page.until(lambda: page.run("document.getElementById('reference').complete"), 'no reference picture')
    page.save('beside')
    page.press('t', 'r')
    page.until(lambda: page.run("!document.getElementById('blended').hidden"), 'not blended')
    page.press(']', ']')
    assert page.run("getComputedStyle(document.getElementById('blended')).opacity") == '0.7'
    page.press('l')
    page.until(lambda: page.run("document.querySelectorAll('#over .equal').length") == 0, 'lines are still there')
    page.press('r', 'l', 'u')
    page.says('Undone: the known point at 9 m')
    assert page.complaints() == []


def test_seconds_and_boxes_by_keyboard(served, browser):
    served = served({'A/a.mp4': 19}, BOXES)
    page = browser(1280, 800)
    page.open(served.server.address)
    asked = served.session.upcoming()[0]
    page.press(Keys.HOME)
    for _ in range(20):
        if page.text('second') == 'second 4 of 19':
            break
        now = int(page.text('second').split()[1])
        page.press(Keys.ARROW_RIGHT if now < 4 else Keys.ARROW_LEFT)
        page.until(lambda: int(page.text('second').split()[1]) != now, 'no step')  # noqa: B023
        page.ready()
    assert page.run("document.querySelectorAll('#over .one').length") == 2
    save, may_save = served.session.answer, threading.Event()
    served.session.answer = lambda request: may_save.wait(LONGEST_S) and save(request)
    page.press('4', Keys.ENTER, '1')  # the first digit of 12 is typed before the answer is saved
    may_save.set()
    page.says('Now the next animal')
    page.press('2', Keys.ENTER)
    page.says('Saved: 12 m, second 4')
    found = {answer.target: (answer.distance_m, answer.asked, answer.keys) for answer in served.session.answers()}
    assert found[('A/a.mp4', 4, '1')][:2] == (4, asked) and found[('A/a.mp4', 4, '2')] == (12, asked, 3)
    page.ready()
    page.press(' ')
    page.until(lambda: page.text('play') == 'Pause', 'it does not play')
    start = page.text('second')
    page.until(lambda: page.text('second') != start or page.text('play') == 'Play', 'it does not move')
    page.press('v')
    page.until(lambda: page.run("!document.getElementById('video').hidden"), 'no video')
    page.press('v')
    page.until(lambda: page.run("document.getElementById('video').hidden"), 'the video stays')
    assert page.complaints() == []


def test_markup_in_the_name_of_a_clip_is_text(served, browser):
    served = served({NASTY: 3})
    page = browser(1280, 800)
    page.open(served.server.address)
    assert page.text('clip') == NASTY
    assert page.run("document.querySelectorAll('b, img[onerror]').length") == 0
    assert NASTY in page.run('document.title')
    page.press('4', Keys.ENTER)
    page.says('Saved: 4 m')
    assert NASTY in page.text('status')


def test_a_second_without_a_picture_has_no_distance(served, browser):
    served = served({'A/gone.mp4': 3})
    page = browser(1280, 800)
    page.open(served.server.address)
    page.until(lambda: 'No picture: ' in page.text('nothing'), 'no reason')
    page.press('4', Keys.ENTER)
    page.says('There is no picture to measure')
    page.press('x')
    assert served.session.answers() == []
    page.press('c')
    page.says('Saved: cannot tell')
    assert [answer.kind for answer in served.session.answers()] == ['cannot tell']


def test_a_distance_that_is_typed_before_its_picture_is_not_taken(served, browser, monkeypatch):
    """The first digits of the next distance may come early, a whole distance with its Enter may not."""
    served = served({'A/a.mp4': 19})
    page, real, arrived, go = browser(1280, 800), served.session.answer, threading.Event(), threading.Event()

    def slow(request):
        arrived.set()
        assert go.wait(LONGEST_S)
        return real(request)

    monkeypatch.setattr(served.session, 'answer', slow)
    page.open(served.server.address)
    page.press('4', Keys.ENTER)
    assert arrived.wait(LONGEST_S)
    page.press('12', Keys.ENTER)
    page.press('5')
    go.set()
    page.says('You typed a distance before its picture was shown')
    page.ready()
    page.press('.5', Keys.ENTER)
    page.says('Saved: 5.5 m')
    assert [answer.distance_m for answer in served.session.answers()] == [4, 5.5]


@pytest.mark.parametrize('dark', [False, True])
def test_it_fits_a_phone(served, browser, dark):
    served = served({'A/a.mp4': 19}, BOXES)
    page = browser(390, 844, dark=dark)
    page.open(served.server.address)
    assert page.run('document.documentElement.scrollWidth') == 390
    small = "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 38).length"
    assert page.run(small) == 0
    assert page.run('document.activeElement.id') != 'distance'  # the keyboard of the phone would hide the picture
    dim = sum(map(int, page.run('getComputedStyle(document.body).backgroundColor')[4:-1].split(','))) < 300
    assert dim == dark
    bottom = page.run("document.getElementById('distance').getBoundingClientRect().bottom")
    assert bottom < 844  # picture and field are on the screen together
    page.save(f'phone-{"dark" if dark else "light"}')


def test_a_table_that_cannot_be_written_is_told(served, browser, tmp_path):
    served = served({'A/a.mp4': 19})
    (tmp_path / 'labels.csv').mkdir()  # nothing can be written there
    page = browser(1280, 800)
    page.open(served.server.address)
    page.press('4', Keys.ENTER)
    page.says('Saved: 4 m')
    assert 'saved in the journal, but a table cannot be written' in page.text('problem')
    (tmp_path / 'labels.csv').rmdir()
    page.ready()
    page.press('5', Keys.ENTER)
    page.says('Saved: 5 m')
    assert page.text('problem') == '' and len(pd.read_csv(tmp_path / 'labels.csv')) == 2


def test_the_end_shows_the_agreement(served, browser, tmp_path):
    first = served({'A/a.mp4': 19})
    for second, distance in ((0, 4.0), (8, 6.0)):
        give(first.session, 'A/a.mp4', second, distance)
    first.close()
    second = served({'A/a.mp4': 19}, who='ben')
    for at, distance in ((0, 4.5), (8, 8.0)):
        give(second.session, 'A/a.mp4', at, distance)
    page = browser(1280, 800, dark=True)
    page.open(second.server.address)
    page.save('desktop-dark')
    page.driver.find_element(By.ID, 'finish').send_keys(Keys.ENTER)
    page.until(lambda: 'ama and ben: 2 distances in common' in page.text('end-lines'), 'no agreement')
    assert 'mean difference -1.25 m' in page.text('end-lines') and '50% within 1 m' in page.text('end-lines')
    page.save('end')
