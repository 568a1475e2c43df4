"""The functions of a Work that ask members about clips or records, as the local commands do."""

import fcntl
import functools
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from chimp_jax import members, runtime
from chimp_jax.data.chunks import WindowPlan
from chimp_jax.engines import record_chunks
from chimp_jax.panel import Panel
from chimp_jax.streamed import clip_stream
from chimp_jax.streamed.clip_stream import ClipBatch
from data_prep.buckets import s3_paths
from data_prep.progress import Progress
from data_prep.sound.log_mel import BANDS, ROWS

ANSWER_CLIPS = 'chimp_jax.engines.answering:answer_clips'
ANSWER_RECORDS = 'chimp_jax.engines.answering:answer_records'
_FIRST = 'chimp_jax_compiles.lock'  # in the folder of the compile cache
_loading = threading.Lock()  # an engine may run several threads in a process


class AboutMembers(NamedTuple):
    """Which members a job asks."""

    folder: str  # that all machines reach
    identities: Mapping[str, str]  # {name: hash of everything its predictions depend on}
    compile_cache: str | None

    @classmethod
    def of(cls, folder: str, found: Sequence[members.Member], compile_cache: str | None) -> 'AboutMembers':
        return cls(folder, members.identities(found), compile_cache)


class AboutClips(NamedTuple):
    """What all batches of clips share."""

    members: AboutMembers
    folder: str  # of the results
    workers: int  # at most so many processes decode clips beside one process that scores


class AboutRecords(NamedTuple):
    """What all chunks of records share."""

    members: AboutMembers
    asked: record_chunks.Asked


def answer_clips(about: AboutClips, batches: Sequence[ClipBatch]) -> None:
    """Runs clip_stream.answer_batches. Frames lie on this machine's own disk until their batch is finished."""
    clips = [path for batch in batches for task in batch.tasks for path in map(str, task.paths())]
    s3_paths.connect([*clips, about.members.folder, about.folder])
    panel, found = _ready(about.members)
    workers = min(about.workers, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix='chimp_jax_') as scratch, s3_paths.as_os_errors():
        clip_stream.answer_batches(batches, found, about.folder, scratch, panel, workers, Progress('', 0))


def answer_records(about: AboutRecords, pending: Sequence[record_chunks.RecordChunk]) -> None:
    """Runs record_chunks.answer_chunks."""
    s3_paths.connect([about.members.folder, about.asked.parts])
    panel, found = _ready(about.members)
    with s3_paths.as_os_errors():
        record_chunks.answer_chunks(about.asked, pending, found, panel)


def _ready(about: AboutMembers) -> tuple[Panel, list[members.Member]]:
    """Returns a panel and the members, loaded once a process. Raises ValueError if this machine lacks a member."""
    with _loading:
        return _load(about.folder, tuple(sorted(about.identities.items())), about.compile_cache)


@functools.lru_cache(maxsize=1)
def _load(
    folder: str, identities: tuple[tuple[str, str], ...], compile_cache: str | None
) -> tuple[Panel, list[members.Member]]:
    runtime.use_compile_cache(compile_cache)
    here = {member.name: member for member in members.find_members(folder)}
    for name, identity in identities:
        if name not in here:
            raise ValueError(f'{folder} holds no member {name}; copy the members there')
        if members.identities([here[name]])[name] != identity:
            raise ValueError(f'{folder} holds another member {name} than the launching machine; copy the members there')
    panel, found = Panel(), [here[name] for name, _ in identities]
    _compile(panel, found)
    return panel, found


def _compile(panel: Panel, found: Sequence[members.Member]) -> None:
    """Compiles the members' programs, one process of a machine at a time: the others find them in the compile cache."""
    cache = jax.config.jax_compilation_cache_dir
    if not jax.config.jax_enable_compilation_cache or '://' in cache:
        return
    kinds = {(str(one.config.model), one.config.data.size_px, one.config.data.n_frames): one for one in found}
    Path(cache).mkdir(parents=True, exist_ok=True)
    with open(Path(cache) / _FIRST, 'w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for member in kinds.values():
            data = member.config.data
            most_animals = data.most_animals if member.config.model.regions else 0
            boxes = np.zeros((1, most_animals, 5), np.float32) if most_animals else None
            sound = np.zeros((1, ROWS, BANDS), np.uint8) if member.hears else None
            plan = WindowPlan(np.zeros(1, int), np.zeros((1, data.n_frames), int), boxes, sound=sound)
            panel.score(member, np.zeros((1, data.size_px, data.size_px, 3), np.uint8), plan)
