"""Opens a clip with PyAV, for both ways of decoding and for the check of the tables."""

from collections.abc import Iterator

import av

from data_prep.decoding.timestamps import Clock

# Formats are recognised by content, not by name. Other formats stay shut: a playlist named .mp4 would make libav read
# other files or the network.
_FORMATS = 'mov,mp4,m4a,3gp,3g2,mj2,avi,asf,matroska,webm,mpeg,mpegts,ogg,flv,h264,hevc,m4v,mpegvideo,mjpeg,mxf,rm,wtv'
MOST_PIXELS = 1 << 25  # of a picture; 8K video has 33 million. A damaged header may claim gigabytes.


class ClipError(Exception):
    """A clip cannot be decoded. The text is the reason in one line."""


def open_clip(file) -> av.container.InputContainer:
    """Returns the open clip. file: a local path, or a seekable binary file."""
    options = {'protocol_whitelist': 'file', 'format_whitelist': _FORMATS}
    return av.open(file if hasattr(file, 'read') else str(file), container_options=options)


def video_stream(container) -> av.video.stream.VideoStream:
    """Returns the video stream of a clip. Raises ClipError if there is none or its pictures are absurdly large."""
    stream = container.streams.best('video')
    if stream is None:
        raise ClipError('no video stream')
    stream.thread_count = 1  # clips are decoded side by side, one process per core
    decoder = stream.codec_context
    if decoder.width * decoder.height > MOST_PIXELS:
        raise ClipError(f'its pictures claim {decoder.width} x {decoder.height} pixels')
    decoder.options = {'max_pixels': str(MOST_PIXELS)}
    return stream


def packets(container, stream) -> Iterator[av.Packet]:
    """Yields the stream's packets up to the end of the file, or up to the first place that cannot be read.

    Where the clock of the clip jumps, the time goes on.
    """
    clock = Clock(container, stream)
    try:
        for packet in container.demux(stream):
            if packet.size:  # an empty packet would tell the decoder that the clip has ended
                clock.correct(packet)
                yield packet
    except av.error.FFmpegError:
        return


class Damage:
    """Tells for each picture, in decoding order, whether the decoder invented a part of it or of its references.

    Decoders conceal errors: most damaged clips decode without an error.
    """

    def __init__(self):
        self._spreads = False

    def lost(self) -> None:
        """Notes a packet that could not be decoded at all."""
        self._spreads = True

    def spoils(self, frame: av.VideoFrame) -> bool:
        """Returns whether the next picture is damaged."""
        self._spreads = frame.is_corrupt or (self._spreads and not frame.key_frame)
        return self._spreads


def frame_rate(stream) -> float:
    """Returns the average frame rate in pictures per second, 0 if unknown."""
    if _stores_no_times(stream):  # then libav's average is a guess
        return float(stream.codec_context.framerate or stream.guessed_rate or 0)
    return float(stream.average_rate or stream.guessed_rate or 0)


def rate_fault(stream) -> str:
    """Returns a text if libav makes up the times of the pictures, else ''. Raw streams (.h264) store no times."""
    if not _stores_no_times(stream) or stream.codec_context.framerate:
        return ''
    return f'it stores no times: {frame_rate(stream):g} pictures per second are assumed; convert it to .mp4 at its rate'


def _stores_no_times(stream) -> bool:
    return bool(stream.container.format.flags & av.format.Flags.no_timestamps.value)


def promised_s(container, stream) -> float:
    """Returns the length of the clip in seconds by its header, 0 if the header does not give it."""
    counted = stream.frames / stream.average_rate if stream.frames and stream.average_rate else 0
    if stream.duration:  # libav reduces the duration of a truncated AVI, but not its number of pictures
        return float(max(stream.duration * stream.time_base, counted))
    return float(counted or (container.duration or 0) / 1e6)


def reason(error: Exception) -> str:
    """Returns an error as one line for the owner of the clip, without the path that libav appends."""
    text = ' '.join((getattr(error, 'strerror', None) or str(error)).split())
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    if isinstance(error, PermissionError) and not isinstance(error, av.error.FFmpegError):
        return 'you have no permission to read the file'
    if isinstance(error, av.error.InvalidDataError):
        return f'not a video, or its beginning is damaged ({text})'
    if isinstance(error, MemoryError):
        return 'its pictures do not fit into memory'
    return f'the file is damaged ({type(error).__name__}: {text})'
