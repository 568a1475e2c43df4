import numpy as np
import pandas as pd
import pytest

from data_prep.inputs.cells import number
from data_prep.inputs.tables import check_unique, counts_of, csv_text, numbers_of, read_table, seconds_of
from data_prep.workers import memory


@pytest.fixture
def write(tmp_path):
    def write_table(content: str | bytes):
        path = tmp_path / 'some table.csv'
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_table


def rows_of(table: pd.DataFrame) -> list[list[str]]:
    return table.to_numpy().tolist()


def test_cells_stay_text_and_rows_know_their_line(write):
    table = read_table(write('name,time\n007,1e5\nNA,nan\n\n" x ",0x1F\n'))
    assert list(table.columns) == ['name', 'time']
    assert rows_of(table) == [['007', '1e5'], ['NA', 'nan'], [' x ', '0x1F']]
    assert table.index.tolist() == [2, 3, 5]


@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'], ids=['LF', 'CRLF', 'CR'])
@pytest.mark.parametrize('mark', [',', ';', '\t'])
def test_separators_and_line_ends(write, mark, end):
    text = end.join([mark.join(cells) for cells in (('a', 'b'), ('1', ''), ('', ''), ('x y', '2'))])
    for content in (text, text + end, end + text, f'{end}{end}{text}{end}{end}'):
        table = read_table(write(content))
        assert rows_of(table) == [['1', ''], ['x y', '2']]
        first = 2 + content.index('a') // len(end)
        assert table.index.tolist() == [first, first + 2]


def test_commas_take_precedence_over_other_separators_in_the_header(write):
    assert rows_of(read_table(write('a;b,c\n1;2,3\n'))) == [['1;2', '3']]
    assert list(read_table(write('only one\nx\n')).columns) == ['only one']


@pytest.mark.parametrize('mark', [';', ',', '\t', '|'])
def test_a_first_line_may_name_the_separator(write, mark):
    table = read_table(write(f'sep={mark}\r\na{mark}"b,c"\r\n1{mark}2\r\n'))
    assert list(table.columns) == ['a', 'b,c']
    assert rows_of(table) == [['1', '2']] and table.index.tolist() == [3]


def test_the_line_that_names_the_separator_in_other_forms(write):
    assert rows_of(read_table(write('\ufeffSEP=; \na;b\n1;2\n'))) == [['1', '2']]
    assert rows_of(read_table(write('sep=\na;b\n1;2\n'))) == [['1', '2']]
    assert list(read_table(write('sep=x;b\n1;2\n')).columns) == ['sep=x', 'b']


def test_decimal_commas(write):
    table = read_table(write('name;x;y\nA,1;1,5;2,5\n'), numbers=('x', 'absent'))
    assert rows_of(table) == [['A,1', '1.5', '2,5']]
    assert rows_of(read_table(write('name\tx\nA\t1,5\n'), numbers=('x',))) == [['A', '1.5']]
    # Commas separate the cells: a comma in a quoted cell may be a thousands separator.
    assert rows_of(read_table(write('name,x\nA,"1,500"\n'), numbers=('x',))) == [['A', '1,500']]


@pytest.mark.parametrize('mark', [';', '\t'])
def test_a_mark_that_may_separate_thousands_is_refused_unless_others_tell(write, mark):
    def read(*lines):
        text = '\n'.join(lines).replace(';', mark) + '\n'
        return read_table(write(text), numbers=('area', 'x'), thousands=('area',))

    for cell, meanings in (('864,000', '864000 or 864'), ('1.250', '1250 or 1.25')):
        with pytest.raises(ValueError, match=f':3: area .{cell}. may be {meanings}; write it without a thousands sep'):
            read('area;x', '7;1', f'{cell};2')
    # Other cells tell the decimal mark of the file.
    assert read('area;x', '864,000;3,5')['area'].tolist() == ['864.000']
    assert read('area;x', '1.250;3.5')['area'].tolist() == ['1.250']
    for other in ('3.5', '3,5'):
        cell = '864,000' if other == '3.5' else '864.000'
        with pytest.raises(ValueError, match='may be 864000 or 864'):
            read('area;x', f'{cell};{other}')
    assert read('area,x', '864.000,3.5')['area'].tolist() == ['864.000']
    with pytest.raises(ValueError, match='may be 864000 or 864; write it without'):
        read('area,x', '864.000,3')
    assert read('area;x', '1;2,500')['x'].tolist() == ['2.500']  # no distance has thousands of metres


def test_no_reader_of_numbers_accepts_a_comma_between_commas(write):
    table = read_table(write('x\n"864,000"\n'), numbers=('x',), thousands=('x',))
    for read in (numbers_of, counts_of):
        with pytest.raises(ValueError, match=r'f:2: x .864,000. is not a'):
            read(table, 'x', 'f')
    with pytest.raises(ValueError, match=r'f:2: x .864,000. is not a whole second'):
        seconds_of(table, 'f', 'x')
    with pytest.raises(ValueError, match=r"x '864,000' is not a number; write a number without a thousands separator"):
        number(table.loc[2, 'x'], '', 'x')


