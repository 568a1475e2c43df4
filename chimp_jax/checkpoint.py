"""Checkpoints of a member, by orbax: the best epoch and the latest two, each with its training history.

A checkpoint holds four items: `weights` (params and batch_stats, all that prediction needs), `rest` (the optimizer, the
plateau, the step, the key, and in float16 the loss scale), `history` (one row per epoch) and `digests` of the arrays. A
checkpoint appears whole or not at all. The digests reveal a checkpoint that the disk has damaged later.
"""

import contextlib
import hashlib
import logging
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from chimp_jax.data import processes
from chimp_jax.steps import TrainState
from data_prep.files import copy_folder, flush_all

WEIGHTS = ('params', 'batch_stats')
LATEST = 2  # if the latest is damaged, the one before it replaces it
# tensorstore puts one of these codes before an error that the content causes. Its other codes name the storage:
# UNAVAILABLE, DEADLINE_EXCEEDED, PERMISSION_DENIED, RESOURCE_EXHAUSTED and so on.
DAMAGE_CODES = {'DATA_LOSS', 'NOT_FOUND', 'INVALID_ARGUMENT', 'FAILED_PRECONDITION', 'OUT_OF_RANGE'}

log = logging.getLogger(__name__)


class DamagedCheckpoint(ValueError):
    """The content of a checkpoint is missing, unreadable or not the content that was written."""


def best_epoch(history: list[dict]) -> int:
    """Returns the epoch (from 1) with the lowest validation MAE, the first of equals, as published."""
    return min(history, key=lambda row: (row['val_mae'], row['epoch']))['epoch']


def _absolute(directory) -> epath.Path:
    """Returns an absolute path. Orbax refuses relative ones, but only after it has begun to write."""
    path = epath.Path(directory)
    return path if '://' in str(path) else path.expanduser().resolve()


def open_manager(directory) -> ocp.CheckpointManager:
    """Returns a manager. It removes what a killed run left half written, and nothing else (`save` deletes)."""
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(_absolute(directory), options=options)


def save(manager: ocp.CheckpointManager, state: TrainState, history: list[dict]) -> None:
    """Writes the state after the last epoch of the history, then deletes all but the best and the latest."""
    items = state_items(state) | {'history': ocp.args.JsonSave(history)}
    manager.save(history[-1]['epoch'], args=ocp.args.Composite(**items))
    flush_all(manager.directory / str(history[-1]['epoch']))  # before the older ones are deleted
    # Orbax has policies for this. They read the metrics of every checkpoint, so one damaged file makes them fail.
    kept = {best_epoch(history), *sorted(manager.all_steps())[-LATEST:]}
    for epoch in set(manager.all_steps()) - kept:
        manager.delete(epoch)


def state_items(state: TrainState) -> dict[str, ocp.args.CheckpointArgs]:
    """Returns the items of a checkpoint that hold the state, with the digests of their arrays."""
    weights, rest = _items(state)
    return {
        'weights': ocp.args.StandardSave(weights),
        'rest': ocp.args.StandardSave(rest),
        'digests': ocp.args.JsonSave({'weights': _digest(weights), 'rest': _digest(rest)}),
    }


def read_state(folder: epath.Path, like: TrainState) -> TrainState:
    """Returns the state that `state_items` saved. Raises if it is damaged, see `explained`."""
    weights, rest = _items(like)
    return TrainState(**_read_arrays(folder, 'weights', weights), **_read_arrays(folder, 'rest', rest))


def save_weights(directory, epoch: int, weights: dict[str, Any]) -> None:
    """Writes {'params', 'batch_stats'} that no training here has made, as the only checkpoint in the directory.

    It has no optimizer, so training cannot continue from it.
    """
    manager = open_manager(directory)
    for known in manager.all_steps():  # of a run that was killed before it had finished
        manager.delete(known)
    items = {'weights': ocp.args.StandardSave(weights), 'digests': ocp.args.JsonSave({'weights': _digest(weights)})}
    manager.save(epoch, args=ocp.args.Composite(**items))
    flush_all(manager.directory / str(epoch))
    manager.close()


def restore(manager: ocp.CheckpointManager, like: TrainState) -> tuple[TrainState, list[dict]] | None:
    """Returns the latest whole state and its history, None without one. `like` gives structure, shapes and dtypes.

    A checkpoint that is damaged, or whose best epoch is, is set aside with a warning: it is renamed to damaged_EPOCH.
    The one before it is read instead. All processes take the same decision: if one process fails, all of them do.
    Raises OSError if the storage cannot be read. The checkpoint then stays where it is.
    """
    for epoch in sorted(manager.all_steps(), reverse=True):
        found, damage, failure = None, '', ''
        try:
            found = _read(manager.directory, epoch, like)
        except DamagedCheckpoint as error:
            damage = str(error)
        except OSError as error:
            failure = str(error)
        outcomes = processes.gather([damage, failure])
        damage, failure = (next(filter(None, texts), '') for texts in zip(*outcomes, strict=True))
        if failure:
            raise OSError(failure)
        if not damage:
            return found
        log.warning('%s; it is set aside as damaged_%d, the one before it is read instead', damage, epoch)
        _set_aside(manager, epoch)
    return None


