"""The entrance: the list of commands, the nearest name, and what flags without a command mean."""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import write_runs

from chimp_jax.commands import entry

FILES = {path.stem for path in Path(entry.__file__).parent.glob('*.py')}
HOLDS = (
    'import sys; from data_prep.lock import hold\nwith hold(sys.argv[1]): print("held", flush=True), sys.stdin.read()'
)


def test_every_command_has_a_file_with_its_flags():
    places = [entry.PLACES.get(name, name) for name in entry.COMMANDS]
    for name, place in zip(entry.COMMANDS, places, strict=True):
        parser = importlib.import_module(f'chimp_jax.commands.{place}').make_parser()
        assert parser.prog == f'chimp-distance {name}'
    shared = {'__init__', 'arguments', 'combining', 'entry'}
    assert FILES - shared == {place for place in places if '.' not in place}
    inner = {place.partition('.')[0] for place in places if '.' in place}
    files = [path for room in inner for path in (Path(entry.__file__).parent / room).glob('*.py')]
    assert {f'{path.parent.name}.{path.stem}' for path in files if path.stem not in shared} == {
        place for place in places if '.' in place
    }


@pytest.mark.parametrize('arguments, code', [([], 2), (['--help'], 0), (['-h'], 0)])
def test_the_commands_are_listed_with_a_line_each(capsys, arguments, code):
    assert entry.main(arguments) == code
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith('  ')]
    assert listed == list(entry.COMMANDS) and max(map(len, lines)) <= 120


def test_version(capsys):
    assert entry.main(['--version']) == 0
    assert capsys.readouterr().out.startswith('chimp-distance ')


@pytest.mark.parametrize('typed, hint', [('estimat', '; did you mean estimate?'), ('xyz', '')])
def test_a_mistyped_command_gets_the_nearest_name(capsys, typed, hint):
    assert entry.main([typed, 'clips']) == 2
    first, *rest = capsys.readouterr().err.splitlines()
    assert first == f"chimp-distance: there is no command '{typed}'{hint}"
    assert [line.split()[0] for line in rest if line.startswith('  ')] == list(entry.COMMANDS)


@pytest.mark.parametrize(
    'arguments, name',
    [
        (['--members', 'r', '--records', 'd', '--out', 'o.csv'], 'score'),
        (['--members', 'r', '--clip', 'x.mp4', '--out', 'o'], 'clip'),
        (['--clip=x.mp4', '--members', 'r', '--out', 'o'], 'clip'),
        (['report', 'o'], 'report'),
    ],
)
def test_flags_without_a_command_are_those_of_score_or_clip(arguments, name):
    assert entry._parse(arguments)[0] == name


@pytest.mark.parametrize('name', ['estimate', 'score', 'clip', 'report'])
def test_a_second_run_into_one_folder_stops_with_one_line(tmp_path, capsys, name):
    members = ['--members', str(write_runs(tmp_path / 'runs'))]
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'clips' / 'a.mp4').write_bytes(b'x')
    out = tmp_path / 'out'
    arguments, folder = {
        'estimate': ([str(tmp_path / 'clips'), *members, '--out', str(out)], out),
        'score': ([*members, '--records', 'none', '--out', str(out / 'a.csv')], out / 'a.csv.parts'),
        'clip': (['--clip', str(tmp_path / 'clips' / 'a.mp4'), *members, '--out', str(out)], out),
        'report': ([str(out)], out),
    }[name]
    with subprocess.Popen(
        [sys.executable, '-c', HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == 'held\n'
        assert entry.main([name, *arguments]) == 1
        text = capsys.readouterr().err
        other.stdin.close()
    assert text.startswith(f'{name} failed: another run works in {folder} (process {other.pid} on ')
    assert text.count('\n') == 1
    assert not folder.exists()  # the first run made it, left it empty and removed it


def test_s3_needs_its_packages(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == 's3fs' else find(name))
    for clips, out, message in (
        ('s3://bucket/clips', 'out', 's3://bucket/clips requires '),
        ('clips', 's3://bucket/out', 's3://bucket/out requires '),
    ):
        assert entry.main(['estimate', clips, '--members', 'runs', '--out', out]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f'estimate failed: {message}') and error.count('\n') == 1
