"""The function of Beam's workers, in its own module because workers import it and it imports Beam."""

import apache_beam as beam

from data_prep.workers import guard, local
from data_prep.workers.clip_record import ClipTask


class StoreClip(beam.DoFn):
    """Decodes each (frame store, ClipTask) in a process that may die without ending the pipeline."""

    def setup(self):
        self._guarded = guard.GuardedCall(local.STORE_CLIP)

    def process(self, pair: tuple[str, ClipTask]):
        frames, task = pair
        result = self._guarded(pair, local.deadline_s(local.work_of(task)))
        local.settle(frames, task, result)

    def teardown(self):
        self._guarded.close()
