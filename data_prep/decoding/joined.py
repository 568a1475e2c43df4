"""Finds a second film at the end of a file. libav and players read the first one only, and tell nothing."""

import mmap
import os

_ASF_HEADER = bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c')
_FLV_HEADER = b'FLV\x01'


def unread_film(path) -> str:
    """Returns a text about a second film in an MP4, MOV, 3GP, ASF, WMV or FLV file, or ''.

    In other formats libav reads on. path: local.
    """
    with open(path, 'rb') as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if not n_bytes:
            return ''
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            start = _second_start(content)
    if start is None:
        return ''
    return f'a second film begins after {start / n_bytes:.0%} of the file and is not read; save it as a file of its own'


def _second_start(content: mmap.mmap) -> int | None:
    head = content[:16]
    if head[4:8] == b'ftyp':
        start = content.find(b'ftyp', 8)
        while start >= 0 and not _is_file_type(content[start - 4 : start + 12]):
            start = content.find(b'ftyp', start + 4)
        return None if start < 0 else start - 4
    for header in (_ASF_HEADER, _FLV_HEADER):
        if head.startswith(header):
            # An FLV file says in its header that the header has 9 bytes, and a length of 0 follows.
            whole = header if header is _ASF_HEADER else content[:13]
            start = content.find(whole, len(whole))
            return None if start < 0 else start
    return None


def _is_file_type(box: bytes) -> bool:
    """Returns whether bytes begin with the box `ftyp` of an MP4 file: its length, `ftyp`, a brand in letters."""
    return 16 <= int.from_bytes(box[:4], 'big') <= 512 and box[8:12].isascii() and box[8:12].decode().isprintable()