def test_columns_in_upper_case(write):
    table = read_table(write('SITE,Time,site_ID\nx,1,2\n'), ['time'], any_case=('time', 'site'))
    assert list(table.columns) == ['site', 'time', 'site_ID']
    for header in ('Time,TIME', 'Time,time', 'time,Time'):  # nobody knows which one is meant
        with pytest.raises(ValueError, match="has the column 'time' twice"):
            read_table(write(f'{header}\n1,2\n'), any_case=('time',))


def test_quotes(write):
    table = read_table(write('name,note\n"a,b","two\nlines, ""quoted"""\nc,5 cm\nd,"x\r\n\r\ny"\ne,f\n'))
    assert rows_of(table) == [['a,b', 'two\nlines, "quoted"'], ['c', '5 cm'], ['d', 'x\r\n\r\ny'], ['e', 'f']]
    assert table.index.tolist() == [2, 4, 5, 8]  # the line on which a row begins


def test_byte_order_mark_and_blanks_around_names(write):
    table = read_table(
        write('\ufeffvideo_id ,\xa0time\xa0, distance\nforêt.mp4,1,2\n'), ['video_id', 'time', 'distance']
    )
    assert rows_of(table) == [['forêt.mp4', '1', '2']]


def test_empty_columns_and_cells_at_the_end(write):
    table = read_table(write('a,b,,\n1,2,,\n3,4\n5,6,\n'))
    assert list(table.columns) == ['a', 'b'] and rows_of(table) == [['1', '2'], ['3', '4'], ['5', '6']]
    assert list(read_table(write('a,,b\n1,2,3\n')).columns) == ['a', '', 'b']


def test_a_header_alone_is_an_empty_table(write):
    table = read_table(write('a;b'), numbers=('b',))
    assert list(table.columns) == ['a', 'b'] and table.empty
    assert numbers_of(table, 'b', 'x').empty and seconds_of(table, 'x', 'b').empty


def test_columns_by_another_name(write):
    names = {'filepath': 'video_id', 'file': 'video_id'}
    assert list(read_table(write('filepath,t\nx,1\n'), ['video_id'], renamed=names).columns) == ['video_id', 't']
    both = read_table(write('filepath,video_id\nx,y\n'), ['video_id'], renamed=names)
    assert both['video_id'].tolist() == ['y'] and both['filepath'].tolist() == ['x']


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('', ' is empty; write a line of column names first'),
        ('\n \r\n,,\n', ' is empty; write a line of column names first'),
        ('sep=;\n', ' is empty; write a line of column names first'),
        ('a,b\n1\n', ':2 has 1 cells, the header has 2; put quotes around a cell that contains the separator'),
        ('a;b\n1;2\n1,5;2;3\n', ':3 has 3 cells, the header has 2; put quotes'),
        ('a,b\n"x\ny",2\n1,2,3\n', ':4 has 3 cells, the header has 2; put quotes'),
        ('a,b,a\n1,2,3\n', " has the column 'a' twice; rename or delete one"),
        ('a, a\n1,2\n', " has the column 'a' twice; rename or delete one"),
        ('a\n1\n', ' lacks the column b, c; it has a'),
        ('a,b,c\n1,"2\n3,4\n', ':3: unexpected end of data; correct the quotes there'),
        ('sep=,\n\na,b,c\n1,"2"x,3\n', ":4: ',' expected after '\"'; correct the quotes there"),
        ('a,b,c\nforêt,1,2\n'.encode('latin-1'), ' is not UTF-8 (byte 9); save it as "CSV UTF-8"'),
        ('a,b,c\n1,2,3\n'.encode('utf-16'), ' is not UTF-8 (byte 0); save it as "CSV UTF-8"'),
        ('a,b,c\n1,2,3\n'.encode('utf-16-le'), ' is not UTF-8 (byte 1); save it as "CSV UTF-8"'),
        (b'PK\x03\x04\x14\x00\x06\x00', ' is not UTF-8 (byte 5); save it as "CSV UTF-8"'),  # a spreadsheet
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(write, content, message):
    path = write(content)
    with pytest.raises(ValueError) as failure:
        read_table(path, ['b', 'c'] if 'lacks' in message else [])
    assert str(failure.value).startswith(f'{path}{message}') and '\n' not in str(failure.value)


def test_a_workbook_is_refused_by_name(tmp_path):
    path = tmp_path / 'labels.xlsx'
    path.write_bytes(b'PK')
    with pytest.raises(ValueError, match='labels.xlsx is a workbook, not a table; save its sheet as "CSV UTF-8"'):
        read_table(path)


def test_a_table_that_does_not_fit_in_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / 'labels.csv'
    with path.open('wb') as file:
        file.truncate(2_000_000_000)
    monkeypatch.setattr(memory, 'limit_bytes', lambda: 12_000_000_000)
    with pytest.raises(ValueError, match='has 2000 MB, more than the 1000 MB that fit in memory; split it'):
        read_table(path)


def test_very_many_columns(write):
    names = [f'c{number}' for number in range(50_000)]
    assert list(read_table(write(','.join(names) + '\n')).columns) == names


