"""Writes a member that was not trained here. A killed run is finished by the same command.

RUNS/RECIPE/fold_K/provenance.json is written first and member.json last. So a folder with the first and without the
second is one that was not finished, and any new member may take it.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from etils import epath
from ml_collections import ConfigDict

from chimp_jax import checkpoint
from chimp_jax.workdir import check_owner, claim_recipe
from data_prep.files import write_json, write_whole
from data_prep.lock import NAME as LOCK

PROVENANCE = 'provenance.json'
MEMBER = 'member.json'
OOF = 'oof.csv'
CHECKPOINTS = 'checkpoints'


class NewMember(NamedTuple):
    """A member and everything that its folder is to hold."""

    config: ConfigDict
    description: str  # content of member.json
    weights: dict[str, Any]  # {'params', 'batch_stats'}
    provenance: dict  # where it comes from
    oof: bytes | None = None  # content of oof.csv


def is_finished_member(folder: epath.Path) -> bool:
    return (folder / MEMBER).exists()


def check_free(folder: epath.Path) -> None:
    """Raises ValueError if the folder holds files of an unfinished training."""
    if not folder.exists() or (folder / PROVENANCE).exists():
        return
    others = sorted(path.name for path in folder.iterdir() if path.name != LOCK and not path.name.endswith('.tmp'))
    if others:
        raise ValueError(
            f'{folder} holds an unfinished member ({others[0]}); finish its training, or choose another --out'
        )


def write_member(folder: epath.Path, new: NewMember) -> None:
    """Writes a member into RUNS/RECIPE/fold_K, which the caller holds. Raises ValueError if it belongs to another."""
    remedy = 'choose another --out'
    check_free(folder)
    check_owner(folder.parent, new.config, remedy)
    write_json(folder / PROVENANCE, new.provenance)
    claim_recipe(folder.parent, new.config, remedy)
    if new.oof is not None:
        write_whole(folder / OOF, new.oof)
    else:
        (folder / OOF).unlink(missing_ok=True)  # of a member that was not finished
    checkpoint.save_weights(folder / CHECKPOINTS, json.loads(new.description)['best_epoch'], new.weights)
    write_whole(folder / MEMBER, new.description)


def read_provenance(folder: epath.Path) -> Mapping[str, Any]:
    """Returns the content of a member's provenance.json, {} if this project trained it."""
    path = folder / PROVENANCE
    return json.loads(path.read_text()) if path.exists() else {}
