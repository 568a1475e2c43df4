"""README and docs name files, symbols, tests, flags, targets of make and links that exist."""

import argparse
import ast
import functools
import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from absl import flags

from chimp_jax.commands import entry
from configs import base

ROOT = Path(__file__).resolve().parents[1]
# CHANGELOG.md is not checked, because it names things of older versions.
DOCS = [path for path in [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').glob('*.md'))]]
DOCS = [path for path in DOCS if path.exists()]
ROOMS = ('chimp_jax', 'data_prep', 'configs', 'bench', 'tests')
CODE = sorted({path.resolve() for room in ROOMS for path in (ROOT / room).rglob('*.py')} | set(ROOT.glob('*.py')))
TESTS = {path.stem: path for path in CODE if path.name.startswith('test_')}
NO_SYMBOL = {'csv', 'html', 'js', 'json', 'jpg', 'lock', 'md', 'mp4', 'onnx', 'parquet', 'png', 'py', 'txt', 'R', 'cfg'}
FOREIGN_FLAGS = {'--sdk_container_image', '--no-deps'}  # of Apache Beam and pip
FOREIGN_FLAGS |= {'--dataflow_service_options', '--number_of_worker_harness_threads', '--environment_type'}  # of Beam
TRAINING_FLAGS = {'--config', '--help'}  # defined only when the command runs
OLD_FIELDS = {'config.model.init', 'config.model.output_bias'}  # of version 0.1; the docs name their successors
ENTRANCES = {
    'demo.py': 'demo',
    'predict.py': 'chimp_jax.commands.entry',
    'train.py': 'chimp_jax.commands.training.chimp_train',
}
SCRIPTS = {'chimp-distance': 'chimp_jax.commands.entry', 'chimp-train': 'chimp_jax.commands.training.chimp_train'}


def spans(text: str) -> list[str]:
    """Returns the inline code of a document, without its blocks."""
    outside = re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)
    outside = '\n'.join('' if line.startswith('    ') else line for line in outside.splitlines())
    return [' '.join(span.split()) for span in re.findall(r'`([^`]+)`', outside)]


def block_lines(text: str) -> list[str]:
    """Returns the lines of fenced and indented blocks. A backslash joins a line with the next one."""
    fenced = re.findall(r'^```[^\n]*\n(.*?)^```', text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r'^ {4}.*', text, flags=re.MULTILINE)
    return '\n'.join([*fenced, *indented]).replace('\\\n', ' ').splitlines()


@functools.cache
def definitions(path: Path) -> set[str]:
    """Returns the names that a module defines, and the names of its classes as Class.name."""
    found = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, 'target', None)]
            found.update(prefix + target.id for target in targets if isinstance(target, ast.Name))
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f'{node.name}.')

    visit(ast.parse(path.read_text()).body, '')
    return found


def files_called(name: str) -> list[Path]:
    """Returns the files that a path from the root, or a module's name alone, can mean. `*` matches any letters."""
    if '/' in name or '*' in name:
        return [path.resolve() for path in ROOT.glob(name.rstrip('/'))]
    return [path for path in CODE if path.name == name]


def file_faults(text: str) -> Iterator[str]:
    tops = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name in {*ROOMS, 'docs', 'requirements'}}
    for span in spans(text):
        is_code = re.fullmatch(r'[\w./*-]+\.py', span)
        is_path = re.fullmatch(r'[\w./*-]+', span) and span.split('/')[0] in tops and '/' in span
        if (is_code or is_path) and not files_called(span):
            yield f'no file {span}'


def is_config_field(name: str) -> bool:
    value = base.get_config('full-a4p50-f7s1')
    for part in name.split('.'):
        if not hasattr(value, 'keys') or part not in value:
            return False
        value = value[part]
    return True


def module_symbol(name: str) -> bool:
    """Returns whether a dotted name is a module of the project or a symbol in one. Its packages may be omitted."""
    parts = name.split('.')
    for n in range(len(parts), 0, -1):
        stem = '/'.join(parts[:n])
        modules = [path for path in CODE if f'/{stem}.py' in f'/{path.relative_to(ROOT)}']
        if any(n == len(parts) or '.'.join(parts[n:]) in definitions(path) for path in modules):
            return True
    return (ROOT / '/'.join(parts) / '__init__.py').exists()


