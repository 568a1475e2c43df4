import io
import re

import pytest

from data_prep import progress
from data_prep.progress import Progress, format_seconds


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, 'monotonic', clock)
    monkeypatch.setattr('tqdm.std.time', clock)
    return clock


class Terminal(io.StringIO):
    encoding = 'utf-8'

    def isatty(self) -> bool:
        return True


def open_terminal(monkeypatch) -> Terminal:
    """A terminal of 100 columns in the place of standard output."""
    terminal = Terminal()
    monkeypatch.setattr('sys.stdout', terminal)
    monkeypatch.setattr('tqdm.std._screen_shape_wrapper', lambda: lambda _: (100, 24))
    return terminal


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_log_has_a_line_every_30_s_and_a_last_one(clock, capsys):
    line = Progress('decoded', 200)
    for _ in range(200):
        clock.now_s += 1
        line.advance()
    found = lines(capsys)
    assert found[0] == 'decoded: 0 of 200 clips, 0 %, time left unknown'
    assert found[1] == 'decoded: 30 of 200 clips, 1.0 clips/s, 15 %, about 3 min left'
    assert found[-1] == 'decoded: 200 of 200 clips, 1.0 clips/s, 100 %, done in 3 min 20 s'
    assert [int(line.split()[1]) for line in found] == [0, 30, 60, 90, 120, 150, 180, 200]


def test_the_time_left_follows_the_work(clock, capsys):
    # A clip of 60 s of work, then 40 clips of 1 s: after the first one 60 % of the work is done.
    line = Progress('decoded', 41, work=100.0)
    clock.now_s += 60
    line.advance(work=60.0)
    clock.now_s += 35
    line.advance(35, work=35.0)
    assert lines(capsys)[1:] == [
        'decoded: 1 of 41 clips, 60 clips/h, 60 %, about 40 s left',
        'decoded: 36 of 41 clips, 0.4 clips/s, 95 %, about 5 s left',
    ]


def test_problems_notes_and_units(clock, capsys):
    line = Progress('read', 4, 'tables', problems=1)
    clock.now_s += 40
    line.advance(note='a.csv')
    clock.now_s += 40
    line.advance(problems=2, note='b.csv')
    clock.now_s += 40
    line.advance(2)
    assert lines(capsys) == [
        'read: 0 of 4 tables, 1 problem, 0 %, time left unknown',
        'read: 1 of 4 tables, a.csv, 90 tables/h, 1 problem, 25 %, about 2 min left',
        'read: 2 of 4 tables, b.csv, 90 tables/h, 3 problems, 50 %, about 1 min left',
        'read: 4 of 4 tables, 120 tables/h, 3 problems, 100 %, done in 2 min 0 s',
    ]


def test_pieces_done_by_a_run_before_do_not_count_as_fast(clock, capsys):
    line = Progress('decoded', 100, done=60)
    clock.now_s += 40
    line.advance(20)
    assert lines(capsys) == [
        'decoded: 60 of 100 clips, 60 %, time left unknown',
        'decoded: 80 of 100 clips, 0.5 clips/s, 80 %, about 40 s left',
    ]


def test_the_time_before_the_work_does_not_count(clock, capsys):
    line = Progress('train', 100, 'epochs', work=100.0)
    clock.now_s += 3600
    line.start_clock()
    for _ in range(3):
        clock.now_s += 10
        line.advance(1, work=1.0)
    line.start_clock()  # too late: pieces are finished
    # 3 epochs in 30 s, so 97 epochs take 16 min.
    assert lines(capsys)[-1] == 'train: 3 of 100 epochs, 0.1 epochs/s, 3 %, about 16 min left'


def test_nothing_to_do_shows_nothing(clock, capsys):
    Progress('decoded', 0).close()
    Progress('decoded', 0, work=0.0).close()
    assert lines(capsys) == []


