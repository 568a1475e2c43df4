from pathlib import Path

import pytest

from data_prep.buckets.objects import Address
from data_prep.fetch.access_table import read_wanted

HEADER = 'video_id,s3_uri,downsampled_s3_uri,sha1_checksum,downsampled_sha1_checksum\n'
A, B = 'a' * 40, 'B' * 40
REAL = Path(__file__).parents[4] / 'shared/data/deep_chimpact'


def row(name: str, group: str = 'train', uri: str | None = None, sha1: str = A) -> str:
    return f'{name},{uri or f"s3://pub/{group}_videos/{name}"},s3://pub/{group}_videos_downsampled/{name},{sha1},{B}\n'


@pytest.fixture
def table(tmp_path):
    def write(*rows: str) -> str:
        path = tmp_path / 'access.csv'
        path.write_text(HEADER + ''.join(rows))
        return str(path)

    return write


def test_files_of_a_set_in_the_order_of_the_table(table):
    path = table(row('b.mp4'), row('t.mp4', 'test'), row('a.avi'))
    files, notes = read_wanted(path, 'train', 'both')
    assert [(file.stream, file.video_id) for file in files] == [
        ('full', 'b.mp4'),
        ('down', 'b.mp4'),
        ('full', 'a.avi'),
        ('down', 'a.avi'),
    ]
    assert files[0].address == Address('pub', 'train_videos/b.mp4') and files[0].sha1 == A
    assert files[1].address == Address('pub', 'train_videos_downsampled/b.mp4') and files[1].sha1 == 'b' * 40
    assert notes == []
    assert [file.video_id for file in read_wanted(path, 'test', 'down')[0]] == ['t.mp4']


def test_first_videos_and_the_bucket_in_europe(table):
    path = table(row('b.mp4'), row('a.mp4'))
    files, notes = read_wanted(path, 'train', 'full', n_videos=1, bucket='eu')
    assert [file.address for file in files] == [Address('pub-eu', 'train_videos/b.mp4')] and not notes
    assert read_wanted(path, 'train', 'full', n_videos=3)[1] == [
        '--videos 3: there are 2 clips; all of them are fetched'
    ]


def test_clips_that_a_table_names(table, tmp_path):
    path = table(row('a.mp4'), row('b.mp4'), row('c.mp4'))
    (tmp_path / 'labels.csv').write_text('video_id,time\n./c.mp4,0\nc.mp4,1\na.mp4,2\n')
    files, _ = read_wanted(path, 'train', 'full', labels=str(tmp_path / 'labels.csv'))
    assert [file.video_id for file in files] == ['a.mp4', 'c.mp4']
    (tmp_path / 'labels.csv').write_text('video_id,time\na.mp4,0\nx.mp4,1\ny.mp4,1\n')
    with pytest.raises(ValueError, match=r"labels.csv:3: .* has no clip 'x.mp4' in the set train \(2 clips"):
        read_wanted(path, 'train', 'full', labels=str(tmp_path / 'labels.csv'))


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('../a.mp4', 'leads out of the clips folder'),
        ('x/../../a.mp4', 'leads out of the clips folder'),
        ('..\\a.mp4', 'leads out of the clips folder'),
        ('/etc/a.mp4', 'is an absolute path'),
        ('C:\\a.mp4', 'is an absolute path'),
        ('a\x00.mp4', None),
        ('a.sh', 'has no suffix of a clip'),
    ],
)
def test_hostile_names(table, name, reason):
    path = table(row(name, uri='s3://pub/train_videos/a.mp4'), row('b.mp4'))
    if reason is None:  # the reader refuses the whole table
        with pytest.raises(ValueError):
            read_wanted(path, 'train', 'full')
        return
    bad, good = read_wanted(path, 'train', 'full')[0]
    assert reason in bad.fault and f'{path}:2' in bad.fault and bad.address is None and good.fault == ''


def test_bad_checksums_and_addresses(table):
    path = table(row('a.mp4', sha1='abc'), row('b.mp4', uri='s3://pub/train_videos/'), row('c.mp4'))
    a, b, c = read_wanted(path, 'train', 'full')[0]
    assert "the SHA-1 'abc' does not have 40 hexadecimal digits" in a.fault
    assert b.address == Address('pub', 'train_videos/')  # a key like any other; the bucket refuses it
    assert c.fault == ''


def test_rows_that_cannot_be_used_are_told(table):
    with pytest.raises(ValueError, match="access.csv:3: a second row for 'a.mp4'"):
        read_wanted(table(row('a.mp4'), row('a.mp4')), 'train', 'full')
    with pytest.raises(ValueError, match='s3://BUCKET/test_videos/NAME'):
        read_wanted(table(row('a.mp4')), 'test', 'full')
    files, notes = read_wanted(table(row('a.mp4'), row('b.mp4', uri='https://x/b.mp4')), 'train', 'full')
    assert len(files) == 1
    assert 'the addresses of 1 rows are neither in train_videos nor in test_videos (the first in line 3)' in notes[0]


@pytest.mark.skipif(not REAL.exists(), reason='the challenge tables are absent')
def test_the_table_of_the_challenge():
    """2072 clips for training, 1836 for the test: as many as the labels and the submission format name."""
    path = str(REAL / 'video_access_metadata.csv')
    for group, labels, n in (('train', 'train_labels.csv', 2072), ('test', 'submission_format.csv', 1836)):
        files, notes = read_wanted(path, group, 'both', labels=str(REAL / labels))
        assert len(files) == 2 * n and not notes and not any(file.fault for file in files)
        assert len({file.address for file in files}) == 2 * n
        assert read_wanted(path, group, 'both')[0] == files
