"""Writes the finished members of a folder into one package."""

import datetime
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import flax.traverse_util
import numpy as np
import pandas as pd
import safetensors.numpy
from etils import epath

from chimp_jax.field.status import CLIPS
from chimp_jax.members import Member, find_members
from chimp_jax.sharing.anonymous import NewNames, anonymous_config
from chimp_jax.sharing.card import write_card
from chimp_jax.sharing.new_member import MEMBER, OOF, PROVENANCE
from chimp_jax.sharing.package import WEIGHTS, Writer
from chimp_jax.training.member_log import program_versions
from data_prep.files import unfinished_file
from data_prep.inputs.tables import csv_text, read_table
from data_prep.progress import Progress


class Packed(NamedTuple):
    """What a package holds."""

    members: list[str]  # RECIPE/fold_K
    unfinished: list[str]  # folders that were left out
    networks: list[str]  # where the SHA-256 of the networks begins that the receiver also requires


def pack(runs, out: Path, anonymous: bool) -> Packed:
    """Writes all finished members below RUNS into the file `out`, which appears whole.

    anonymous: the names of clips, sites, parks and animals are replaced and paths are left out. Raises ValueError if
    there is no finished member, one is damaged, or two folders hold the same one.
    """
    members = find_members(runs)
    _check_once(members)
    names = NewNames(_tables(members)) if anonymous else None
    done = {member.folder for member in members}
    unfinished = [str(folder) for folder in sorted(epath.Path(runs).glob('*/fold_*')) if folder not in done]
    about = {'date': datetime.date.today().isoformat(), 'anonymous': anonymous, 'versions': program_versions()}
    with (
        unfinished_file(out) as path,
        zipfile.ZipFile(path, 'w') as opened,
        Progress('pack', len(members), 'members') as progress,
    ):
        writer = Writer(opened, about)
        for recipe in sorted({member.recipe for member in members}):
            theirs = [member for member in members if member.recipe == recipe]
            _add_recipe(writer, theirs, names)
            for member in theirs:
                _add_member(writer, member, names)
                progress.advance(1)
        writer.finish()
    networks = sorted({member.network for member in members if member.network})
    return Packed([member.name for member in members], unfinished, networks)


def _check_once(members: Sequence[Member]) -> None:
    folders: dict[str, epath.Path] = {}
    for member in members:
        other = folders.setdefault(member.name, member.folder)
        if other != member.folder:
            raise ValueError(f'{other} and {member.folder} are both {member.name}; move one of them out of the folder')


def _tables(members: Sequence[Member]) -> list[pd.DataFrame]:
    """Returns all tables with names of clips or sites."""
    paths = [member.folder / OOF for member in members]
    paths += sorted({member.folder.parent / CLIPS for member in members})
    return [read_table(path) for path in paths if path.exists()]


def _add_recipe(writer: Writer, members: Sequence[Member], names: NewNames | None) -> None:
    recipe, folder = members[0].recipe, members[0].folder.parent
    config = (folder / 'config.json').read_text()
    writer.add(f'{recipe}/config.json', config if names is None else anonymous_config(config))
    writer.add(f'{recipe}/model_card.md', write_card(members, anonymous=names is not None))
    if (folder / CLIPS).exists():
        writer.add(f'{recipe}/{CLIPS}', _table_content(folder / CLIPS, names))


def _add_member(writer: Writer, member: Member, names: NewNames | None) -> None:
    folder, place = member.folder, member.name
    writer.add(f'{place}/{MEMBER}', (folder / MEMBER).read_bytes())
    writer.add(f'{place}/{WEIGHTS}', safetensors.numpy.save(flat_weights(member)))
    if (folder / OOF).exists():
        writer.add(f'{place}/{OOF}', _table_content(folder / OOF, names))
    if (folder / PROVENANCE).exists():
        writer.add(f'{place}/{PROVENANCE}', (folder / PROVENANCE).read_bytes())


def flat_weights(member: Member) -> dict[str, np.ndarray]:
    """Returns the weights of the best epoch by flat names. Raises ValueError if they are not float32."""
    flat = flax.traverse_util.flatten_dict(member.weights(), sep='/')
    other = sorted({str(array.dtype) for array in flat.values()} - {'float32'})
    if other:
        raise ValueError(
            f'{member.folder}: weights of {", ".join(other)} cannot be packed, only float32; train it again'
        )
    return {name: np.ascontiguousarray(array) for name, array in flat.items()}


def _table_content(path: epath.Path, names: NewNames | None) -> str | bytes:
    if names is None:
        return path.read_bytes()
    renamed = names.applied_to(read_table(path))
    return csv_text(list(renamed), renamed.to_numpy().tolist())