def symbol_faults(text: str) -> Iterator[str]:
    for name, symbol in re.findall(r'`([\w/]+\.py)`:? `(\w[\w.]*)`', text):
        if not any(symbol in definitions(path) for path in files_called(name)):
            yield f'no {symbol} in {name}'
    stems = {path.stem for path in CODE}
    for span in spans(text):
        name = span.partition('=')[0].removesuffix('()')
        if not re.fullmatch(r'[A-Za-z_]\w*(\.\w+)+', name) or name.rpartition('.')[2] in NO_SYMBOL:
            continue
        if name.startswith('config.'):
            known = name in OLD_FIELDS or is_config_field(name.removeprefix('config.'))
        elif name.split('.')[0] in {*ROOMS, *stems}:
            known = module_symbol(name) or is_config_field(name)
        else:
            known = True  # a name of another project
        if not known:
            yield f'no {name}'


def test_faults(text: str) -> Iterator[str]:
    for file, name in re.findall(r'`(test_\w+)::(\w+)`', text):
        if file not in TESTS or f'test_{name}' not in definitions(TESTS[file]):
            yield f'no test {file}::{name}'


test_faults.__test__ = False


class ParserFound(BaseException):
    """Carries the parser out of a command before the command does any work."""


def parser_of(module: str, arguments: list[str]) -> argparse.ArgumentParser:
    """Returns the parser to which a module's `main` passes these arguments."""

    def stop(parser, *_, **__):
        raise ParserFound(parser)

    found = importlib.import_module(module)
    if hasattr(found, '__path__'):  # python -m PACKAGE runs its __main__
        found = importlib.import_module(f'{module}.__main__')
    main = found.main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        patch.setattr(argparse.ArgumentParser, 'parse_known_args', stop)
        patch.setattr(sys, 'argv', [module, *arguments])
        try:
            main(arguments) if inspect.signature(main).parameters else main()
        except ParserFound as parsed:
            return parsed.args[0]
    raise AssertionError(f'{module} parses no arguments')


def split_command(line: str) -> tuple[str, list[str]]:
    """Returns the module that a shell line runs and its arguments, or '' for programs of other projects."""
    words = shlex.split(line, comments=True)
    while words and (words[0] == '$' or re.fullmatch(r'\w+=.*', words[0])):
        words = words[1:]
    end = next((i for i, word in enumerate(words) if word in ('|', '&&', ';', '>')), len(words))
    program, words = (words[0].rpartition('/')[2], words[1:end]) if words else ('', [])
    if program in SCRIPTS:
        return SCRIPTS[program], words
    if program.startswith('python') and words[:1] == ['-m'] and words[1].split('.')[0] in ROOMS:
        return words[1], words[2:]
    if program.startswith('python') and words and words[0] in ENTRANCES:
        return ENTRANCES[words[0]], words[1:]
    return '', []


def flag_faults(line: str, whole: bool) -> Iterator[str]:
    """Yields faults of a command line. whole: the line is complete, so required flags are checked too."""
    try:
        module, arguments = split_command(line)
    except ValueError:  # an odd apostrophe: not a command
        return
    names = [argument.partition('=')[0] for argument in arguments if argument.startswith('--')]
    if not module:
        return
    if not module_symbol(module):
        yield f'no module {module}'
    elif module == 'chimp_jax.commands.training.chimp_train':
        importlib.import_module(module)
        known = {f'--{name}' for name in flags.FLAGS} | TRAINING_FLAGS
        for name in names:
            if not (name in known or is_config_field(name.removeprefix('--config.'))):
                yield f'no flag {name}: {line}'
    elif names or (whole and arguments):
        parser = parser_of(module, arguments)
        if '--runner' not in names:  # Beam's own flags may follow it
            yield from (f'no flag {name}: {line}' for name in names if name not in parser._option_string_actions)
        if whole and '...' not in line:
            is_command = module == SCRIPTS['chimp-distance'] and arguments[0] in entry.COMMANDS
            try:
                parser.parse_known_args(arguments[is_command:])
            except SystemExit:
                yield f'cannot be parsed: {line}'


@functools.cache
def all_flags() -> set[str]:
    """Returns every text in the code that looks like a flag, and every flag of training."""
    importlib.import_module('chimp_jax.commands.training.chimp_train')
    trees = [ast.parse(path.read_text()) for path in CODE if ROOT / 'tests' not in path.parents]
    texts = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and text.startswith('--')} | {f'--{n}' for n in flags.FLAGS}


def command_faults(text: str) -> Iterator[str]:
    for line in block_lines(text):
        yield from flag_faults(line, whole=True)
    for span in spans(text):
        yield from flag_faults(span, whole=False)
        name = re.match(r'--[\w.-]+', span)
        if name and not is_config_field(name[0].removeprefix('--config.')):
            if name[0] not in all_flags() | TRAINING_FLAGS | FOREIGN_FLAGS:
                yield f'no flag {name[0]}'
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), flags=re.MULTILINE)
    for command in [*block_lines(text), *spans(text)]:
        target = re.match(r' *make ([a-z-]+)', command)
        if target and target[1] not in targets:
            yield f'no target {target[1]} in the Makefile'


