"""Opening a clip with PyAV: what both ways of decoding and the check of the tables share."""

from collections.abc import Iterator

import av

# By content, whatever the file is called. What is not on the list stays shut: a play list named .mp4 would have
# other files, or the network, read in its place.
_FORMATS = 'mov,mp4,m4a,3gp,3g2,mj2,avi,asf,matroska,webm,mpeg,mpegts,flv,h264,hevc,m4v,mpegvideo,mjpeg'
MOST_PIXELS = 1 << 25  # of a picture; 8K video has 33 million. A damaged header may claim gigabytes.


class ClipError(Exception):
    """A clip that gives no frames; the text is a reason in one line."""


def open_clip(file) -> av.container.InputContainer:
    """file: a local path, or a binary file that can be read and sought."""
    options = {'protocol_whitelist': 'file', 'format_whitelist': _FORMATS}
    return av.open(file if hasattr(file, 'read') else str(file), container_options=options)


def video_stream(container) -> av.video.stream.VideoStream:
    """Raises ClipError where there is none, or one of absurd size."""
    stream = container.streams.best('video')
    if stream is None:
        raise ClipError('no video stream')
    stream.thread_count = 1  # clips are decoded side by side, one process a core
    decoder = stream.codec_context
    if decoder.width * decoder.height > MOST_PIXELS:
        raise ClipError(f'its pictures claim {decoder.width} x {decoder.height} pixels')
    decoder.options = {'max_pixels': str(MOST_PIXELS)}
    return stream


def packets(container, stream) -> Iterator[av.Packet]:
    """The stream's packets up to the end of the file, or to where it cannot be read any more."""
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty packet would tell the decoder that the clip is over
                yield packet
    except av.error.FFmpegError:
        return


class Damage:
    """Says of each picture, in the order of decoding, whether the decoder had to invent parts of it or of one that it
    may rest on. Decoders conceal errors: most damaged clips decode without one.
    """

    def __init__(self):
        self._spreads = False

    def lost(self) -> None:
        """A packet could not be decoded at all."""
        self._spreads = True

    def spoils(self, frame: av.VideoFrame) -> bool:
        self._spreads = frame.is_corrupt or (self._spreads and not frame.key_frame)
        return self._spreads


def frame_rate(stream) -> float:
    """Average, pictures a second; 0 where unknown."""
    return float(stream.average_rate or stream.guessed_rate or 0)


def promised_s(container, stream) -> float:
    """How long the clip is by its header; 0 where that does not say."""
    counted = stream.frames / stream.average_rate if stream.frames and stream.average_rate else 0
    if stream.duration:  # of a truncated AVI libav lessens it, but not the number of pictures
        return float(max(stream.duration * stream.time_base, counted))
    return float(counted or (container.duration or 0) / 1e6)


def reason(error: Exception) -> str:
    """One line for whoever has the clip, without the path that libav puts at its end."""
    text = ' '.join((getattr(error, 'strerror', None) or str(error)).split())
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    if isinstance(error, PermissionError) and not isinstance(error, av.error.FFmpegError):
        return 'this user may not read the file'
    if isinstance(error, av.error.InvalidDataError):
        return f'no video that can be read, or its beginning is damaged ({text})'
    if isinstance(error, MemoryError):
        return 'its pictures do not fit into memory'
    return f'the file is damaged ({type(error).__name__}: {text})'
