"""Answers of persons: the journal, the tables, undo, agreement, and what is asked next."""

import json

import pandas as pd
import pytest
from make_labels import give, make_session, make_survey

from chimp_jax.field.calibration.known_points import read_known_points
from chimp_jax.field.label.agreement import agreement, agreement_lines
from chimp_jax.field.label.journal import Journal
from chimp_jax.field.label.session import LabelRequest
from chimp_jax.field.label.tables import KnownTable

TWO_CLIPS = {'A/a.mp4': 30, 'B/b.mp4': 30}
BOXES = {
    ('A/a.mp4', 4): [('1', 0.1, 0.2, 0.3, 0.8), ('2', 0.5, 0.2, 0.7, 0.6)],
    ('A/a.mp4', 9): [('1', 0.1, 0.2, 0.3, 1.0)],
}


def rows(path):
    return pd.read_csv(path, keep_default_na=False, dtype=str).to_dict('records')


def test_every_answer_is_in_its_table(tmp_path):
    session = make_session(tmp_path, make_survey(TWO_CLIPS))
    give(session, 'A/a.mp4', 3, 4.5)
    give(session, 'A/a.mp4', 20, 'no animal')
    give(session, 'B/b.mp4', 1, 'cannot tell')
    give(session, 'B/b.mp4', 9, 'skip')
    give(session, 'A/a.mp4', 3, 5.25)  # typed again: the last one counts
    (label,) = rows(tmp_path / 'labels.csv')
    assert {name: label[name] for name in ('video_id', 'time', 'distance', 'site', 'who')} == {
        'video_id': 'A/a.mp4',
        'time': '3',
        'distance': '5.25',
        'site': 'A',
        'who': 'ama',
    }
    others = [(row['video_id'], row['time'], row['answer']) for row in rows(tmp_path / 'labels.others.csv')]
    assert others == [('A/a.mp4', '20', 'no animal'), ('B/b.mp4', '1', 'cannot tell')]
    assert not (tmp_path / 'labels.known.csv').exists()


def test_boxes_give_foot_points_and_names(tmp_path):
    session = make_session(tmp_path, make_survey({'A/a.mp4': 30}, BOXES, only_candidates=True))
    give(session, 'A/a.mp4', 4, 4.0, animal='1')
    give(session, 'A/a.mp4', 4, 8.0, animal='2')
    give(session, 'A/a.mp4', 9, 2.0, animal='1')  # its feet are cut off by the edge of the picture
    found = rows(tmp_path / 'labels.csv')
    assert [(row['animal'], row['x'], row['y']) for row in found] == [
        ('1', '0.20000', '0.80000'),
        ('2', '0.60000', '0.60000'),
        ('1', '', ''),
    ]
    assert [row['y2'] for row in found] == ['0.80000', '0.60000', '1.00000']
    with pytest.raises(ValueError, match='second 5 has no estimate'):
        give(session, 'A/a.mp4', 5, 4.0)


def test_undo_takes_back_the_last_entry_of_this_person_alone(tmp_path):
    survey = make_survey(TWO_CLIPS)
    ama = make_session(tmp_path, survey)
    give(ama, 'A/a.mp4', 3, 4.5)
    ama.add_point(survey.clips[0], 3, 0.5, 0.75, 6.0, 'place')
    assert ama.undo()['do'] == 'point' and rows(tmp_path / 'labels.known.csv') == []
    ben = make_session(tmp_path, survey, 'ben')
    assert ben.undo() is None
    give(ben, 'B/b.mp4', 3, 7.0)
    ama = make_session(tmp_path, survey)
    assert ama.undo()['distance'] == 4.5 and ama.undo() is None
    assert [row['video_id'] for row in rows(tmp_path / 'labels.csv')] == ['B/b.mp4']


def test_the_journal_survives_a_torn_line_and_tells_of_a_damaged_one(tmp_path, caplog):
    survey = make_survey(TWO_CLIPS)
    give(make_session(tmp_path, survey), 'A/a.mp4', 3, 4.5)
    path = tmp_path / 'labels.work' / 'answers.jsonl'
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"id": 2, "who": "am')
    session = make_session(tmp_path, survey)
    assert path.read_bytes() == whole and len(session.answers()) == 1
    give(session, 'A/a.mp4', 12, 5.5)
    assert [json.loads(line)['id'] for line in path.read_text().splitlines()] == [1, 2]
    path.write_bytes(b'{"id": 1, "wh\n' + whole)
    with pytest.raises(ValueError, match=r'answers.jsonl:1 is damaged'):
        Journal(path)