def link_faults(text: str, folder: Path) -> Iterator[str]:
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'\w+:', target):
            continue
        name, _, anchor = target.partition('#')
        path = folder / name if name else None
        if path is not None and not path.exists():
            yield f'no link {target}'
        elif anchor:
            headings = re.findall(r'^#+ (.*)', path.read_text() if path else text, flags=re.MULTILINE)
            slugs = {re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-') for heading in headings}
            if anchor not in slugs:
                yield f'no heading {target}'


CHECKS = {'files': file_faults, 'symbols': symbol_faults, 'tests': test_faults, 'commands': command_faults}


@pytest.mark.parametrize('check', CHECKS)
@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_everything_that_a_document_names_exists(path, check):
    assert list(CHECKS[check](path.read_text())) == []


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(path):
    assert list(link_faults(path.read_text(), path.parent)) == []


def test_every_row_of_fidelity_names_its_place_and_its_test():
    rows = re.findall(r'^\| (?:P|F|O|P, O) \|(.*)\|$', (ROOT / 'docs' / 'fidelity.md').read_text(), flags=re.MULTILINE)
    assert len(rows) > 50
    for row in rows:
        _, place, tests = (cell.strip() for cell in row.split(' | '))
        assert re.fullmatch(r'`[\w/]+\.py`( `[\w.]+`)*(, `[\w/]+\.py`( `[\w.]+`)*)*', place), row
        assert re.search(r'`test_\w+(::\w+)?`', tests) or tests.startswith('none: '), row


@pytest.mark.parametrize(
    'text, fault',
    [
        ('`chimp_jax/steps.py`, `steps.py`, `configs/`, `chimp_jax/models/`, `chimp_jax/ops/*.py`', None),
        ('`tests/nothing/`', 'no file tests/nothing/'),
        ('`chimp_jax/step.py`', 'no file chimp_jax/step.py'),
        ('`step.py`', 'no file step.py'),
        ('`docs/nothing.jpg`', 'no file docs/nothing.jpg'),
        ('`chimp_jax/steps.py` `train_step`, `steps.py`: `TrainState.step`, `steps.train_step`', None),
        ('`chimp_jax/steps.py` `trainstep`', 'no trainstep in chimp_jax/steps.py'),
        ('`steps.py`: `trainstep`', 'no trainstep in steps.py'),
        ('`steps.trainstep`', 'no steps.trainstep'),
        ('`chimp_jax.steps` and `chimp_jax.steps.train_step` and `np.rot90` and `member.json`', None),
        ('`chimp_jax.steps.trainstep`', 'no chimp_jax.steps.trainstep'),
        ('`config.start.init=lite0`, `data.folds=site`', None),
        ('`config.model.inits=lite0`', 'no config.model.inits'),
        ('`test_docs::no_such_test`', 'no test test_docs::no_such_test'),
        ('`test_nothing::x`', 'no test test_nothing::x'),
        ('`--config.start.init`, `--submission_format`, `make demo`', None),
        ('`--config.model.inits`', 'no flag --config.model.inits'),
        ('`--submission_formats`', 'no flag --submission_formats'),
        ('`make coffee`', 'no target coffee in the Makefile'),
        ('`python -m bench.nothing --x`', 'no module bench.nothing'),
        ('`chimp-distance report --details`', 'no flag --details: chimp-distance report --details'),
        ('    python train.py --config=x --config.train.batch_size=3 --workdir=runs', None),
        ('```\nchimp-train --config=x --workdirs=runs\n```', 'no flag --workdirs: chimp-train'),
        ('    python predict.py --members runs --records data \\\n      --out a.csv   # a comment', None),
        ('    python predict.py --members runs --records data \\\n      --outs a.csv', 'no flag --outs'),
        ('    .venv/bin/chimp-distance estimate CLIPS', 'cannot be parsed: '),
        ('    python -m data_prep.build --clips_full A --out data --worker 3', 'no flag --worker'),
    ],
)
def test_the_checks_find_faults(text, fault):
    found = [each for check in CHECKS.values() for each in check(text)]
    assert (found == []) if fault is None else any(fault in each for each in found), found


def test_the_checks_find_broken_links():
    docs = ROOT / 'docs'
    text = '[a](fidelity.md) [b](nothing.md) [c](#a-heading) [d](#no-heading) [e](https://x.org/y)\n## A heading'
    assert list(link_faults(text, docs)) == ['no link nothing.md', 'no heading #no-heading']
