import struct

import numpy as np
import pytest
from make_photos import write_photo

from data_prep.inputs.headers import Copies
from data_prep.inputs.photos import check_gap, find_bursts, read_bursts, time_us

GREY = np.full((16, 24, 3), 90, np.uint8)
DAY_US = 86_400_000_000


def us(*arguments, suffix='.jpg', tmp_path, **options):
    return time_us(write_photo(tmp_path / f'x{suffix}', GREY, *arguments, **options).read_bytes())


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_the_time_of_a_photo(tmp_path, suffix):
    def time(*arguments, **options):
        return us(*arguments, suffix=suffix, tmp_path=tmp_path, **options)

    assert time('0001:01:01 00:00:00') == 0  # microseconds from here on, by hand
    assert time('0001:01:02 01:01:01') == DAY_US + (3600 + 60 + 1) * 1_000_000
    assert time('0001:01:01 00:00:01', '5') == 1_500_000  # decimals of a second, not a number of units
    assert time('0001:01:01 00:00:01', '05') == 1_050_000
    assert time('0001:01:01 00:00:01', '123456789') == 1_123_456
    assert time('0001:01:01 00:00:01', ' ') == 1_000_000
    assert time('0001-01-01T00:00:02') == 2_000_000
    assert time(changed='0001:01:01 00:00:03') == 3_000_000
    assert time('0001:01:01 00:00:04', changed='0001:01:01 00:00:03') == 4_000_000
    assert time('0000:00:00 00:00:00', changed='0001:01:01 00:00:03') == 3_000_000
    for no_time in ('0000:00:00 00:00:00', '    :  :     :  :  ', '2024:02:30 00:00:00', '2024', ''):
        assert time(no_time) is None, no_time
    assert time() is None


def test_a_time_by_the_bytes_of_the_standard():
    # EXIF 2.32: TIFF, little endian; IFD0 with one entry, 0x8769 (LONG) -> an IFD with one entry, 0x9003 (ASCII, 20).
    text = b'2024:02:29 23:59:59\0'
    entry = struct.Struct('<HHII')
    inner = struct.pack('<H', 1) + entry.pack(0x9003, 2, 20, 44) + bytes(4)
    tiff = (
        b'II*\0' + struct.pack('<I', 8) + struct.pack('<H', 1) + entry.pack(0x8769, 4, 1, 26) + bytes(4) + inner + text
    )
    data = b'Exif\0\0' + tiff
    app0 = b'\xff\xe0' + (16).to_bytes(2) + b'JFIF\0' + bytes(9)
    jpeg = b'\xff\xd8' + app0 + b'\xff\xe1' + (len(data) + 2).to_bytes(2) + data + b'\xff\xda'
    # 2024-02-29 is day 738,945 if 0001-01-01 is day 1: 738,944 whole days before it.
    assert time_us(jpeg) == 738_944 * DAY_US + (86_400 - 1) * 1_000_000
    for end in range(len(jpeg)):  # no part of the file is an error
        assert time_us(jpeg[:end] or b'\xff\xd8\xff') in (None, time_us(jpeg))
    assert time_us(jpeg.replace(b'II*', b'XXX')) is None


def bursts_of(times_s, gap_s=2.0, group=None):
    taken_us = {name: None if s is None else round(s * 1e6) for name, s in times_s.items()}
    return find_bursts(taken_us, group or dict.fromkeys(times_s, 'a'), gap_s)


def test_bursts_by_the_gap_in_time():
    assert bursts_of({'1': 0, '2': 2, '3': 4, '4': 6.000001, '5': 7}) == [['1', '2', '3'], ['4', '5']]
    assert bursts_of({'1': 0, '2': 0.3, '3': 2.3}, gap_s=2) == [['1', '2', '3']]  # 2.3 - 0.3 is above 2 in floats
    assert bursts_of({'1': 0, '2': 0.3, '3': 2.3}, gap_s=1.9) == [['1', '2'], ['3']]
    assert bursts_of({'1': 0, '2': 0, '3': 1}, gap_s=0) == [['1', '2'], ['3']]
    assert bursts_of({'b': None, 'a': None, 'c': 0}) == [['c'], ['b'], ['a']]
    assert bursts_of({}) == []


def test_photos_of_a_second_are_in_the_order_of_their_names():
    # a camera that writes whole seconds, and the names that Windows gives
    assert bursts_of({'p (10)': 5, 'p (9)': 5, 'p (11)': 6, 'p (8)': 5}) == [['p (8)', 'p (9)', 'p (10)', 'p (11)']]
    assert bursts_of({'IMG_2': 1, 'IMG_1': 2}) == [['IMG_2', 'IMG_1']]  # time counts before the name