ASKED = {'clip': 'A/a.mp4', 'second': 3, 'animal': '', 'asked': ['A/a.mp4', 3, '']}
ANSWERED = {'id': 1, 'who': 'ama', 'do': 'answer'} | ASKED


@pytest.mark.parametrize(
    'entry',
    [
        ANSWERED,
        ANSWERED | {'kind': 'distance', 'distance': 'far'},
        ANSWERED | {'kind': 'perhaps'},
        ANSWERED | {'kind': 'skip', 'second': '3'},
        {'id': 1, 'who': 'ama', 'do': 'undo'},
        {'id': 1, 'who': 'ama', 'do': 'dance'},
        {'id': 1, 'who': 'ama', 'do': ['point']},
        ['id', 1],
    ],
)
def test_an_entry_without_its_fields_is_damaged(tmp_path, entry):
    path = tmp_path / 'answers.jsonl'
    path.write_text(json.dumps(entry) + '\n')
    with pytest.raises(ValueError, match=r'answers.jsonl:1 is damaged'):
        Journal(path)


def test_a_clip_that_is_not_asked_any_more_keeps_its_site(tmp_path):
    give(make_session(tmp_path, make_survey(TWO_CLIPS)), 'B/b.mp4', 3, 4.5)
    # On the next start with --detect, the detector finds nothing in B/b.mp4.
    later = make_session(tmp_path, make_survey({'A/a.mp4': 30}, BOXES, True, sites={'B/b.mp4': 'B'}))
    later.write_tables()
    assert [(row['video_id'], row['site']) for row in rows(tmp_path / 'labels.csv')] == [('B/b.mp4', 'B')]


def test_a_full_disk_leaves_the_journal_readable(tmp_path, monkeypatch):
    session = make_session(tmp_path, make_survey(TWO_CLIPS))
    give(session, 'A/a.mp4', 3, 4.5)
    before = (tmp_path / 'labels.work' / 'answers.jsonl').read_bytes()

    def full(_):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr('chimp_jax.field.label.journal.os.fsync', full)
        with pytest.raises(OSError, match='No space left'):
            give(session, 'A/a.mp4', 12, 5.5)
    assert (tmp_path / 'labels.work' / 'answers.jsonl').read_bytes() == before
    give(session, 'A/a.mp4', 12, 6.5)
    assert [row['distance'] for row in rows(tmp_path / 'labels.csv')] == ['4.5', '6.5']


def test_a_table_that_cannot_be_written_loses_no_answer(tmp_path, monkeypatch):
    session = make_session(tmp_path, make_survey(TWO_CLIPS))

    def full(*_):
        raise OSError(28, 'No space left on device', 'labels.csv')

    with monkeypatch.context() as patch:
        patch.setattr('chimp_jax.field.label.written.write_whole', full)
        give(session, 'A/a.mp4', 12, 5.5)
        assert 'No space left' in session.problem
        with pytest.raises(OSError, match='No space left'):
            session.write_tables()  # as the command does at its end
    assert [answer.distance_m for answer in session.answers()] == [5.5]
    give(session, 'B/b.mp4', 3, 4.5)
    assert session.problem == '' and [row['distance'] for row in rows(tmp_path / 'labels.csv')] == ['5.5', '4.5']


def test_what_another_program_wrote_is_kept_beside_the_table(tmp_path, caplog):
    survey, labels = make_survey(TWO_CLIPS), tmp_path / 'labels.csv'
    give(make_session(tmp_path, survey), 'A/a.mp4', 3, 4.5)
    own = labels.read_text()
    labels.write_text(own.replace('4.5', '6'))  # in a spreadsheet, after the first start ended
    session = make_session(tmp_path, survey)
    session.write_tables()
    assert (tmp_path / 'labels.changed-1.csv').read_text() == own.replace('4.5', '6') and labels.read_text() == own
    assert 'labels.csv was written by another program' in caplog.text
    labels.write_text('')
    give(session, 'B/b.mp4', 3, 7.0)
    assert (tmp_path / 'labels.changed-2.csv').read_text() == '' and len(rows(labels)) == 2
    give(make_session(tmp_path, survey), 'B/b.mp4', 12, 7.0)  # its own content is no change
    assert len(list(tmp_path.glob('labels.changed*'))) == 2


