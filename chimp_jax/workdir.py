"""Files of a work folder: they appear whole, and a folder belongs to one config."""

import json

from etils import epath
from ml_collections import ConfigDict


def write_whole(path: epath.Path, text: str) -> None:
    """The file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f'{path.name}.tmp'
    unfinished.write_text(text)
    unfinished.replace(path)


def claim(folder: epath.Path, config: ConfigDict) -> None:
    """Writes the recipe's config, or compares with the one that stands: half a member of each would be neither."""
    path = folder / 'config.json'
    mine = json.loads(config.to_json_best_effort())
    if not path.exists():
        write_whole(path, json.dumps(mine, indent=2) + '\n')
        return
    theirs = json.loads(path.read_text())
    different = sorted(_different_fields(theirs, mine))
    if different:
        raise ValueError(
            f'{folder} belongs to another config, which differs in {", ".join(different)}; '
            'choose another --workdir or the same config'
        )


def _different_fields(a: dict, b: dict, prefix: str = '') -> list[str]:
    fields = []
    for name in sorted(a.keys() | b.keys()):
        if isinstance(a.get(name), dict) and isinstance(b.get(name), dict):
            fields += _different_fields(a[name], b[name], f'{prefix}{name}.')
        elif a.get(name) != b.get(name):
            fields.append(f'{prefix}{name} ({a.get(name)!r} there, {b.get(name)!r} here)')
    return fields
