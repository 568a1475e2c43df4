"""Pictures of MJPEG clips as the camera wrote them: to store one costs no second loss, and often half the bytes."""

import io
import re

import av
from PIL import Image

# Within the coded data only restart markers and stuffed bytes follow 0xff. Another one is damage, or a second field.
_MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
_BASELINE = b'\xff\xc0'
_START_OF_SCAN = b'\xff\xda'
_HUFFMAN_TABLES = b'\xff\xc4'


def stored_jpeg(packet: bytes, frame: av.VideoFrame) -> bytes | None:
    """A packet of an MJPEG clip and the frame that it gave -> a file that any JPEG library reads, or None.

    None where a library would not read it whole, or not make that frame of it: turned, interlaced, of limited range.
    """
    if not frame.format.name.startswith('yuvj') or frame.rotation or frame.interlaced_frame:
        return None
    start, end = packet.find(_START_OF_SCAN), packet.rfind(b'\xff\xd9')
    header = packet[:start]
    if start < 0 or end < start or _BASELINE not in header or _HUFFMAN_TABLES not in header:
        return None  # without tables: some cameras leave the usual ones out
    if _MARKER.search(packet, start + 2, end):
        return None
    jpeg = packet[: end + 2]
    return jpeg if _can_be_read(jpeg, frame) else None


def _can_be_read(jpeg: bytes, frame: av.VideoFrame) -> bool:
    """Whether a library reads all of it without an error. Scaled by 1/8, which leaves most of the arithmetic out."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=['JPEG']) as image:
            if (image.width, image.height, image.mode) != (frame.width, frame.height, 'RGB'):
                return False
            image.draft('RGB', (frame.width // 8, frame.height // 8))
            image.load()
    except Exception:  # whatever is wrong with it, the picture is coded anew
        return False
    return True