def test_a_file_that_was_there_before_the_first_start_is_kept(tmp_path):
    others = tmp_path / 'labels.others.csv'
    others.write_text('notes of mine\n')
    give(make_session(tmp_path, make_survey(TWO_CLIPS)), 'A/a.mp4', 3, 4.5)
    assert (tmp_path / 'labels.others.changed-1.csv').read_text() == 'notes of mine\n'
    assert others.read_text() != 'notes of mine\n'


def test_persons_agree_by_hand(tmp_path):
    survey = make_survey(TWO_CLIPS)
    ama = make_session(tmp_path, survey)
    for second, distance_m in ((0, 4.0), (5, 6.0), (10, 8.0)):
        give(ama, 'A/a.mp4', second, distance_m)
    give(ama, 'A/a.mp4', 15, 3.0)
    give(ama, 'A/a.mp4', 20, 'no animal')
    ben = make_session(tmp_path, survey, 'ben')
    for second, distance_m in ((0, 4.5), (5, 5.0), (10, 11.0)):
        give(ben, 'A/a.mp4', second, distance_m)
    give(ben, 'A/a.mp4', 15, 'no animal')
    give(ben, 'A/a.mp4', 20, 'cannot tell')
    (pair,) = agreement(ben.answers())
    # ama - ben: -0.5, +1.0, -3.0. Mean -2.5 / 3, absolute 4.5 / 3; two of three within 1 m.
    assert (pair.first, pair.second, pair.n, pair.n_contradictions) == ('ama', 'ben', 3, 1)
    assert pair.mean_m == pytest.approx(-2.5 / 3) and pair.mean_absolute_m == pytest.approx(1.5)
    assert pair.share_near == pytest.approx(2 / 3)
    assert agreement_lines([pair]) == [
        'ama and ben: 3 distances in common, mean difference -0.83 m, mean absolute difference 1.50 m, 67% within 1 m; '
        'in 1 seconds only one of them sees an animal.'
    ]
    labels = {row['time']: (row['distance'], row['who']) for row in rows(tmp_path / 'labels.csv')}
    assert labels == {'0': ('4.25', 'ama;ben'), '5': ('5.5', 'ama;ben'), '10': ('9.5', 'ama;ben')}
    others = {row['time']: row['answer'] for row in rows(tmp_path / 'labels.others.csv')}
    assert others == {'15': 'contradiction', '20': 'no animal'}


def test_a_second_person_is_asked_for_seconds_of_the_first(tmp_path):
    survey = make_survey(TWO_CLIPS)
    ama = make_session(tmp_path, survey)
    for _ in range(4):
        give(ama, *ama.upcoming()[0][:2], 5.0)
    first = {answer.target for answer in ama.answers()}
    ben = make_session(tmp_path, survey, 'ben')
    asked = []
    for _ in range(10):
        asked.append(ben.upcoming()[0])
        give(ben, *asked[-1][:2], 5.0)
    assert asked[4] in first and asked[9] in first and len(set(asked)) == 10


def test_the_order_spreads_over_stations_and_leaves_near_seconds_for_the_end(tmp_path):
    session = make_session(tmp_path, make_survey({'A/a.mp4': 9, 'A/c.mp4': 9, 'B/b.mp4': 9}))
    asked = []
    while session.upcoming():
        asked.append(session.upcoming()[0])
        give(session, *asked[-1][:2], 'skip')
    assert len(asked) == len(set(asked)) == 30
    assert {clip[0] for clip, _, _ in asked[:2]} == {'A', 'B'}
    assert {clip for clip, _, _ in asked[:3]} == {'A/a.mp4', 'A/c.mp4', 'B/b.mp4'}
    for number, (clip, second, _) in enumerate(asked[:5]):
        assert all(abs(second - other) >= 5 for name, other, _ in asked[:number] if name == clip)


def test_the_page_learns_that_a_second_is_near_an_answer(tmp_path):
    session = make_session(tmp_path, make_survey({'A/a.mp4': 9}))
    give(session, 'A/a.mp4', 2, 5.0)
    near = {second: session.is_near_answer(('A/a.mp4', second, '')) for second in (0, 2, 6, 7)}
    assert near == {0: True, 2: False, 6: True, 7: False}  # 2 is answered itself


