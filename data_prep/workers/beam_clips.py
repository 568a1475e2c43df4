"""What Beam's workers run. In a module of its own: functions sent to them must be importable, and this needs Beam."""

import apache_beam as beam

from data_prep.workers import guard, local
from data_prep.workers.clip_record import ClipTask


class StoreClip(beam.DoFn):
    """(frame store, ClipTask) -> frame store, in a process that may die without costing the pipeline."""

    def setup(self):
        self._guarded = guard.GuardedCall(local.STORE_CLIP)

    def process(self, pair: tuple[str, ClipTask]):
        frames, task = pair
        result = self._guarded(pair, local.deadline_s(local.work_of(task)))
        local.settle(frames, task, result)

    def teardown(self):
        self._guarded.close()
