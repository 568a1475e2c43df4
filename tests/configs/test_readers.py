"""Every leaf of the config has a reader outside configs/."""

import ast
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from configs import base

ROOT = Path(__file__).resolve().parents[2]
FILES = [*(ROOT / 'chimp_jax').rglob('*.py'), *(ROOT / 'data_prep').rglob('*.py')]
TREES = [ast.parse(path.read_text()) for path in FILES if 'configs' not in path.relative_to(ROOT).parts]


def leaves(config: ConfigDict, prefix: str = '') -> list[str]:
    """Returns names such as train.plateau.factor."""
    found = []
    for name, value in config.items():
        inner = isinstance(value, ConfigDict)
        found += leaves(value, f'{prefix}{name}.') if inner else [f'{prefix}{name}']
    return found


def dotted(node: ast.AST) -> str:
    """Returns an expression such as self.config.data.stream as text, without the parts that are no names."""
    if isinstance(node, ast.Attribute):
        return f'{dotted(node.value)}.{node.attr}'
    return node.id if isinstance(node, ast.Name) else ''


def is_written(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)


def reads(trees) -> Iterator[str]:
    """Yields the attributes that the code reads, as `.data.stream`, and sections that it unpacks, as `.model.*`.

    Local variables have the names of their sections: data = config.data.
    """
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and not is_written(node):
            yield f'.{dotted(node)}'
        elif isinstance(node, ast.keyword) and node.arg is None:  # f(**config.model)
            yield f'.{dotted(node.value)}.*'


def unread(config: ConfigDict, trees=TREES) -> list[str]:
    """Returns the leaves that no code reads. The caller of an unpacked section refuses fields that it does not know."""
    found = set(reads(trees))

    def is_read(leaf: str) -> bool:
        leaf = leaf if '.' in leaf else f'config.{leaf}'
        section = leaf.rpartition('.')[0]
        return any(name.endswith((f'.{leaf}', f'.{section}.*')) for name in found)

    return [leaf for leaf in leaves(config) if not is_read(leaf)]


def test_every_leaf_of_the_config_has_a_reader():
    config = base.get_config()
    assert 'train.plateau.factor' in leaves(config) and 'data.stream' in leaves(config) and len(leaves(config)) > 35
    assert unread(config) == []


def test_a_leaf_without_a_reader_is_found():
    config = ConfigDict(base.get_config().to_dict())
    config.extra = 1
    config.data.mixup = 0.1
    config.train.plateau.cooldown = 0  # unpacked: make_plateau refuses it
    assert sorted(unread(config)) == ['data.mixup', 'extra']
    # To write a field is not to read it, and neither is to read a field of that name in another section.
    tree = ast.parse('config.data.mixup = 0.2\nconfig.train.mixup\nf(data.mixup_s)')
    assert 'data.mixup' in unread(config, [tree])
    assert 'data.mixup' not in unread(config, [ast.parse('f(config.data.mixup)')])