def test_a_file_that_cannot_be_opened(tmp_path):
    with pytest.raises(ValueError, match=r'none\.csv cannot be read \(No such file.*\); give the path of a CSV file'):
        read_table(tmp_path / 'none.csv')
    with pytest.raises(ValueError, match='cannot be read .*directory'):
        read_table(tmp_path)


def test_tables_in_a_bucket(remote):
    (remote / 'bucket').mkdir(parents=True)
    (remote / 'bucket' / 'a.csv').write_text('a,b\n01,2\n')
    assert rows_of(read_table('gs://bucket/a.csv')) == [['01', '2']]


def test_number():
    assert [number(text, 'f:2', 'x') for text in ('1.5', ' -2 ', '1e3', '+0')] == [1.5, -2, 1000, 0]
    assert number('0', 'f:2', 'x', 0, 1) == 0 and number('1', 'f:2', 'x', 0, 1) == 1


@pytest.mark.parametrize(
    ('text', 'place', 'message'),
    [
        ('', 'f:2', "f:2: x '' is not a number; write a number with a decimal point"),
        ('six', 'f:2', "f:2: x 'six' is not a number; write a number with a decimal point"),
        ('nan', '', "x 'nan' is not a number; write a number with a decimal point"),
        ('-inf', '', "x '-inf' is not a number; write a number with a decimal point"),
        ('1e999', '', "x '1e999' is not a number; write a number with a decimal point"),
        ('1_000', '', "x '1_000' is not a number; write a number with a decimal point"),
        (
            '1,500.5',
            '',
            "x '1,500.5' is not a number; write a number without a thousands separator, with a decimal point",
        ),
        ('-0.1', 'f:2', 'f:2: x -0.1 is out of bounds; it must be from 0 to 1000000'),
        ('1000001', '', 'x 1000001 is out of bounds; it must be from 0 to 1000000'),
    ],
)
def test_a_cell_without_a_usable_number(text, place, message):
    with pytest.raises(ValueError) as failure:
        number(text, place, 'x', 0, 1_000_000)
    assert str(failure.value) == message


def test_a_bound_on_one_side():
    with pytest.raises(ValueError, match='x -1 is out of bounds; it must be at least 0$'):
        number('-1', '', 'x', at_least=0)


def test_columns_of_numbers(write):
    table = read_table(write('x,y\n1,\n 2.5 ,nan\n-1e3,NaN\n'))
    np.testing.assert_array_equal(numbers_of(table, 'x', 'f'), [1, 2.5, -1000])
    assert numbers_of(table, 'y', 'f').isna().all() and numbers_of(table, 'y', 'f').dtype == np.float64
    for cell in ('six', 'inf', 'NA', '1_0', '"1,5"'):
        with pytest.raises(ValueError, match=r'^f:4: x .* is not a number; write a number'):
            numbers_of(read_table(write(f'x\n1\n\n{cell}\n')), 'x', 'f')


def test_columns_of_seconds_and_counts(write):
    table = read_table(write('time,n\n0,0\n12.0,7\n1e6,5000000\n'))
    assert seconds_of(table, 'f').tolist() == [0, 12, 1_000_000] and seconds_of(table, 'f').dtype == np.int64
    assert counts_of(table, 'n', 'f').tolist() == [0, 7, 5_000_000]
    for cell in ('1.5', '-1', '', 'x', 'nan', '1000001'):
        with pytest.raises(ValueError, match=r'f:3: time .* is not a whole second from 0 to 1000000; correct it'):
            seconds_of(read_table(write(f'time,n\n0,1\n{cell},1\n')), 'f')
    for cell in ('1.5', '-1', '', 'inf'):
        with pytest.raises(ValueError, match=r'f:2: n .* is not a whole number, 0 or more; correct it'):
            counts_of(read_table(write(f'n,m\n{cell},1\n')), 'n', 'f')


def test_seconds_as_hours_minutes_and_seconds(write):
    assert seconds_of(read_table(write('time\n0:05\n00:01:05\n7\n')), 'f').tolist() == [5, 65, 7]
    with pytest.raises(ValueError, match=r'f:2: time .5\.5. is not a whole second'):
        seconds_of(read_table(write('time\n0:05.5\n')), 'f')
    with pytest.raises(ValueError, match=r'^f:3: time .0:61. is not a time in a clip; write seconds'):
        seconds_of(read_table(write('time\n1\n0:61\n')), 'f')


def test_a_key_may_be_there_once(write):
    table = read_table(write('a,b\n1,x\n01,x\n1,y\n'))
    check_unique(table, ['a', 'b'], 'f')
    with pytest.raises(ValueError, match=r"^f:4: a second row for '1'; remove one$"):
        check_unique(table, ['a'], 'f')


def test_text_of_a_table_reads_back(write):
    rows = [['007', 'a,b'], ['', 'say "x"'], ['NA', 'two\nlines'], [1.5, None]]
    text = csv_text(['key', 'note'], rows)
    assert text.startswith('key,note\n007,"a,b"\n,"say ""x"""\nNA,"two\nlines"\n')
    assert rows_of(read_table(write(text))) == [*rows[:3], ['1.5', '']]
