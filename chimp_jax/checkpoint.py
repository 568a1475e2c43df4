"""Checkpoints of a member, by orbax: the best epoch and the latest two, and what happened so far with each.

A checkpoint holds four items: `weights` (params and batch_stats, all that prediction needs), `rest` (the optimizer,
the plateau, the step and the key), `history` (one row an epoch) and `digests` of the arrays, so that it is whole or not
there at all, and so that one which was damaged on the disk later on is known and not trained on.
"""

import hashlib
import logging
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from chimp_jax.steps import TrainState

WEIGHTS = ('params', 'batch_stats')
LATEST = 2  # the one before the latest stands in for it where it is damaged

log = logging.getLogger(__name__)


def best_epoch(history: list[dict]) -> int:
    """The epoch (from 1) of the lowest validation MAE, the first of equals: strictly lower is better, as published."""
    return min(history, key=lambda row: (row['val_mae'], row['epoch']))['epoch']


def _absolute(directory) -> epath.Path:
    """Orbax refuses relative paths, after it has begun to write."""
    return epath.Path(directory).expanduser().resolve()


def open_manager(directory) -> ocp.CheckpointManager:
    """Keeps all that it is given (`save` deletes); what a killed run has left half written is removed by then."""
    options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, cleanup_tmp_directories=True)
    return ocp.CheckpointManager(_absolute(directory), options=options)


def save(manager: ocp.CheckpointManager, state: TrainState, history: list[dict]) -> None:
    """Writes the state after the last epoch of the history, then deletes what is neither the best nor of the latest."""
    rest = {name: jax.device_get(value) for name, value in vars(state).items()}
    weights = {name: rest.pop(name) for name in WEIGHTS}
    manager.save(
        history[-1]['epoch'],
        args=ocp.args.Composite(
            weights=ocp.args.StandardSave(weights),
            rest=ocp.args.StandardSave(rest),
            history=ocp.args.JsonSave(history),
            digests=ocp.args.JsonSave({'weights': _digest(weights), 'rest': _digest(rest)}),
        ),
    )
    # Orbax' own policies need each checkpoint's metrics, and fail as a whole where one of those files is damaged.
    kept = {best_epoch(history), *sorted(manager.all_steps())[-LATEST:]}
    for epoch in set(manager.all_steps()) - kept:
        manager.delete(epoch)


def restore(manager: ocp.CheckpointManager, like: TrainState) -> tuple[TrainState, list[dict]] | None:
    """The latest whole state and its history; None where there is none. `like` gives structure, shapes and dtypes.

    A checkpoint that cannot be read, or whose best epoch cannot, is set aside (renamed to damaged_EPOCH) with a
    warning, and the one before it is taken.
    """
    for epoch in sorted(manager.all_steps(), reverse=True):
        try:
            state, history = _read(manager, epoch, like)
            if best_epoch(history) != epoch:
                restore_weights(manager.directory, best_epoch(history))
            return state, history
        except Exception as error:  # damaged files raise what they like: of tensorstore, orbax, JSON, the system
            log.warning('%s', f'{manager.directory / str(epoch)} is damaged and set aside: {_first_line(error)}')
        _set_aside(manager, epoch)
    return None


def restore_weights(directory, epoch: int) -> dict[str, Any]:
    """{'params', 'batch_stats'} of one epoch, as NumPy arrays, whatever devices wrote them.

    Raises ValueError where they are damaged.
    """
    folder = _absolute(directory) / str(epoch)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(folder / 'weights').item_metadata.tree
            like = jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), stored)
            weights = checkpointer.restore(folder / 'weights', like)
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
            _check(weights, checkpointer.restore(folder / 'digests')['weights'])
    except Exception as error:
        raise ValueError(f'the checkpoint {folder} cannot be read: {_first_line(error)}') from error
    return weights


def _read(manager: ocp.CheckpointManager, epoch: int, like: TrainState) -> tuple[TrainState, list[dict]]:
    rest = {name: jax.device_get(value) for name, value in vars(like).items()}
    weights = {name: rest.pop(name) for name in WEIGHTS}
    found = manager.restore(
        epoch,
        args=ocp.args.Composite(
            weights=ocp.args.StandardRestore(weights),
            rest=ocp.args.StandardRestore(rest),
            history=ocp.args.JsonRestore(),
            digests=ocp.args.JsonRestore(),
        ),
    )
    for name in ('weights', 'rest'):
        _check(found[name], found['digests'][name])
    return TrainState(**found['weights'], **found['rest']), found['history']


def _set_aside(manager: ocp.CheckpointManager, epoch: int) -> None:
    """Renamed, not deleted: it may be whole, and of another version of the program."""
    if jax.process_index() == 0:
        target = manager.directory / f'damaged_{epoch}'
        if target.exists():
            target.rmtree()
        (manager.directory / str(epoch)).rename(target)
    multihost_utils.sync_global_devices(f'set aside {epoch}')
    manager.reload()


def _digest(tree: Any) -> str:
    """Of the names and bytes of all arrays: tensorstore does not notice every damage to its files."""
    digest = hashlib.sha256()
    for path, array in jax.tree.leaves_with_path(tree):
        digest.update(jax.tree_util.keystr(path, simple=True).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _check(tree: Any, digest: str) -> None:
    if _digest(tree) != digest:
        raise ValueError('its arrays are not those that were written')


def _first_line(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'.splitlines()[0][:200]
