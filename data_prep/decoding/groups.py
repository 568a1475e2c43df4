"""The fast way of decoding: decodes only the wanted pictures and their references.

The timestamps of the packets tell which picture a second shows.
"""

import bisect
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av

from data_prep.decoding.container import Damage, frame_rate, open_clip, packets, promised_s, rate_fault, video_stream
from data_prep.decoding.timestamps import DurationGuess, Picture, Timeline, in_reach, is_avi, rate_ticks, start_ticks

_MOST_REORDERED = 16  # pictures; a decoder of H.264 or HEVC keeps no more


class _Packet(NamedTuple):
    pts: int
    duration: int
    is_keyframe: bool
    is_shown: bool = True  # False: decoded for other pictures, but before the start of an edit list


class _Plan(NamedTuple):
    packets: list[_Packet]  # in the order of the file
    pts_by_second: list[int]
    timeline: Timeline


def decode_groups(path: str, cut: Callable, wanted: Callable[[int], set[int]], add: Callable) -> Timeline | None:
    """Calls add(frame, seconds, damaged, packet) for each wanted picture. Returns None if this way does not work.

    cut: one of timestamps.SAMPLINGS. wanted: returns the wanted seconds, given the last one.
    """
    plan = _plan(path, cut)
    if plan is None:
        return None
    seconds_by_pts: dict[int, list[int]] = {}
    for second in sorted(wanted(plan.timeline.last_s)):
        seconds_by_pts.setdefault(plan.pts_by_second[second], []).append(second)
    runs = _runs(plan.packets, seconds_by_pts)
    damage = Damage()
    try:
        for frame, packet in _decode_runs(path, runs, seconds_by_pts):
            damaged = damage.spoils(frame)
            if frame.pts in seconds_by_pts:
                add(frame, seconds_by_pts.pop(frame.pts), damaged, packet)
    except (av.error.FFmpegError, _OutOfOrder):
        return None
    return None if seconds_by_pts else plan.timeline


def length(path) -> Fraction | None:
    """Returns the end of a clip in seconds, from its packets alone. None if their times are unusable."""
    plan = _plan(path, enumerate)
    return plan.timeline.end_s if plan else None


def packet_times(path) -> tuple[Fraction, ...] | None:
    """Returns the time of each picture, ascending, from the packets alone. None if their times are unusable."""
    plan = _plan(path, enumerate)
    return plan.timeline.shown_s if plan else None


def _plan(path, cut: Callable) -> _Plan | None:
    """Returns the picture of each second, from the packets alone. None if their times are unusable."""
    with open_clip(path) as container:
        stream = video_stream(container)
        if is_avi(container) and stream.codec_context.has_b_frames:
            return None
        found = [
            _Packet(packet.pts, packet.duration or 0, packet.is_keyframe, not packet.is_discard)
            for packet in packets(container, stream)
        ]
        start, time_base = start_ticks(container, stream), stream.time_base
        guess_duration = DurationGuess(rate_ticks(stream))
        header, fault = (promised_s(container, stream), frame_rate(stream)), rate_fault(stream)
    times = {packet.pts for packet in found}
    if not found or None in times or len(times) < len(found):
        return None
    # Pictures are stored a few places before or after the pictures beside which they are shown, no more. Else the clock
    # jumps back, and the times of two films mix.
    latest = itertools.accumulate((packet.pts for packet in found), max)
    most_back = max(1, _MOST_REORDERED / header[1] if header[1] else 0) / time_base
    if any(high - packet.pts > most_back for high, packet in zip(latest, found, strict=True)):
        return None
    pictures = [
        Picture((packet.pts - start) * time_base, guess_duration(packet.pts, packet.duration) * time_base, packet.pts)
        for packet in sorted(found)
        if packet.is_shown
    ]
    pictures = list(in_reach(pictures))
    if not pictures:
        return None
    shown = [picture for _, picture in cut(pictures)]
    end_s = pictures[-1].time_s + pictures[-1].duration_s
    timeline = Timeline(end_s, *header, tuple(picture.time_s for picture in shown), fault)
    return _Plan(found, [picture.content for picture in shown], timeline) if shown else None


class _OutOfOrder(Exception):
    """Decoded pictures come in display order: if their times fall, the container's times are wrong."""


def _runs(plan: list[_Packet], wanted_pts) -> list[tuple[int, int]]:
    """Returns ranges [start, stop) of packets: from a key frame to the last wanted picture that depends on it.

    The key frame must also be *shown* no later than the wanted picture. In an open group of pictures some pictures
    follow a key frame in the file but are shown before it: they depend on the group before.
    """
    runs: list[tuple[int, int]] = []
    keys = [i for i, packet in enumerate(plan) if packet.is_keyframe]
    for i, packet in enumerate(plan):
        if packet.pts not in wanted_pts:
            continue
        latest_key = bisect.bisect_right(keys, i) - 1
        start = next((keys[k] for k in range(latest_key, -1, -1) if plan[keys[k]].pts <= packet.pts), 0)
        if runs and start < runs[-1][1]:
            start = runs.pop()[0]
        runs.append((start, i + 1))
    return runs


def _decode_runs(path: str, runs: list[tuple[int, int]], wanted_pts) -> Iterator[tuple[av.VideoFrame, bytes | None]]:
    """Yields (frame, its packet); the packet is None unless the clip is MJPEG."""
    wanted_pts = frozenset(wanted_pts)
    with open_clip(path) as container:
        stream = video_stream(container)
        decoder = stream.codec_context
        is_mjpeg = decoder.name == 'mjpeg'
        remaining = iter(runs)
        start, stop = next(remaining)
        latest = None
        for i, packet in enumerate(packets(container, stream)):
            if i < start:
                continue
            # If no other picture depends on a picture, it is skipped unless it is wanted.
            decoder.skip_frame = 'DEFAULT' if packet.pts in wanted_pts else 'NONREF'
            decoded = decoder.decode(packet)
            if i == stop - 1:
                decoded += decoder.decode(None)
                decoder.flush_buffers()
            for frame in decoded:
                if frame.pts is None or (latest is not None and frame.pts <= latest):
                    raise _OutOfOrder
                latest = frame.pts
                yield frame, bytes(packet) if is_mjpeg and frame.pts == packet.pts else None
            if i == stop - 1:
                start, stop = next(remaining, (None, None))
                if start is None:
                    return
