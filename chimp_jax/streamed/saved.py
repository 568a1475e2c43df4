"""The saved results of batches of clips: where they are, which of them count, and their rows, read when asked for.

A batch has two files in the folder of its members: ROWS with its targets, then CLIPS, which vouches for them.
"""

import functools
import hashlib
import io
import json
import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX, KEY
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import Member, identities
from chimp_jax.streamed.results import ABOUT, CLIP, Streamed, no_rows
from data_prep.files import read_json, unchanged, write_whole
from data_prep.workers import lost
from data_prep.workers.clip_record import ClipTask

ROWS, CLIPS = '.rows.parquet', '.clips.json'  # the files of each batch, in the order in which they are written
MEMBERS = 'members.json'  # of the results in a folder: {name: hash of everything its predictions depend on}
LOST_RUNS = 'lost_runs'  # of a clip in CLIPS, see frame_store.Outcome
THREADS = 16  # that read small files: in a bucket each costs a round trip


class SavedBatch(NamedTuple):
    """A batch in which a clip was answered, and the members that count from it."""

    folder: str
    batch: str
    members: tuple[str, ...]


class Answered(NamedTuple):
    """The saved results of clips: {video_id: ...}, in the order of the tasks. No rows of targets."""

    clips: Mapping[str, tuple]  # the columns of CLIP
    saved: Mapping[str, tuple[SavedBatch, ...]]
    lost_runs: Mapping[str, int]  # of the clips that runs in a row have lost with their worker, see workers/lost.py

    def due(self, retry: bool) -> dict[str, int]:
        """Returns {video_id: runs that lost it} of the clips that a run tries again."""
        return {name: runs for name, runs in self.lost_runs.items() if lost.is_due(runs, retry)}


class SavedStream:
    """The results of clips, as Streamed has them, whose rows stay in their files: `of_clips` reads those of some."""

    def __init__(self, answered: Answered, members: Sequence[Member], folder):
        self._saved = answered.saved
        self._members = [member.name for member in members]
        self._folder = epath.Path(folder)
        self.clips = pd.DataFrame([answered.clips[name] for name in sorted(answered.clips)], columns=[*CLIP])

    def names(self) -> set[str]:
        """Returns the clips that have a result."""
        return {*self._saved}

    def of_clips(self, video_ids: Collection[str]) -> Streamed:
        """Returns the results of some clips."""
        files: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
        for name in video_ids:
            for saved in self._saved.get(name, ()):
                files.setdefault((saved.folder, saved.batch), {})[name] = saved.members
        parts = [no_rows(self._members)]
        with ThreadPoolExecutor(THREADS) as threads:
            tables = threads.map(self._read, sorted(files))
            for (_, counting), rows in zip(sorted(files.items()), tables, strict=True):
                from_here = rows['video_id'].map(counting)  # if a clip is in several batches, each member counts once
                for some in {*counting.values()}:
                    parts.append(rows.loc[[names == some for names in from_here], [*KEY, *BOX, *ABOUT, *some]])
        rows = pd.concat(parts)
        if any(len(self._saved.get(name, ())) > 1 for name in video_ids):  # rows of some members each
            shared = rows.groupby(KEY)['shared'].any()
            rows = rows.groupby(KEY).first().assign(shared=shared).reset_index()[parts[0].columns]
        clips = Streamed(rows[:0], self.clips).of_clips(video_ids).clips
        return Streamed(rows.sort_values(KEY, ignore_index=True), clips)

    def _read(self, place: tuple[str, str]) -> pd.DataFrame:
        folder, batch = place
        return pd.read_parquet(io.BytesIO((self._folder / folder / (batch + ROWS)).read_bytes()))


