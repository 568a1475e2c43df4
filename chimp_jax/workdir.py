"""Files of a work folder: they appear whole, and a folder belongs to one config."""

import json

import jax
from etils import epath
from ml_collections import ConfigDict

from data_prep import files


def write_whole(path: epath.Path, content: str | bytes) -> None:
    """The file appears whole or not at all. Of several processes, which share the folder, the first writes."""
    if jax.process_index() == 0:
        files.write_whole(path, content)


def claim(folder: epath.Path, config: ConfigDict) -> None:
    """Writes the recipe's config; raises ValueError where another stands: half a member of each would be neither."""
    check_owner(folder, config)
    path = folder / 'config.json'
    if not path.exists():
        write_whole(path, json.dumps(_plain(config), indent=2) + '\n')


def check_owner(folder: epath.Path, config: ConfigDict) -> None:
    """Raises ValueError with the fields that differ where the folder belongs to another config."""
    path = folder / 'config.json'
    different = sorted(_different_fields(json.loads(path.read_text()), _plain(config))) if path.exists() else []
    if different:
        raise ValueError(
            f'{folder} belongs to another config, which differs in {", ".join(different)}; '
            'choose another --workdir or the same config'
        )


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
