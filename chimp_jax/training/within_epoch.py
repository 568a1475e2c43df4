"""What training saves within a long epoch, so that a run that is killed loses at most config.train.save_minutes.

FOLD/within_epoch/ holds at most one checkpoint: the state after some of an epoch's updates, and a Position. The next
checkpoint of a whole epoch replaces it.
"""

import logging
import time
from typing import NamedTuple

import jax
import orbax.checkpoint as ocp
from etils import epath

from chimp_jax import checkpoint
from chimp_jax.data import processes
from chimp_jax.steps import Mean, TrainState
from data_prep.files import flush_all

FOLDER = 'within_epoch'
CHECK_STEPS = 10  # updates between two looks at the clock; several processes must agree on it

log = logging.getLogger(__name__)


class Position(NamedTuple):
    """A place within an epoch, with everything that the rest of the epoch depends on besides the state."""

    epoch: int  # from 1
    n_steps: int = 0  # updates of the epoch that are done
    error: Mean = Mean(0.0, 0.0)  # sum and count of the absolute errors of these updates, metres
    skipped_in_epoch: int = 0  # steps that training in float16 skipped
    skipped_in_a_row: int = 0  # up to now

    def after_step(self, error: Mean) -> 'Position':
        return self._replace(n_steps=self.n_steps + 1, error=self.error + error, skipped_in_a_row=0)

    def after_skip(self) -> 'Position':
        return self._replace(
            n_steps=self.n_steps + 1,
            skipped_in_epoch=self.skipped_in_epoch + 1,
            skipped_in_a_row=self.skipped_in_a_row + 1,
        )

    def of_next_epoch(self) -> 'Position':
        return Position(self.epoch + 1, skipped_in_a_row=self.skipped_in_a_row)


class Saver:
    """Saves the state of one member within its epochs, every `minutes` or a little later."""

    def __init__(self, folder: epath.Path, minutes: float):
        self._folder, self._every_s = folder / FOLDER, 60 * minutes
        self._last_s = time.monotonic()

    def is_due(self, n_steps: int) -> bool:
        """Returns whether to save after n_steps updates of an epoch. All processes decide as the first one does."""
        if n_steps % CHECK_STEPS:
            return False
        return processes.gather(time.monotonic() - self._last_s >= self._every_s)[0]

    def save(self, state: TrainState, position: Position) -> None:
        """state: with all variables."""
        with checkpoint.open_manager(self._folder) as manager:
            older = manager.all_steps()
            step = max(older, default=0) + 1
            manager.save(step, args=ocp.args.Composite(**checkpoint.state_items(state), position=_plain(position)))
            flush_all(manager.directory / str(step))
            for known in older:
                manager.delete(known)
        self._last_s = time.monotonic()

    def restore(self, like: TrainState, epoch: int) -> tuple[TrainState, Position] | None:
        """Returns the state within this epoch, None without one or if it is damaged. `like` gives the structure."""
        if not self._folder.exists():
            return None
        with checkpoint.open_manager(self._folder) as manager:
            steps = sorted(manager.all_steps(), reverse=True)
            found = next(filter(None, (self._read(manager.directory / str(step), like) for step in steps)), None)
        mine = found[1].n_steps if found and found[1].epoch == epoch else 0
        if len({*processes.gather(mine)}) > 1 or not mine:
            return None
        return found

    def forget(self) -> None:
        """Deletes what is saved, because a checkpoint of the whole epoch has replaced it."""
        if processes.gather(self._folder.exists())[0] and jax.process_index() == 0:
            self._folder.rmtree()
        self._last_s = time.monotonic()

    def _read(self, folder: epath.Path, like: TrainState) -> tuple[TrainState, Position] | None:
        try:
            stored = ocp.JsonCheckpointHandler().restore(folder / 'position')
            position = Position(**stored | {'error': Mean(*stored['error'])})
            return checkpoint.read_state(folder, like), position
        except Exception as error:
            log.warning('%s is not used, the epoch starts again: %s', folder, checkpoint.explained(folder, error))
            return None


def _plain(position: Position) -> ocp.args.JsonSave:
    return ocp.args.JsonSave(position._asdict() | {'error': [*position.error]})
