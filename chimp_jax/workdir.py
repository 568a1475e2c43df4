"""The config of a recipe's folder: the first training writes it, others must have the same."""

import json

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.data.processes import write_shared
from chimp_jax.members import as_config
from data_prep.files import read_json

REMEDY = 'set these fields as they are there to go on with it, or choose another --workdir'


def claim_recipe(folder: epath.Path, config: ConfigDict, remedy: str = REMEDY) -> None:
    """Writes config.json into the folder. Raises ValueError if the folder belongs to another config."""
    check_owner(folder, config, remedy)
    path = folder / 'config.json'
    if read_json(path) is None:
        write_shared(path, json.dumps(_plain(config), indent=2) + '\n')


def check_owner(folder: epath.Path, config: ConfigDict, remedy: str = REMEDY) -> None:
    """Raises ValueError with the fields that differ and the remedy if the folder belongs to another config."""
    stored = read_json(folder / 'config.json')
    different = sorted(_different_fields(_plain(as_config(stored)), _plain(config))) if stored else []
    if different:
        raise ValueError(f'{folder} belongs to another config, which differs in {", ".join(different)}; {remedy}')


def _plain(config: ConfigDict) -> dict:
    return json.loads(config.to_json_best_effort())


def _different_fields(a: dict, b: dict, prefix: str = '') -> list[str]:
    fields = []
    for name in sorted(a.keys() | b.keys()):
        if isinstance(a.get(name), dict) and isinstance(b.get(name), dict):
            fields += _different_fields(a[name], b[name], f'{prefix}{name}.')
        elif a.get(name) != b.get(name):
            fields.append(f'{prefix}{name} ({a.get(name)!r} there, {b.get(name)!r} here)')
    return fields
