"""One cell: times as people and spreadsheets write them, ranges, units, marks, names of sites."""

import pytest

from data_prep.inputs.cells import decimal_marks, may_be_thousands, number, seconds, site_name, tidy


@pytest.mark.parametrize(
    ('text', 'expected_s'),
    [
        ('0', 0),
        ('12.5', 12.5),
        ('0:05', 5),
        ('00:07', 7),
        ('1:30', 90),
        ('75:10', 75 * 60 + 10),
        ('00:00:05', 5),
        ('00:00:05.5', 5.5),
        (' 1:02:03 ', 3723),
        ('12:00:05 AM', 5),  # 5 s past midnight, as a spreadsheet shows it
        ('12:01:05am', 65),
        ('1:00:00 AM', 3600),
    ],
)
def test_times(text, expected_s):
    assert seconds(text, '', 'time') == expected_s


@pytest.mark.parametrize(
    'text',
    [
        '0:60',
        '1:60:00',
        '1:2:3:4',
        '-0:05',
        ':05',
        '5:',
        '12:05 AM',
        '13:00:05 AM',
        '12:00:05 PM',
        '2024-03-01T00:00:05',
        'a:b',
    ],
)
def test_what_is_no_time_in_a_clip_is_refused(text):
    with pytest.raises(ValueError, match=r'^f:2: time .* is not a time in a clip; write seconds, mm:ss or hh:mm:ss$'):
        seconds(text, 'f:2', 'time')


def test_bounds_of_times():
    for text in ('1:00', '60'):
        with pytest.raises(ValueError, match=r'^time 60.* is out of bounds; it must be from 0 to 59$'):
            seconds(text, '', 'time', 59)
    with pytest.raises(ValueError, match='time -1 is out of bounds'):
        seconds('-1', '', 'time')


@pytest.mark.parametrize(('text', 'made_of'), [('5.78704E-05', '0:00:05'), ('0.000694444444', '0:01:00')])
def test_a_spreadsheets_fraction_of_a_day_is_refused(text, made_of):
    # 5 s are 5 / 86400 = 5.787037e-05 of a day; floored, each of these times would be second 0.
    with pytest.raises(ValueError, match=f'is the fraction of a day that a spreadsheet makes of {made_of}; write sec'):
        seconds(text, '', 'time')


def test_small_times_that_are_no_fraction_of_a_day_are_seconds():
    assert [seconds(text, '', 'time') for text in ('0.001', '0.04', '0.5', '1e-9')] == [0.001, 0.04, 0.5, 1e-9]


@pytest.mark.parametrize(
    ('text', 'fault'),
    [
        ('3-5 m', 'is a range; write one number: the measured one, or the middle of the range, 4'),
        ('2 - 4', 'is a range; .* the middle of the range, 3$'),
        ('2.5\u20134', 'is a range; .* the middle of the range, 3.25$'),
        ('2 to 3m', 'is a range; .* the middle of the range, 2.5$'),
        ('02-Apr', 'looks like a date that a spreadsheet made of a range'),
        ('Apr-02', 'looks like a date that a spreadsheet made of a range'),
        ('5 m', 'has a unit; write only the number of metres'),
        ('5.5m', 'has a unit; write only the number of metres'),
        ('500 cm', 'has a unit; write only the number of metres'),
        ('~5 m', 'has a unit; write only the number of metres'),
        ('5 or 6', 'is not a number; write a number with a decimal point'),
        ('>15', 'is not a number; write a number with a decimal point'),
        ('2,5', 'is not a number; write a number without a thousands separator, with a decimal point'),
        ('1.250.000', 'is not a number; write a number without a thousands separator, with a decimal point'),
        ('1\u202f250', 'is not a number'),
        ("1'250", 'is not a number'),
    ],
)
def test_what_is_no_number_is_refused_with_the_remedy(text, fault):
    with pytest.raises(ValueError, match=f'^the distance .* {fault}'):
        number(text, '', 'the distance', 0)


def test_a_negative_number_is_no_range():
    assert number('-3.5', '', 'x') == -3.5


def test_marks():
    assert decimal_marks(['3,5', '12', 'NA', '']) == {','}
    assert decimal_marks(['0,125', '1.5e3']) == {',', '.'}
    assert decimal_marks(['864,000', '1.250']) == set()  # both may separate thousands
    assert may_be_thousands('864,000', set()) and may_be_thousands('864,000', {'.'})
    assert may_be_thousands('864,000', {',', '.'}) and not may_be_thousands('864,000', {','})
    assert not any(may_be_thousands(cell, set()) for cell in ('864000', '0,125', '1234,500', '3,5', '3,5000', ''))


def test_names_of_sites():
    assert [tidy(text) for text in (' ridge', 'ridge\xa0', 'old  ridge', 'For\u0065\u0302t')] == [
        'ridge',
        'ridge',
        'old ridge',
        'For\xeat',
    ]
    assert [site_name(text) for text in ('NA', 'n/a', ' NaN ', 'None', 'null', '-', '', ' ')] == [''] * 8
    assert [site_name(text) for text in ('0', '007', 'Nan', 'Nana', 'NA1', '--')] == [
        '0',
        '007',
        '',
        'Nana',
        'NA1',
        '--',
    ]
