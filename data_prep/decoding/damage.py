"""Finds damage that decodes without an error: the doubtful seconds of a clip, and the reasons.

Two thirds of damaged clips decode "fine": the decoder conceals missing parts, and a gap repeats the picture before it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from data_prep.decoding.decode import ClipInfo

SLACK_S = 1  # a time up to this far past the end means the last frame (Ivanov 2021, section 3)


class Doubt(NamedTuple):
    """The doubtful whole seconds of one copy of a clip, and its missing end."""

    invented: frozenset[int]  # the decoder had to invent parts of the picture
    stale: frozenset[int]  # the picture belongs to an earlier second, although pictures should come more often
    past_end: frozenset[int]  # more than 1 s past the last picture
    repeated: frozenset[int]  # a new picture with the same content: the camera hung, or the scene is still
    missing_end: str  # '', or a text if the clip is shorter than its header tells: truncated, or pictures were lost
    fault: str = ''  # '', or a text if pictures are missing from all seconds, or the seconds may be wrong

    def unusable(self) -> frozenset[int]:
        """Returns the seconds that cannot be used. A repeated picture can: the person who labelled it saw the same."""
        return self.invented | self.stale | self.past_end

    def __str__(self) -> str:
        texts = (
            (self.invented, 'damaged pictures'),
            (self.stale, 'no picture of its own'),
            (self.past_end, 'past the last picture'),
            (self.repeated, 'the same picture again'),
        )
        doubts = [f'{text} in {in_ranges(seconds)} s' for seconds, text in texts if seconds]
        return ', '.join(filter(None, [*doubts, self.missing_end, self.fault]))

    def concerns_all(self) -> bool:
        """Returns whether more than single seconds is doubtful: a part is missing, or the clock may be wrong."""
        return bool(self.missing_end or self.fault)


def find_doubt(info: ClipInfo, contents: Mapping[int, bytes], times_s: Iterable[int]) -> Doubt:
    """Returns the doubts about a clip. contents: {second: its decoded frame}. times_s: of the targets."""
    seconds = sorted(contents)
    interval_s = 1 / info.frame_rate if info.frame_rate else 0
    shown_s = info.shown_s
    stale, repeated = set(), set()
    for second in seconds:
        before = second - 1
        if before >= 0 and shown_s[second] == shown_s[before]:
            if second - shown_s[second] >= max(1, 2 * interval_s):
                stale.add(second)
        elif before in contents and contents[second] == contents[before]:
            repeated.add(second)
    past_end = {time_s for time_s in times_s if time_s > info.duration_s + SLACK_S and time_s > info.last_s + SLACK_S}
    return Doubt(
        info.damaged_s, frozenset(stale), frozenset(past_end), frozenset(repeated), _missing_end(info), info.fault
    )


def _missing_end(info: ClipInfo) -> str:
    """Returns a text about the missing end, or ''. Sound may end later and some cameras round: small gaps are fine."""
    if info.promised_s - info.duration_s <= max(2.0, 0.05 * info.promised_s):
        return ''
    return f'it ends at {info.duration_s:.1f} s, but its header promises {info.promised_s:.1f} s'


def in_ranges(seconds: Iterable[int]) -> str:
    """Returns seconds as ranges: {3, 4, 5, 9} -> '3-5 9', {-2, -1} -> '-2 to -1'."""
    runs: list[list[int]] = []
    for second in sorted(seconds):
        if runs and second == runs[-1][1] + 1:
            runs[-1][1] = second
        else:
            runs.append([second, second])
    between = ' to ' if runs and runs[0][0] < 0 else '-'
    return ' '.join(f'{first}{between}{last}' if last > first else str(first) for first, last in runs)
