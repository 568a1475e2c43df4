"""The table of the clips' addresses and checksums: which files are wanted, and which rows cannot be used."""

import re
from collections import Counter
from typing import NamedTuple

import pandas as pd

from data_prep.archive import is_clip, path_fault, plain_name
from data_prep.buckets.objects import Address
from data_prep.inputs.tables import check_unique, read_table

SETS = ('train', 'test')
# By stream: the columns of the address and of the SHA-1.
_COLUMNS = {
    'full': ('s3_uri', 'sha1_checksum'),
    'down': ('downsampled_s3_uri', 'downsampled_sha1_checksum'),
}
STREAMS_OF = {'full': ('full',), 'down': ('down',), 'both': ('full', 'down')}  # by the value of --stream
BUCKETS = {'us': '', 'eu': '-eu', 'asia': '-asia'}  # ends of the names of the buckets, which hold the same clips
_ADDRESS = re.compile(r's3://([^/\s]+)/(\S+)')
_SET = re.compile(r's3://[^/]+/(train|test)_videos/')
_SHA1 = re.compile(r'[0-9a-f]{40}')


class WantedFile(NamedTuple):
    """One file to fetch: one copy of a clip."""

    stream: str  # 'full' or 'down'
    video_id: str  # its path below the stream's folder
    address: Address | None
    sha1: str
    fault: str = ''  # why its row cannot be used


def read_wanted(
    path: str,
    set_name: str,
    stream: str,
    n_videos: int | None = None,
    labels: str | None = None,
    bucket: str = 'us',
) -> tuple[list[WantedFile], list[str]]:
    """Returns the files of a set in the order of the table, and notes.

    path: of the table. stream: 'full', 'down' or 'both'. n_videos: only the first ones. labels: a table whose column
    video_id names the clips. Raises ValueError if a table cannot be used.
    """
    pairs = [_COLUMNS[each] for each in STREAMS_OF['both']]
    table = read_table(path, required=('video_id', *(name for pair in pairs for name in pair)))
    table = table.map(str.strip)
    check_unique(table, ['video_id'], path)
    sets = table['s3_uri'].map(_set_of)
    notes = _note_on_others(table[sets == ''], path)
    table = table[sets == set_name]
    if table.empty:
        raise ValueError(f'{path} has no address of the form s3://BUCKET/{set_name}_videos/NAME; give another --table')
    if labels is not None:
        table = _named_in(table, labels, path, set_name)
    if n_videos is not None:
        if n_videos > len(table):
            notes.append(f'--videos {n_videos}: there are {len(table)} clips; all of them are fetched')
        table = table[:n_videos]
    rows = [(line, row) for line, row in zip(table.index, table.to_dict('records'), strict=True)]
    return [_wanted(row, each, bucket, f'{path}:{line}') for line, row in rows for each in STREAMS_OF[stream]], notes


def _set_of(uri: str) -> str:
    found = _SET.match(uri)
    return found[1] if found else ''


def _note_on_others(others: pd.DataFrame, path: str) -> list[str]:
    if others.empty:
        return []
    return [
        f'{path}: the addresses of {len(others)} rows are neither in train_videos nor in test_videos (the first in '
        f'line {others.index[0]}); these rows are left out'
    ]


def _named_in(table: pd.DataFrame, labels: str, path: str, set_name: str) -> pd.DataFrame:
    """Returns the rows of the clips that the table `labels` names. Raises ValueError if it names others."""
    named = read_table(labels, required=('video_id',))['video_id'].map(plain_name).map(str.strip)
    unknown = named[~named.isin(table['video_id'])]
    if len(unknown):
        raise ValueError(
            f'{labels}:{unknown.index[0]}: {path} has no clip {unknown.iloc[0]!r} in the set {set_name} '
            f'({unknown.nunique()} clips of {labels} are missing there); remove its rows or give the other --set'
        )
    return table[table['video_id'].isin(named)]


def _wanted(row: dict[str, str], stream: str, bucket: str, where: str) -> WantedFile:
    uri, sha1 = (row[name] for name in _COLUMNS[stream])
    video_id, sha1, address = row['video_id'], sha1.lower(), _ADDRESS.fullmatch(uri)
    fault = path_fault(video_id)
    if not fault and not is_clip(video_id):
        fault = f'the video_id {video_id!r} has no suffix of a clip'
    if not fault and not address:
        fault = f'{uri!r} is not of the form s3://BUCKET/NAME'
    if not fault and not _SHA1.fullmatch(sha1):
        fault = f'the SHA-1 {sha1!r} does not have 40 hexadecimal digits'
    if fault:
        return WantedFile(stream, video_id, None, sha1, f'{where}: {fault}; correct the table')
    return WantedFile(stream, video_id, Address(address[1] + BUCKETS[bucket], address[2]), sha1)


def count_text(files: list[WantedFile]) -> str:
    """Returns the number of files by stream, such as '20 full, 20 down'."""
    return ', '.join(f'{n} {stream}' for stream, n in Counter(file.stream for file in files).items())
