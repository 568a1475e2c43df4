"""Checkpoints of a member, by orbax: the best and the latest epoch, and what happened so far with each.

A checkpoint holds three items: `weights` (params and batch_stats, all that prediction needs), `rest` (the optimizer,
the plateau, the step and the key) and `history` (one row an epoch, as JSON), so that it is whole or not there at all.
"""

from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from chimp_jax.steps import TrainState

WEIGHTS = ('params', 'batch_stats')


def best_epoch(history: list[dict]) -> int:
    """The epoch (from 1) of the lowest validation MAE, the first of equals: strictly lower is better, as published."""
    return min(history, key=lambda row: (row['val_mae'], row['epoch']))['epoch']


def _absolute(directory) -> epath.Path:
    """Orbax refuses relative paths, after it has begun to write."""
    return epath.Path(directory).expanduser().resolve()


def open_manager(directory) -> ocp.CheckpointManager:
    """Keeps the latest and the best: orbax' plain max_to_keep with a best_fn could delete the newest."""

    def rank(metrics: dict) -> tuple[float, int]:
        return (-metrics['val_mae'], -metrics['epoch'])

    policies = ocp.checkpoint_managers
    return ocp.CheckpointManager(
        _absolute(directory),
        options=ocp.CheckpointManagerOptions(
            best_fn=rank,
            best_mode='max',
            preservation_policy=policies.AnyPreservationPolicy(
                [policies.LatestN(1), policies.BestN(get_metric_fn=rank, n=1)]
            ),
            enable_async_checkpointing=False,
        ),
    )


def save(manager: ocp.CheckpointManager, state: TrainState, history: list[dict]) -> None:
    """Writes the state after the last epoch of the history."""
    tree = {name: jax.device_get(value) for name, value in vars(state).items()}
    weights = {name: tree.pop(name) for name in WEIGHTS}
    manager.save(
        history[-1]['epoch'],
        args=ocp.args.Composite(
            weights=ocp.args.StandardSave(weights),
            rest=ocp.args.StandardSave(tree),
            history=ocp.args.JsonSave(history),
        ),
        metrics={'val_mae': history[-1]['val_mae'], 'epoch': history[-1]['epoch']},
    )


def restore(manager: ocp.CheckpointManager, like: TrainState) -> tuple[TrainState, list[dict]] | None:
    """The latest state and its history; None where nothing was saved. `like` gives structure, shapes and dtypes."""
    epoch = manager.latest_step()
    if epoch is None:
        return None
    tree = {name: jax.device_get(value) for name, value in vars(like).items()}
    weights = {name: tree.pop(name) for name in WEIGHTS}
    found = manager.restore(
        epoch,
        args=ocp.args.Composite(
            weights=ocp.args.StandardRestore(weights),
            rest=ocp.args.StandardRestore(tree),
            history=ocp.args.JsonRestore(),
        ),
    )
    return TrainState(**found['weights'], **found['rest']), found['history']


def restore_weights(directory, epoch: int) -> dict[str, Any]:
    """{'params', 'batch_stats'} of one epoch, as NumPy arrays, whatever devices wrote them."""
    item = _absolute(directory) / str(epoch) / 'weights'
    with ocp.StandardCheckpointer() as checkpointer:
        stored = checkpointer.metadata(item).item_metadata.tree
        like = jax.tree.map(lambda array: np.zeros(array.shape, array.dtype), stored)
        return checkpointer.restore(item, like)
