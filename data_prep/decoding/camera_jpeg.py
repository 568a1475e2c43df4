"""Takes the pictures of MJPEG clips as the camera wrote them: no second loss, and often half the bytes."""

import io
import re

import av
from PIL import Image

from data_prep.decoding.to_rgb import display_filters

# In coded data only restart markers and stuffed bytes follow 0xff. Any other byte is damage or a second field.
MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
_BASELINE = b'\xff\xc0'
_START_OF_SCAN = b'\xff\xda'
_HUFFMAN_TABLES = b'\xff\xc4'


def stored_jpeg(packet: bytes, frame: av.VideoFrame) -> bytes | None:
    """Returns a packet of an MJPEG clip as a file that any JPEG library reads, or None.

    frame: the decoded packet. None if a library would not read the whole packet, or would decode another picture from
    it: turned, mirrored, interlaced, of limited range.
    """
    if not frame.format.name.startswith('yuvj') or frame.interlaced_frame or display_filters(frame):
        return None
    start, end = packet.find(_START_OF_SCAN), packet.rfind(b'\xff\xd9')
    header = packet[:start]
    if start < 0 or end < start or _BASELINE not in header or _HUFFMAN_TABLES not in header:
        return None  # some cameras omit the usual Huffman tables
    if MARKER.search(packet, start + 2, end):
        return None
    jpeg = packet[: end + 2]
    return jpeg if _can_be_read(jpeg, frame) else None


def _can_be_read(jpeg: bytes, frame: av.VideoFrame) -> bool:
    """Returns whether a library reads the whole file without an error. Decodes it at 1/8 of its size to save time."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=['JPEG']) as image:
            if (image.width, image.height, image.mode) != (frame.width, frame.height, 'RGB'):
                return False
            image.draft('RGB', (frame.width // 8, frame.height // 8))
            image.load()
    except Exception:  # any fault: the picture is encoded again
        return False
    return True
