"""Writes a table of result rows that may be larger than the memory.

The rows come in pieces, sorted by clip, each clip in one piece. A table of up to CSV_ROWS rows becomes NAME.csv. A
larger one becomes the folder NAME with parquet files of about PART_ROWS rows, which pandas, pyarrow, R's arrow and
DuckDB read as one table, and with the list of these files. There is never a list beside a NAME.csv.

A killed run leaves the table of the run before, the new table or none. The same command writes the same bytes again.
"""

import contextlib
import hashlib
import io
from collections.abc import Iterable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from chimp_jax.field.rows.read import LIST, Part, StoredRows
from data_prep.files import put_in_place, unfinished_file, write_json, write_whole

CSV_ROWS = 1_000_000  # a spreadsheet takes 1,048,576
PART_ROWS = 250_000  # about 100 MB in memory
_UNFINISHED = '_unfinished-'  # readers of folders of parquet files skip names that begin with _
_TEXTS = ('video_id', 'animal', 'label', 'flags', 'status', 'reason')
_COUNTS = ('time', 'members', 'start_s', 'end_s', 'seconds')  # the other columns are float64


@contextlib.contextmanager
def written_rows(out, name: str, pieces: Iterable[pd.DataFrame]) -> Iterator[StoredRows]:
    """Writes the table `name` into the folder `out` and yields its rows, which can be read until the context ends.

    pieces: one or more, with the same columns. Raises ValueError if they are not sorted by clip, or if a clip is in
    two of them.
    """
    folder = epath.Path(out) / name
    for left in folder.glob(f'{_UNFINISHED}*'):  # by a killed run
        left.unlink()
    parts = [
        _write_part(folder / f'{_UNFINISHED}{number:05d}.parquet', rows) for number, rows in enumerate(_joined(pieces))
    ]
    stored = StoredRows(folder, parts)
    if stored.n_rows > CSV_ROWS:
        yield _publish_parts(stored)
        return
    try:
        _publish_csv(stored)
        yield stored
    finally:
        folder.rmtree()


def is_in_parts(out, name: str) -> bool:
    """Returns whether the folder `out` has the table as parts, not as a CSV file."""
    return (epath.Path(out) / name / LIST).exists()


def remove_rows(out, name: str) -> None:
    """Removes the table of an earlier run."""
    out = epath.Path(out)
    (out / f'{name}.csv').unlink(missing_ok=True)
    if (out / name).exists():
        (out / name / LIST).unlink(missing_ok=True)
        (out / name).rmtree()


def _joined(pieces: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """Yields the rows of the pieces in parts of PART_ROWS rows or, because clips stay whole, a few more."""
    waiting, n_rows, last = [], 0, ''
    for piece in pieces:
        if len(piece):
            if piece['video_id'].iloc[0] <= last:
                raise ValueError(f'{piece["video_id"].iloc[0]} comes after {last}; sort the rows by clip')
            last = piece['video_id'].iloc[-1]
        waiting.append(piece)
        n_rows += len(piece)
        if n_rows >= PART_ROWS:
            yield pd.concat(waiting)
            waiting, n_rows = [], 0
    if waiting:
        yield pd.concat(waiting)


def _write_part(path: epath.Path, rows: pd.DataFrame) -> Part:
    schema = pa.schema([(name, _type(name)) for name in rows.columns])
    rows = rows.assign(**{name: _as_utf8(rows[name]) for name in _TEXTS if name in rows})
    table = pa.Table.from_pandas(rows, schema, preserve_index=False).replace_schema_metadata(None)
    content = io.BytesIO()
    pq.write_table(table, content, compression='zstd')
    data = content.getvalue()
    write_whole(path, data)
    first, last = (rows['video_id'].min(), rows['video_id'].max()) if len(rows) else ('', '')
    return Part(path.name, len(rows), len(data), hashlib.sha256(data).hexdigest(), first, last)


def _type(name: str) -> pa.DataType:
    return pa.string() if name in _TEXTS else pa.int64() if name in _COUNTS else pa.float64()


def _as_utf8(texts: pd.Series) -> pd.Series:
    """Returns texts in which letters that are not UTF-8, as in file names of old disks, are written \\udc..."""
    try:
        ''.join(texts.unique()).encode()
    except UnicodeEncodeError:
        return texts.map(lambda text: text.encode(errors='backslashreplace').decode())
    return texts


def _publish_csv(stored: StoredRows) -> None:
    out, name = stored.folder.parent, stored.folder.name
    (stored.folder / LIST).unlink(missing_ok=True)
    with unfinished_file(out / f'{name}.csv') as path, path.open('wb') as file:
        for number, piece in enumerate(stored):
            file.write(piece.to_csv(index=False, header=number == 0).encode())


def _publish_parts(staged: StoredRows) -> StoredRows:
    folder = staged.folder
    (folder.parent / f'{folder.name}.csv').unlink(missing_ok=True)
    (folder / LIST).unlink(missing_ok=True)
    for old in folder.glob('part-*.parquet'):
        old.unlink()
    parts = []
    for part in staged.parts:
        named = part._replace(file=part.file.replace(_UNFINISHED, 'part-'))
        put_in_place(folder / part.file, folder / named.file)
        parts.append(named)
    write_json(folder / LIST, {'rows': staged.n_rows, 'parts': [part._asdict() for part in parts]})
    return StoredRows(folder, parts)
