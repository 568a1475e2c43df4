"""The function of Beam's workers, in its own module because workers import it and it imports Beam."""

import apache_beam as beam

from data_prep.workers import guard, local
from data_prep.workers.clip_record import ClipTask


class StoreClip(beam.DoFn):
    """Decodes each (frame store, ClipTask, runs that lost it) in a process that may die without ending the pipeline."""

    def setup(self):
        self._guarded = guard.GuardedCall(local.STORE_CLIP)

    def process(self, item: tuple[str, ClipTask, int]):
        frames, task, lost_runs = item
        result = self._guarded((frames, task), local.deadline_s(local.work_of(task)))
        local.settle(frames, task, result, lost_runs)

    def teardown(self):
        self._guarded.close()