def find_answered(tasks: Sequence[ClipTask], members: Sequence[Member], folder) -> Answered:
    """Returns the results of the tasks by these members that are in the folder, of clips without changed files.

    Results of several runs add up, so a member that joins later is asked alone. A run with further members does not
    count, because its rows tell what all of its members together say. Results of version 0.1 do not tell the content
    of the files and do not count.
    """
    by_name = {task.video_id: task for task in tasks}
    found: dict[str, list[tuple[SavedBatch, str, tuple, int]]] = {}
    with ThreadPoolExecutor(THREADS) as threads:
        for place, theirs in places_of(epath.Path(folder), members):
            paths = sorted(place.glob(f'*{CLIPS}'))
            for path, clips in zip(paths, threads.map(_read_clips, paths), strict=True):
                saved = SavedBatch(place.name, path.name.removesuffix(CLIPS), theirs)
                for clip in clips:
                    task = by_name.get(clip['video_id'])
                    if task and clip.get('request') == request_of(task):
                        about = tuple(clip.get(name) for name in CLIP)  # version 0.2 had no `sound`
                        found.setdefault(task.video_id, []).append(
                            (saved, clip['files'], about, clip.get(LOST_RUNS, 0))
                        )

        def chosen(name: str) -> tuple[tuple, tuple[SavedBatch, ...], int]:
            is_valid = functools.cache(lambda files: unchanged(files, by_name[name].paths()))
            about, known, counting, lost_runs = (), set(), [], 0
            for saved, files, clip, runs in sorted(found[name], key=_lost_last):
                new = tuple(member for member in saved.members if member not in known)
                if new and is_valid(files):
                    about, lost_runs = (_with_sound(about, clip), lost_runs) if about else (clip, runs)
                    known |= {*new}
                    counting.append(saved if len(new) == len(saved.members) else saved._replace(members=new))
            return about, tuple(counting), lost_runs

        names = [name for name in by_name if name in found]
        results = dict(zip(names, threads.map(chosen, names), strict=True))
    return Answered(
        {name: clip for name, (clip, saved, _) in results.items() if saved},
        {name: saved for name, (_, saved, _) in results.items() if saved},
        {name: runs for name, (_, saved, runs) in results.items() if saved and runs},
    )


def _with_sound(about: tuple, other: tuple) -> tuple:
    """Returns CLIP of a clip with the sound that other members heard, if none of the first ones hears."""
    here, there = (dict(zip(CLIP, values, strict=True)) for values in (about, other))
    return tuple((here | {'sound': here['sound'] or there['sound']}).values())


def _lost_last(result: tuple[SavedBatch, str, tuple, int]) -> tuple[bool, int]:
    """Sorts the results of a clip: those of runs that did not lose it, then that of the last run that lost it."""
    return result[3] > 0, -result[3]


def save_batch(folder, batch: str, members: Sequence[Member], rows: pd.DataFrame, clips: Sequence[dict]) -> None:
    """Saves the results of a batch. clips: CLIP, request (of request_of), files (of files.fingerprint) and
    LOST_RUNS of each."""
    place = epath.Path(folder) / folder_name(members)
    write_whole(place / MEMBERS, json.dumps(identities(members)))
    write_table(place / (batch + ROWS), rows)
    write_whole(place / (batch + CLIPS), json.dumps(clips))


def folder_name(members: Sequence[Member]) -> str:
    """Returns the name of the folder of results by these members together."""
    return text_hash(*(member.fingerprint() for member in members))


def request_of(task: ClipTask) -> str:
    """Returns a hash of what is asked of a clip."""
    asked = task._asdict()
    del asked['audio']  # the members tell whether the sound counts
    return text_hash(repr(tuple(asked.values())))


def text_hash(*texts: str) -> str:
    return hashlib.sha256('\n'.join(texts).encode(errors='backslashreplace')).hexdigest()[:20]


def _read_clips(path: epath.Path) -> list[dict]:
    """Returns the clips of a batch, none if its rows are not whole."""
    return (read_json(path) or []) if _is_whole(path.with_name(path.name.removesuffix(CLIPS) + ROWS)) else []


def _is_whole(rows: epath.Path) -> bool:
    """Returns whether a Parquet file has its end."""
    if not rows.exists():
        return False
    with rows.open('rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4))
        return file.read() == b'PAR1'


def places_of(folder: epath.Path, members: Sequence[Member]) -> list[tuple[epath.Path, tuple[str, ...]]]:
    """Returns (folder, names of its members) of the results by some of these members; most members first."""
    wanted = identities(members)
    places = []
    for path in folder.glob(f'*/{MEMBERS}'):
        theirs = read_json(path)
        if theirs and theirs.items() <= wanted.items():
            places.append((path.parent, tuple(theirs)))
    whole = folder / folder_name(members)  # version 0.1 wrote no file of members
    if not (whole / MEMBERS).exists():
        places.append((whole, tuple(wanted)))
    return sorted(places, key=lambda place: (-len(place[1]), place[0].name))
