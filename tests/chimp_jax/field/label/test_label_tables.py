"""The tables that the answers become."""

from make_labels import make_session, make_survey

from chimp_jax.field.calibration.known_points import in_shares, read_known_points
from chimp_jax.field.label.tables import read_known_table


def test_a_table_of_known_points_that_is_given_back_repeats_no_point(tmp_path):
    (tmp_path / 'known.csv').write_text('video_id,time,distance,x,y\nA/a.mp4,1,3,0.5,0.9\nA/a.mp4,2,far,,\n')
    survey, written = make_survey({'A/a.mp4': 19}), tmp_path / 'labels.known.csv'

    def resumed(path):
        known = in_shares(read_known_points(path), {})
        session = make_session(tmp_path, survey, known=read_known_table(path), points=known.rows)
        session.write_tables()
        return session

    session = resumed(tmp_path / 'known.csv')
    session.add_point(survey.clips[0], 4, 0.123456, 0.75, 6.0, 'place')
    session.add_point(survey.clips[0], 5, 0.25, 0.7, 8.5, 'place')
    whole = written.read_text()
    assert whole.splitlines()[1:] == [
        'A/a.mp4,1,3,0.5,0.9,',
        'A/a.mp4,2,far,,,',
        'A/a.mp4,4,6,0.12346,0.75000,ground',
        'A/a.mp4,5,8.5,0.25000,0.70000,ground',
    ]
    again = resumed(written)
    assert written.read_text() == whole
    known = [one['distance_m'] for one in again.help_for(survey.clips[0], 19)['references']]
    assert known == [3, 6, 8.5]
    again.undo()
    assert written.read_text().splitlines() == whole.splitlines()[:-1]