def test_the_line_is_closed_once(clock, capsys):
    with pytest.raises(RuntimeError), Progress('decoded', 3) as line:
        clock.now_s += 1
        line.advance(problems=1)
        raise RuntimeError
    line.close()
    assert lines(capsys)[1:] == ['decoded: 1 of 3 clips, 1.0 clips/s, 1 problem, 33 %, about 2 s left']
    with Progress('decoded', 1) as line:
        clock.now_s += 1
        line.advance()
    assert len(lines(capsys)) == 2


def test_a_passing_step_shows_nothing_in_a_log_unless_it_takes_long(clock, capsys):
    line = Progress('checked', 20, passing=True)
    for _ in range(20):
        clock.now_s += 1
        line.advance()
    assert lines(capsys) == []
    line = Progress('checked', 200, passing=True)
    for _ in range(200):
        clock.now_s += 1
        line.advance()
    assert [int(line.split()[1]) for line in lines(capsys)] == [30, 60, 90, 120, 150, 180]


def test_a_terminal_has_one_line_that_is_drawn_again(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    line = Progress('decoded', 4)
    for _ in range(4):
        clock.now_s += 10
        line.advance()
    drawn = terminal.getvalue()
    assert drawn.count('\n') == 1 and drawn.endswith('\n')
    states = [state.strip() for state in drawn.split('\r') if state.strip()]
    assert states[0] == 'decoded: 0 of 4 clips, 0 %, time left unknown |                    |'
    assert states[2] == 'decoded: 2 of 4 clips, 0.1 clips/s, 50 %, about 20 s left |██████████          |'
    assert states[-1] == 'decoded: 4 of 4 clips, 0.1 clips/s, 100 %, done in 40 s |████████████████████|'
    assert len(states) == 5


def test_a_terminal_is_drawn_twice_a_second_at_most(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    line = Progress('decoded', 100)
    for _ in range(99):
        clock.now_s += 0.1
        line.advance()
    states = [state for state in terminal.getvalue().split('\r') if state.strip()]
    assert 10 <= len(states) <= 21  # 9.9 s


def test_a_passing_step_is_erased_from_a_terminal(clock, monkeypatch):
    terminal = open_terminal(monkeypatch)
    with Progress('checked', 2, passing=True) as line:
        clock.now_s += 0.1
        line.advance()
        assert terminal.getvalue() == ''  # quick
        clock.now_s += 5
        line.advance(0)
        assert 'checked: 1 of 2 clips' in terminal.getvalue()
    drawn = terminal.getvalue()
    assert '\n' not in drawn and re.search(r'\r +\r$', drawn)


@pytest.mark.parametrize(
    ('seconds', 'text'),
    [(0, '0 s'), (59.4, '59 s'), (59.6, '1 min 0 s'), (75, '1 min 15 s'), (3600, '1 h 0 min'), (90_000, '25 h 0 min')],
)
def test_seconds_in_words(seconds, text):
    assert format_seconds(seconds) == text


def test_a_time_that_is_not_known():
    assert format_seconds(float('inf')) == format_seconds(float('nan')) == 'unknown'


def test_without_a_name_the_line_is_for_people_who_wait(clock, capsys):
    line = Progress('', 54, work=54 * 60.0)
    clock.now_s += 40
    line.advance(4, work=240.0, note='full-a4p50-f7s1/fold_0', problems=1)
    assert lines(capsys) == [
        'clip 0 of 54, 0 %, time left unknown',
        'clip 4 of 54, 1 problem, 7 %, about 8 min left',
    ]


def test_clips_that_are_worked_on_together_move_the_line(clock, capsys):
    line = Progress('', 12, work=12 * 4.0)
    clock.now_s += 40
    line.advance(0, work=23.0)  # 5.75 of 12 clips
    assert lines(capsys)[1].startswith('clip 5 of 12, 48 %')


def test_the_end_is_told_once(clock, capsys):
    line = Progress('', 1, work=4.0)
    clock.now_s += 31
    line.advance(0, work=4.0)
    line.advance(1)
    assert lines(capsys) == ['clip 0 of 1, 0 %, time left unknown', 'clip 1 of 1, 100 %, done in 31 s']
