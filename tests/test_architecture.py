"""Imports go one way, and a name means one thing."""

import ast
import collections
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Rooms from the top to the bottom. A room imports itself and the rooms below it.
ROOMS = (
    ('tests', 'bench', 'demo', 'train', 'predict', 'chimp_jax.ablate.__main__'),
    ('chimp_jax.commands',),
    ('chimp_jax.sharing', 'chimp_jax.ablate', 'chimp_jax.enhance'),
    ('chimp_jax.field', 'chimp_jax.engines'),
    ('chimp_jax',),
    ('chimp_jax.ensemble', 'chimp_jax.stations'),
    ('chimp_jax.models', 'chimp_jax.data'),
    ('chimp_jax.ops', 'chimp_jax.animals'),
    ('chimp_jax.programs',),
    ('data_prep',),
    ('configs', 'chimp_jax.configs'),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
# Every command has these functions.
PER_COMMAND = {'make_parser', 'run', 'main', 'start'}
COMMANDS = ('chimp_jax.commands.', 'data_prep.build', 'data_prep.fetch', 'data_prep.inspect_clip')
COMMANDS += ('data_prep.simulate', 'demo', 'chimp_jax.ablate', 'chimp_jax.enhance')
# Names that the configs of ml_collections must have.
PER_CONFIG = {'get_config'}


def modules() -> dict[str, ast.Module]:
    """{dotted name: syntax tree} of every module but the tests and benchmarks."""
    files = [ROOT / f'{name}.py' for name in ('train', 'predict', 'demo')]
    for package in ('chimp_jax', 'data_prep', 'configs', 'bench'):
        files += sorted((ROOT / package).rglob('*.py'))
    found = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix('').parts
        if parts[:2] == ('chimp_jax', 'configs'):  # a link to configs/
            continue
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = ast.parse(path.read_text())
    return found


MODULES = modules()


def real(name: str) -> str:
    return name.removeprefix('chimp_jax.') if name.startswith('chimp_jax.configs') else name


def imports(name: str, tree: ast.Module) -> set[str]:
    """The modules of this project that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {real(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split('.')[: -node.level] if node.level else []
            parent = real('.'.join([*above, *filter(None, [node.module])]))
            for alias in node.names:
                inner = f'{parent}.{alias.name}'
                found.add(inner if inner in MODULES else parent)
    return {module for module in found if module in MODULES} - {name}


GRAPH = {name: imports(name, tree) for name, tree in MODULES.items()}


def room(name: str) -> str:
    """The innermost room of a module."""
    parts = name.split('.')
    return next(place for end in range(len(parts), 0, -1) if (place := '.'.join(parts[:end])) in RANK)


def test_imports_go_downwards():
    upwards = [
        f'{name} imports {other}'
        for name, others in GRAPH.items()
        for other in others
        if RANK[room(other)] < RANK[room(name)]
    ]
    assert not upwards


@pytest.mark.parametrize('room_name', [rooms for rooms in ROOMS if len(rooms) > 1 and 'tests' not in rooms])
def test_rooms_side_by_side_do_not_import_each_other(room_name):
    beside = [
        f'{name} imports {other}'
        for name, others in GRAPH.items()
        for other in others
        if room(name) in room_name and room(other) in room_name and room(name) != room(other)
    ]
    assert not beside


def test_no_circle():
    left = {name: set(others) for name, others in GRAPH.items()}
    while left:
        free = {name for name, others in left.items() if not others & left.keys()}
        assert free, f'a circle among {sorted(left)}'
        left = {name: others for name, others in left.items() if name not in free}


def test_a_public_name_is_defined_once():
    places = collections.defaultdict(list)
    for name, tree in MODULES.items():
        if name.split('.')[0] == 'bench':
            continue
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith('_'):
                places[node.name].append(name)
    several = {public: where for public, where in places.items() if len(where) > 1}
    for public in PER_COMMAND:
        several[public] = [name for name in several.get(public, []) if not name.startswith(COMMANDS)]
    for public in PER_CONFIG:
        several[public] = [name for name in several.get(public, []) if not name.startswith('configs.')]
    assert {public: where for public, where in several.items() if len(where) > 1} == {}


def test_a_room_has_about_a_dozen_doors():
    rooms = {name.rpartition('.')[0] for name in MODULES}
    files = [name.rpartition('.')[0] for name in MODULES if name not in rooms and not name.startswith('bench')]
    assert {place: n for place, n in collections.Counter(files).items() if n > 14} == {}


def test_no_file_is_called_utils():
    assert not [name for name in MODULES if 'utils' in name or 'helpers' in name]


def test_every_file_says_what_it_is_for():
    assert not [name for name, tree in MODULES.items() if not ast.get_docstring(tree)]


@pytest.mark.parametrize('name', [name for name in MODULES if not name.startswith(('bench', 'train', 'predict'))])
def test_a_command_runs_through_stopping(name):
    """Ctrl-C and SIGTERM end each command in one way. train.py and predict.py call the start of their command."""
    entrances = [
        node
        for node in MODULES[name].body
        if (isinstance(node, ast.If) and '__main__' in ast.unparse(node.test))
        or (isinstance(node, ast.FunctionDef) and node.name == 'start')
    ]
    for node in entrances:
        text = ast.unparse(node)
        loads = 'stopping.while_loading(' in text and len(node.body) == 1 and node is not entrances[-1]
        assert loads or 'stopping.run(' in text
