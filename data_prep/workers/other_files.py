"""Finds videos whose names are not those of clips: nobody would miss them otherwise."""

import itertools

from data_prep.archive import Archive, local_copy
from data_prep.decoding.container import open_clip, packets, video_stream
from data_prep.workers import guard

_DEADLINE_S = 60.0
_FEWEST_PICTURES = 3  # a still picture has one, or two with its thumbnail
_REMEDY = 'so it is not used; if it is a clip, give it the suffix of one, for example .mp4, and run again'


def find_videos(archive: Archive, workers: int) -> dict[str, str]:
    """Returns {name: reason} of the files that are videos, but no clips by their names.

    Files that are known to lie beside clips, by their suffix, are not opened. A file on which the video library crashes
    or hangs is taken for a video.
    """
    found = {}
    for (name, _), answer in guard.run_guarded(
        'data_prep.workers.other_files:is_video', archive.other_files().items(), workers, lambda _: _DEADLINE_S
    ):
        if isinstance(answer, guard.WorkerDied):
            found[name] = f'it may be a video, but its check failed ({answer.reason}), {_REMEDY}'
        elif answer:
            found[name] = f'it is a video, but it has no suffix of a clip, {_REMEDY}'
    return dict(sorted(found.items()))


def is_video(named: tuple[str, str]) -> bool:
    """Returns whether (name, path) has several pictures, of which one can be decoded. Runs in a worker process."""
    try:
        with local_copy(named[1]) as path, open_clip(path) as container:
            stream = video_stream(container)
            first = list(itertools.islice(packets(container, stream), _FEWEST_PICTURES))
            if len(first) < _FEWEST_PICTURES:
                return False
            more = itertools.chain(first, packets(container, stream), [None])
            return any(stream.codec_context.decode(packet) for packet in more)
    except Exception:  # PyAV raises at least nine types on files that are no videos
        return False