def restore_weights(directory, epoch: int) -> dict[str, Any]:
    """Returns {'params', 'batch_stats'} of one epoch, as NumPy arrays, whatever devices wrote them.

    Raises DamagedCheckpoint if they are damaged, OSError if the storage cannot be read.
    """
    folder = _absolute(directory) / str(epoch)
    try:
        with _on_a_disk(folder) as here:
            (here / 'weights' / '_METADATA').read_bytes()  # orbax hides the error if it cannot be read
            stored = _alone().metadata(here / 'weights').item_metadata
            if stored is None:
                raise DamagedCheckpoint('the description of the weights is unreadable')
            like = jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), stored.tree)
            return _read_arrays(here, 'weights', like)
    except Exception as error:
        raise explained(folder, error) from error


@contextlib.contextmanager
def _on_a_disk(folder: epath.Path) -> Iterator[epath.Path]:
    """Yields a copy of the weights in a bucket: tensorstore has settings of its own for buckets."""
    if '://' not in str(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix='chimp_jax_') as scratch:
        for item in ('weights', 'digests'):
            copy_folder(folder / item, epath.Path(scratch) / item)
        yield epath.Path(scratch)


def _read(directory: epath.Path, epoch: int, like: TrainState) -> tuple[TrainState, list[dict]]:
    """Returns the state and the history of one checkpoint whose best epoch can be read, too."""
    folder = directory / str(epoch)
    try:
        state, history = read_state(folder, like), ocp.JsonCheckpointHandler().restore(folder / 'history')
        best = best_epoch(history)
        if best != epoch:
            folder = directory / str(best)
            _read_arrays(folder, 'weights', _items(like)[0])
    except Exception as error:
        raise explained(folder, error) from error
    return state, history


def _items(state: TrainState) -> tuple[dict, dict]:
    """Returns the items `weights` and `rest` of a checkpoint. A state without a loss scale has no place for one."""
    rest = {name: jax.device_get(value) for name, value in vars(state).items() if value is not None}
    return {name: rest.pop(name) for name in WEIGHTS}, rest


def _read_arrays(folder: epath.Path, item: str, like: Any) -> Any:
    arrays = _alone().restore(folder / item, args=ocp.args.StandardRestore(like))
    if _digest(arrays) != ocp.JsonCheckpointHandler().restore(folder / 'digests')[item]:
        raise DamagedCheckpoint(f'the arrays of {item} are not those that were written')
    return arrays


def _alone() -> ocp.Checkpointer:
    """Returns a reader for this process alone. Orbax' default waits for all processes after each read.

    If one process failed, the others would wait for ever.
    """
    me = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


def _set_aside(manager: ocp.CheckpointManager, epoch: int) -> None:
    """Renames a checkpoint. It is not deleted, because another version of the program may have written it."""
    failure = ''
    if jax.process_index() == 0:
        source, target = manager.directory / str(epoch), manager.directory / f'damaged_{epoch}'
        try:
            if target.exists():
                target.rmtree()
            source.rename(target)
        except OSError as error:
            failure = f'{source} cannot be renamed to {target.name}: {error}'
    if failure := processes.gather(failure)[0]:
        raise OSError(failure)
    manager.reload()


def explained(folder: epath.Path, error: Exception) -> DamagedCheckpoint | OSError:
    """Returns the error to raise: DamagedCheckpoint for damage, OSError for all that may pass, such as a network."""
    reason = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
    if _is_damage(error):
        return DamagedCheckpoint(f'the checkpoint {folder} is damaged ({reason})')
    return OSError(f'the checkpoint {folder} cannot be read ({reason}); correct the cause and run the command again')


def _is_damage(error: Exception) -> bool:
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError)
    code = re.match(r'([A-Z_]+): ', str(error))
    if code and isinstance(error, ValueError):
        return code[1] in DAMAGE_CODES
    return isinstance(error, ValueError | KeyError | TypeError | EOFError)


def _digest(tree: Any) -> str:
    """Returns the SHA-256 of the names and bytes of all arrays: tensorstore does not notice all damage to its files."""
    digest = hashlib.sha256()
    for path, array in jax.tree.leaves_with_path(tree):
        digest.update(jax.tree_util.keystr(path, simple=True).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
