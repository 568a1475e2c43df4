"""Damaged copies of a file's content."""

import random
import re

# Fields of MP4 (boxes), AVI and Matroska (element numbers) that hold sizes, counts, durations and dimensions.
_FIELDS = (
    *(
        b'mvhd',
        b'mdhd',
        b'tkhd',
        b'stsd',
        b'stts',
        b'stsz',
        b'stsc',
        b'stco',
        b'ctts',
        b'elst',
        b'moov',
        b'mdat',
        b'trun',
    ),
    *(b'avih', b'strh', b'strf', b'idx1', b'movi', b'LIST', b'RIFF', b'FLV', b'OggS'),
    *(b'\x2a\xd7\xb1', b'\x44\x89', b'\x1f\x43\xb6\x75', b'\x18\x53\x80\x67', b'\x16\x54\xae\x6b', b'\x23\xe3\x83'),
)
_LARGE = (b'\xff' * 4, b'\x7f' + b'\xff' * 3, b'\x80\0\0\0', b'\xff' * 8, b'\x7f' + b'\xff' * 7, b'\0' * 4, b'\0\0\0\1')
KINDS = ('truncated', 'bits flipped', 'zeroed', 'spliced', 'claims', 'repeated')


def damage(kind: str, content: bytes, other: bytes, draw: random.Random) -> bytes:
    """Returns a damaged copy of a content that is not empty. other: the content to splice with."""
    start = draw.randrange(len(content))
    if kind == 'truncated':
        return content[:start]
    if kind == 'spliced':
        return content[:start] + other[draw.randrange(len(other)) :]
    if kind == 'claims':
        return _claiming(content, draw)
    damaged = bytearray(content)
    if kind == 'zeroed':
        end = min(len(content), start + draw.randrange(1, max(2, len(content) // 3)))
        damaged[start:end] = bytes(end - start)
    elif kind == 'repeated':
        damaged[start:start] = content[start : start + draw.randrange(1, 5000)] * draw.choice([1, 2, 50])
    else:
        for _ in range(draw.choice([1, 10, 100, 1000])):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def _claiming(content: bytes, draw: random.Random) -> bytes:
    """Returns a copy whose header claims sizes, counts or durations in the billions."""
    places = [match.end() for field in _FIELDS for match in re.finditer(re.escape(field), content)]
    damaged = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4])):
        place = draw.choice(places) if places else draw.randrange(min(200, len(content)))
        place = max(0, place + draw.choice([-8, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 72, 76]))
        large = draw.choice(_LARGE)
        damaged[place : place + len(large)] = large[: max(0, len(damaged) - place)]
    return bytes(damaged)
