"""Reads tables of result rows in pieces, so that one piece is in memory at a time."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

LIST = '_parts.json'  # of the parquet files, written last
_REMEDY = 'run the same chimp-distance estimate command again to write it'


class Part(NamedTuple):
    """A parquet file with a part of the rows. first, last: its first and its last clip, '' without rows."""

    file: str
    rows: int
    bytes: int
    sha256: str
    first: str
    last: str


class StoredRows:
    """The rows of a folder of parquet files. Each iteration reads them anew, a piece for each file.

    The pieces are sorted by clip, and each clip is in one piece.
    """

    def __init__(self, folder, parts: Sequence[Part]):
        self.folder, self.parts = epath.Path(folder), tuple(parts)

    @property
    def n_rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return self.pieces()

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yields the rows with these columns, None for all; a column that the files lack is left out.

        Raises ValueError, in one line, if a file is missing, cut off or not of this table.
        """
        for part in self.parts:
            yield _read_part(self.folder / part.file, part, columns)

    def of_clips(self, video_ids: Iterable[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Returns the rows of some clips. Reads only the files that may have one of them."""
        wanted = sorted(set(video_ids))
        found = [_read_part(self.folder / self.parts[0].file, self.parts[0], columns)[:0]]
        for part in self.parts:
            if any(part.first <= name <= part.last for name in wanted):
                rows = _read_part(self.folder / part.file, part, columns)
                found.append(rows[rows['video_id'].isin(wanted)])
        return pd.concat(found, ignore_index=True)


class Pieces:
    """Pieces of rows that can be iterated over again: each iteration calls `make`."""

    def __init__(self, make: Callable[[], Iterable[pd.DataFrame]]):
        self._make = make

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return iter(self._make())


def open_rows(out, name: str) -> StoredRows | None:
    """Returns the rows of the folder out/name, None if there is no such table of parts: then out/name.csv has the rows.

    Raises ValueError, in one line, if the list of the parts is damaged, or if there is a CSV file, too.
    """
    path = epath.Path(out) / name / LIST
    if not path.exists():
        return None
    if (beside := epath.Path(out) / f'{name}.csv').exists():
        raise ValueError(f'{beside} and {path.parent} are of two runs; delete the older one')
    try:
        content = json.loads(path.read_bytes())
        parts = [Part(**part) for part in content['parts']]
        whole = sum(part.rows for part in parts) == content['rows'] and bool(parts)
    except (ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise ValueError(f'{path} is damaged; {_REMEDY}')
    return StoredRows(path.parent, parts)


def _read_part(path: epath.Path, part: Part, columns: Sequence[str] | None) -> pd.DataFrame:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error.strerror or "it is missing"}); {_REMEDY}') from None
    if len(data) < part.bytes:
        raise ValueError(f'{path} is cut off: it has {len(data)} of {part.bytes} bytes; {_REMEDY}')
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise ValueError(f'{path} is damaged or of another run: it is not the file of {LIST}; {_REMEDY}')
    file = pq.ParquetFile(pa.BufferReader(data))
    there = file.schema_arrow.names
    table = file.read(None if columns is None else [name for name in columns if name in there])
    return table.to_pandas()
