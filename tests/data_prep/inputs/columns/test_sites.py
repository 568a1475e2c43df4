"""The site of each clip: names with blanks, two columns, two sites."""

import pandas as pd
import pytest

from data_prep.inputs.columns.sites import read_clip_places


def table(**columns):
    n = len(next(iter(columns.values())))
    return pd.DataFrame(columns, index=range(2, n + 2), dtype=object)


def test_blanks_and_forms_of_letters_do_not_make_another_site():
    names = ['ridge', 'ridge ', ' ridge', 'NA', 'For\u0065\u0302t', 'For\xeat']
    places = read_clip_places(table(video_id=list('abcdef'), site=names, park=['tai'] * 6), 't.csv')
    assert places.site == {'a': 'ridge', 'b': 'ridge', 'c': 'ridge', 'e': 'For\xeat', 'f': 'For\xeat'}
    assert places.park == dict.fromkeys('abcdef', 'tai')
    assert not places.faults and not places.notes


def test_upper_and_lower_case_make_two_sites_and_a_note():
    places = read_clip_places(table(video_id=list('abc'), site=['Ridge', 'ridge', 'valley']), 't.csv')
    assert places.site == {'a': 'Ridge', 'b': 'ridge', 'c': 'valley'}
    assert places.notes == [
        "t.csv: the sites 'Ridge', 'ridge' differ only in upper and lower case, so they count as 2; write one name if "
        'they are one place'
    ]


def test_a_clip_with_two_sites_is_a_fault_with_both_lines():
    rows = table(video_id=['a', 'a', 'a', 'b', 'b'], site=['x', '', 'y', 'z', 'z '], park=['p', 'p', 'p', 'p', 'q'])
    assert read_clip_places(rows, 't.csv').faults == {
        'a': "the site is 'y' in line 4 of t.csv, 'x' in line 2; write one site for a clip",
        'b': "the park is 'q' in line 6 of t.csv, 'p' in line 5; write one park for a clip",
    }


def test_site_and_site_id_fill_each_other_and_may_not_differ():
    rows = table(video_id=['a', 'b', 'c'], site_id=['', 'y', 'z '], site=['x', 'NA', 'z'])
    assert read_clip_places(rows, 't.csv').site == {'a': 'x', 'b': 'y', 'c': 'z'}
    rows = table(video_id=['a', 'b'], site_id=['x', 'y'], site=['x', 'z'])
    with pytest.raises(ValueError, match=r"^t\.csv:3: site is 'z', but site_id is 'y'; delete one of the columns$"):
        read_clip_places(rows, 't.csv')