def test_a_clock_that_jumps_starts_another_burst():
    spring = {'1': 7199, '2': 7200 + 3600, '3': 7201 + 3600}  # 01:59:59, then 03:00:00
    assert bursts_of(spring) == [['1'], ['2', '3']]
    autumn = {'1': 10_798, '2': 10_799, '3': 7200, '4': 7201}  # 02:59:59, then 02:00:00
    assert bursts_of(autumn) == [['3', '4'], ['1', '2']]


def test_a_burst_is_in_one_folder():
    group = {'a/1': 'a', 'b/1': 'b', 'a/2': 'a'}
    assert bursts_of({'a/1': 0, 'b/1': 0, 'a/2': 1}, group=group) == [['a/1', 'a/2'], ['b/1']]


def copies(root, names):
    return {name: Copies(None, str(root / name)) for name in names}


def test_the_window_of_a_photo(tmp_path):
    times = {'a/1.jpg': 0, 'a/2.jpg': 1, 'a/3.JPG': 2, 'b/4.jpeg': 3, 'b/5.png': None}
    for name, second in times.items():
        write_photo(tmp_path / name, GREY, None if second is None else f'2024:03:01 08:00:0{second}')
    (tmp_path / 'b/empty.jpg').write_bytes(b'')
    (tmp_path / 'b/text.jpg').write_text('no photo')
    found = read_bursts(copies(tmp_path, [*times, 'b/empty.jpg', 'b/text.jpg', 'b/gone.jpg']), 2)
    one, two, three = (str(tmp_path / name) for name in list(times)[:3])
    assert found.mates == {
        'a/1.jpg': ((1, 'a/2.jpg', None, two), (2, 'a/3.JPG', None, three)),
        'a/2.jpg': ((-1, 'a/1.jpg', None, one), (1, 'a/3.JPG', None, three)),
        'a/3.JPG': ((-2, 'a/1.jpg', None, one), (-1, 'a/2.jpg', None, two)),
    }
    assert found.first == {**dict.fromkeys(list(times)[:3], 'a/1.jpg'), 'b/4.jpeg': 'b/4.jpeg', 'b/5.png': 'b/5.png'}
    assert found.notes == [
        '1 photos have no time in their EXIF data, so each of them stands alone, first b/5.png',
    ]
    assert not read_bursts(copies(tmp_path, list(times)[:4]), 0.5).mates
    assert read_bursts({}, 2) == ({}, {}, [])


def test_a_window_reaches_as_far_as_any_recipe(tmp_path):
    names = [f'{number:02d}.jpg' for number in range(40)]
    for name in names:
        write_photo(tmp_path / name, GREY, '2024:03:01 08:00:00')
    mates = read_bursts(copies(tmp_path, names), 2).mates
    # 11 frames in steps of 1 s and of 2 s (Ivanov 2021, section 3)
    around = [-10, -8, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 8, 10]
    assert [mate[0] for mate in mates['20.jpg']] == around
    assert mates['20.jpg'][0] == (-10, '10.jpg', None, str(tmp_path / '10.jpg'))
    # the first photo of the burst stands for the seconds before it
    assert [mate[0] for mate in mates['07.jpg']] == [-7, *around[2:]]


def test_copies_of_another_kind_are_no_mates(tmp_path):
    for name in ('1.jpg', '2.jpg', '3.jpg'):
        write_photo(tmp_path / name, GREY, '2024:03:01 08:00:00')
    paths = [str(tmp_path / name) for name in ('1.jpg', '2.jpg', '3.jpg')]
    mixed = {'1': Copies('small', paths[0]), '2': Copies(None, paths[1]), '3': Copies('other', paths[2])}
    assert read_bursts(mixed, 2).mates == {
        '1': ((1, '3', 'other', paths[2]),),
        '3': ((-1, '1', 'small', paths[0]),),
    }


def test_photos_in_a_bucket(remote):
    for number in (1, 2):
        write_photo(remote / 'bucket' / f'{number}.jpg', GREY, '2024:03:01 08:00:00')
    both = {f'{number}.jpg': Copies(None, f'gs://bucket/{number}.jpg') for number in (1, 2)}
    assert read_bursts(both, 2).mates['1.jpg'] == ((1, '2.jpg', None, 'gs://bucket/2.jpg'),)


@pytest.mark.parametrize('gap_s', [-1, float('nan'), float('inf'), 1e6])
def test_an_impossible_gap_is_refused(gap_s):
    with pytest.raises(ValueError, match='--burst_gap must be from 0 to 86400 seconds; got'):
        check_gap(gap_s)
