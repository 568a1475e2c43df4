"""Converts decoded pictures to RGB with libav's filters, as the ffmpeg program does: to the bit.

PyAV's `reformat` places the chroma of interlaced and of 10-bit pictures differently.
"""

import math
from collections.abc import Sequence

import av
import numpy as np

from data_prep.decoding.exposure import EQ_FORMATS, GAMMA_LUT

_TO_RGB = (('scale', None), ('format', 'rgb24'))


class Converter:
    """Converts the pictures of one clip. Keeps the filters of the latest kind of picture."""

    def __init__(self, gamma: bool, filters: Sequence[tuple[str, str | None]] = ()):
        self._gamma = gamma
        self._filters = filters  # (name, arguments), before gamma
        self._kind = None
        self._graph = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Returns RGB uint8 [H, W, 3], turned as a player shows it, gamma corrected first if that was asked for."""
        turn = display_filters(frame)
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, turn)
        if kind != self._kind:
            self._kind, self._graph = kind, self._make_graph(frame, turn)
        self._graph.push(frame)
        return np.ascontiguousarray(self._graph.pull().to_ndarray())

    def _make_graph(self, frame: av.VideoFrame, turn: tuple) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1  # clips are decoded side by side, one process per core
        source = (
            f'video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1'  # the time is not used
            f':colorspace={int(frame.colorspace)}:range={int(frame.color_range)}'
        )
        # libav inserts the conversions. Their places depend on the order in which filters are added, which is that of
        # the program: first the filters of its command line (`null` stands for `fps`), then the input, then the output.
        asked = [('null', None), *self._filters, *([('format', EQ_FORMATS), GAMMA_LUT] if self._gamma else [])]
        middle, start, end, rgb = (
            [graph.add(name, arguments) for name, arguments in filters]
            for filters in (asked, [('buffer', source), *turn], [('buffersink', None)], [('format', 'rgb24')])
        )
        graph.link_nodes(*start, *middle, *rgb, *end).configure()
        return graph


def display_filters(frame: av.VideoFrame) -> tuple[tuple[str, str | None], ...]:
    """Returns the filters (name, arguments) that show a picture as its display matrix asks, () if nothing is to do.

    The rule is that of the ffmpeg program (`autorotate`). A matrix may turn by any angle, mirror, or both.
    """
    data = next((data for data in frame.side_data if data.type.name == 'DISPLAYMATRIX'), None)
    if data is None:
        return ()
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    wide, high = math.hypot(a, c), math.hypot(b, d)
    if not wide or not high:
        return ()
    degrees = math.degrees(math.atan2(b / high, a / wide))
    degrees = math.copysign(math.floor(abs(degrees) + 0.5), degrees) % 360  # C rounds halves away from 0
    mirrors = [('hflip', None)] * (a < 0 and degrees == 180) + [('vflip', None)] * (d < 0)
    if degrees in (0, 180):
        return tuple(mirrors)
    if degrees == 90:
        return (('transpose', 'cclock_flip' if c > 0 else 'clock'),)
    if degrees == 270:
        return (('transpose', 'clock_flip' if c < 0 else 'cclock'),)
    return (('rotate', f'{degrees:f}*PI/180'),) if degrees > 1 else ()
