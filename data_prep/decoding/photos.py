"""Decodes a photo: a JPEG or PNG file to RGB, turned as its EXIF data asks."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from data_prep.decoding.camera_jpeg import MARKER
from data_prep.decoding.container import ClipError, reason
from data_prep.decoding.to_rgb import Converter

MOST_PIXELS = 1 << 26  # the largest cameras write 64 million; a small file may claim many more
_FORMATS = ('JPEG', 'PNG')  # recognised by content; the other readers of Pillow stay shut
_BIT_DEPTH_AT = 24  # of a PNG file: its first chunk has a fixed place
# Segments of a JPEG file without which its picture is the same: EXIF with place and thumbnail, texts, colour profiles.
_ABOUT = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
_START_OF_SCAN, _END, _HUFFMAN_TABLES, _BASELINE = 0xDA, b'\xff\xd9', 0xC4, 0xC0


class Photo(NamedTuple):
    rgb: np.ndarray  # uint8 [H, W, 3], as a viewer shows it
    jpeg: bytes | None  # the camera's own JPEG of the same picture, without its EXIF data; None if it is to be encoded
    fault: str  # a text if the photo may be turned wrongly, else ''


def read_photo(path, gamma: bool = False) -> Photo:
    """Returns a photo. path: local. gamma: corrected as the frames of a clip are, see Converter.

    Raises ClipError with one line if the file is missing, empty, cut off or damaged, no JPEG or PNG, or a picture that
    check_photo refuses.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ClipError(reason(error)) from None
    if not data:
        raise ClipError('the file is empty; copy it again from the card')
    with _opened(io.BytesIO(data)) as image:
        image.load()
        turned, fault = _turned(image)
        rgb = np.asarray(turned.convert('RGB'))
        own = _own_jpeg(data) if image.format != 'PNG' else None
    if gamma:
        return Photo(Converter(gamma)(av.VideoFrame.from_ndarray(rgb, format='rgb24')), None, fault)
    is_plain = turned is image and image.mode == 'RGB'
    return Photo(rgb, own if is_plain else None, fault)


def check_photo(file) -> None:
    """Raises ClipError if a photo cannot be used by its header: CMYK, 16 bits, too many pixels, or no picture at all.

    file: a path, or a seekable binary file, of which only the header is read.
    """
    with _opened(file):
        pass


@contextlib.contextmanager
def _opened(file) -> Iterator[Image.Image]:
    """Yields the image, which is not loaded yet. Every error, also of the caller's loading, becomes a ClipError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # about damaged EXIF data; about size, which is checked here
            with Image.open(file, formats=_FORMATS) as image:
                _check(image)
                yield image
    except ClipError:
        raise
    except UnidentifiedImageError:
        raise ClipError('not a JPEG or PNG picture, or its beginning is damaged; copy it again from the card') from None
    except Image.DecompressionBombError:
        raise ClipError(_too_large('more than 178 million')) from None
    except (FileNotFoundError, PermissionError) as error:
        raise ClipError(reason(error)) from None
    except Exception as error:  # Pillow raises many types on damaged files
        text = ' '.join(str(error).split())
        raise ClipError(f'the photo is cut off or damaged ({text}); copy it again from the card') from error


def _check(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise ClipError(_too_large(f'{image.width} x {image.height}'))
    if image.mode == 'CMYK':
        raise ClipError('its colours are for print (CMYK); save it as an RGB photo')
    if image.mode.startswith(('I', 'F')) or (image.format == 'PNG' and _bit_depth(image) > 8):
        raise ClipError('it has 16 bits per colour; save it with 8 bits')


def _bit_depth(image: Image.Image) -> int:
    place = image.fp.tell()
    image.fp.seek(_BIT_DEPTH_AT)
    depth = image.fp.read(1)[0]
    image.fp.seek(place)
    return depth


def _too_large(pixels: str) -> str:
    return f'it claims {pixels} pixels; save it with {MOST_PIXELS // 1_000_000} million or fewer'


def _turned(image: Image.Image) -> tuple[Image.Image, str]:
    """Returns the image as a viewer shows it: the same object if it is not turned. And a text if that is unknown."""
    try:
        read_exif(image.info.get('exif', b''))
        is_upright = image.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
        return (image if is_upright else ImageOps.exif_transpose(image)), ''
    except ValueError:
        return image, 'its EXIF data cannot be read, so time and rotation are unknown; mend the data or check the photo'


def read_exif(data: bytes) -> Image.Exif:
    """Returns the EXIF data of a photo from their bytes. Raises ValueError if no entry can be read, but some exist."""
    exif = Image.Exif()
    try:
        with warnings.catch_warnings(record=True) as damage:
            warnings.simplefilter('always')
            exif.load(data)
    except Exception as error:  # Pillow raises many types on damaged data
        raise ValueError(reason(error)) from error
    if damage and not len(exif):
        raise ValueError(str(damage[0].message))
    return exif


def _own_jpeg(data: bytes) -> bytes | None:
    """Returns a JPEG file without its EXIF data and what follows its picture, None if it is to be encoded again.

    Only a baseline file with one scan and its own tables is returned, as every JPEG library reads it.
    """
    kept, at, kinds = [data[:2]], 2, set()
    while at + 4 <= len(data) and data[at] == 0xFF:
        kind, n_bytes = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if kind == 0xFF:  # a fill byte
            at += 1
            continue
        kinds.add(kind)
        if kind == _START_OF_SCAN:
            break
        if kind not in _ABOUT:
            kept.append(data[at : at + 2 + n_bytes])
        at += 2 + n_bytes
    if not {_START_OF_SCAN, _HUFFMAN_TABLES, _BASELINE} <= kinds:
        return None
    end = data.find(_END, at)
    is_one_scan = end >= 0 and not MARKER.search(data, at + 2, end)
    return b''.join([*kept, data[at:end], _END]) if is_one_scan else None