def test_an_answer_for_another_second_moves_the_next_ones_away_from_it(tmp_path):
    session = make_session(tmp_path, make_survey({'A/a.mp4': 40}))
    asked, following = session.upcoming()[:2]
    target = (following[0], following[1] + 1, '')
    session.answer(LabelRequest(target, asked, 'distance', 4.0))
    assert all(abs(second - target[1]) >= 5 for _, second, _ in session.upcoming())


def test_what_is_decoded_ahead_is_chosen_as_if_the_pending_answers_were_there(tmp_path):
    # The long clip has the most seconds, so it would be chosen thrice if its pending answer taught nothing.
    session = make_session(tmp_path, make_survey({'A/a.mp4': 60, 'B/b.mp4': 40, 'C/c.mp4': 40}))
    assert sorted(clip for clip, _, _ in session.upcoming()) == ['A/a.mp4', 'B/b.mp4', 'C/c.mp4']
    assert session.upcoming()[0][0] == 'A/a.mp4'


def test_a_set_aside_second_comes_again_at_the_end(tmp_path):
    session = make_session(tmp_path, make_survey({'A/a.mp4': 1}))
    first, second = session.upcoming()
    session.set_aside(first)
    assert session.upcoming()[0] == second
    give(session, *second[:2], 3.0)
    assert session.upcoming() == [first]
    give(session, *first[:2], 3.0)
    assert session.upcoming() == []


def test_clicked_points_go_below_the_rows_of_the_given_table(tmp_path):
    survey = make_survey(TWO_CLIPS)
    known = KnownTable(['video_id', 'time', 'distance', 'note'], [
        {'video_id': 'A/a.mp4', 'time': '0', 'distance': '3', 'note': 'tape'}
    ])  # fmt: skip
    session = make_session(tmp_path, survey, known=known)
    session.add_point(survey.clips[0], 7, 0.25, 0.75, 6.5, 'place')
    session.add_point(survey.clips[1], 2, 0.5, 0.625, 9.0, 'person')
    for wrong in (
        (0.5, 0.5, 0.0, 'place'),
        (1.5, 0.5, 4.0, 'place'),
        (0.5, 0.5, 4.0, 'ghost'),
        (0.5, 0.5, 101.0, 'place'),
    ):
        with pytest.raises(ValueError, match='is not a distance|outside the picture|no word'):
            session.add_point(survey.clips[0], 7, *wrong)
    read = read_known_points(tmp_path / 'labels.known.csv')
    points = read.rows[['video_id', 'time', 'distance', 'x', 'y']].fillna(-1).values.tolist()
    assert points == [['A/a.mp4', 0, 3.0, -1, -1], ['A/a.mp4', 7, 6.5, 0.25, 0.75], ['B/b.mp4', 2, 9.0, 0.5, 0.625]]
    # A place is not compared with the estimate of its second; a clip of a person has no animal, one of a place may.
    assert read.by_second()['distance'].tolist() == [3.0, 9.0] and read.not_animals == {'B/b.mp4'}


def test_lines_of_equal_distance_and_references(tmp_path):
    survey = make_survey(TWO_CLIPS | {'A/c.mp4': 5})
    session = make_session(tmp_path, survey)
    assert session.help_for(survey.clips[0], 0) == {'lines': [], 'references': []}
    for distance_m in (2.0, 4.0, 8.0):  # the horizon is at 0.4, the camera 1.2 m above it: y = 0.4 + 1.2 / r
        session.add_point(survey.clips[2], int(distance_m) // 2, 0.5, 0.4 + 1.2 / distance_m, distance_m, 'place')
    give(session, 'A/a.mp4', 12, 5.0)
    shown = session.help_for(survey.clips[0], 0)
    middle = {line['metres']: (line['left'] + line['right']) / 2 for line in shown['lines']}
    assert middle[4] == pytest.approx(0.7, abs=0.03) and middle[8] == pytest.approx(0.55, abs=0.03)
    assert [(one['distance_m'], one['clip'], one['what']) for one in shown['references']] == [
        (2.0, 2, 'known point'),
        (4.0, 2, 'known point'),
        (5.0, 0, 'label'),
        (8.0, 2, 'known point'),
    ]
    assert session.help_for(survey.clips[1], 0) == {'lines': [], 'references': []}  # another station
