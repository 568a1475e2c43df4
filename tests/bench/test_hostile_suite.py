"""The suite of hostile files sees what it counts."""

import random

import pytest

from bench.hostile.commands import judge
from bench.hostile.damage import KINDS, damage
from bench.hostile.sandbox import Sandbox


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path / 'inside')


def test_a_run_that_does_what_no_file_may_make_it_do(sandbox, tmp_path):
    outside = tmp_path / 'outside'
    code = (
        'import os, socket, subprocess\n'
        f"open({str(outside)!r}, 'w').write('x')\n"
        f"os.rename({str(outside)!r}, {str(outside)!r} + '2')\n"
        "subprocess.run(['true'])\n"
        f"socket.create_connection(('127.0.0.1', {sandbox.server.port})).close()\n"
    )
    watched = sandbox.run(['-c', code], 600.0)
    assert watched.code == 0
    for what in (
        f'writes {outside}',
        'os.rename',
        "starts true ['true']",
        'connects to (',
        '1 connections to the server',
    ):
        assert any(fault.startswith(what) for fault in watched.faults), (what, watched.faults)


def test_a_run_that_does_nothing_of_this(sandbox):
    inside = sandbox.folder / 'file'
    watched = sandbox.run(['-c', f"open({str(inside)!r}, 'w').write('x'); print('done')"], 600.0)
    assert (watched.code, watched.printed, watched.faults) == (0, 'done\n', [])


def test_a_run_that_hangs(sandbox):
    watched = sandbox.run(['-c', 'import time; time.sleep(60)'], 0.5)
    assert watched.code is None and watched.faults == ['hangs: not finished after 0 s']


@pytest.mark.parametrize(
    'code, printed, is_fault',
    [
        (1, 'import failed: a.h5 is empty; give a Keras file\n', False),
        (0, '', False),
        (1, '', True),
        ('crash', 'Traceback (most recent call last):\n', True),
        (3, 'Traceback (most recent call last):\n', True),
        (-11, '', True),
        (1, 'one\n' * 9, True),
    ],
)
def test_the_end_of_a_command(code, printed, is_fault):
    assert bool(judge({'code': code, 'printed': printed})) == is_fault


def test_the_same_seed_damages_equally():
    content = bytes(range(256)) * 20
    for kind in KINDS:
        first, second = (damage(kind, content, content, random.Random(7)) for _ in range(2))
        assert first == second != content
