"""Runs train.py with several command lines, each in a process that is forked from one that has imported everything."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PARENT = """
import gc, json, os, runpy, sys
sys.path.insert(0, sys.argv[1])
from chimp_jax import runtime, train
from chimp_jax.commands.training import chimp_train
runtime.configure = lambda: None  # must run before JAX is imported; test_runtime.py covers it
gc.freeze()  # so that a child copies less memory
codes = []
for number, arguments in enumerate(json.loads(sys.argv[2])):
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(f'{number}.{stream}', os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ['train.py', *arguments]
        code = None
        try:
            runpy.run_path(sys.path[0] + '/train.py', run_name='__main__')
        except SystemExit as end:
            code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(bool(code))  # without the interpreter's end, which takes a second of a core
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run_all(commands: Sequence[Sequence[str]], folder: Path) -> list[Done]:
    """Runs each list of arguments in the folder. The folder is outside the checkout, as a user's is."""
    arguments = [sys.executable, '-c', PARENT, str(ROOT), json.dumps([list(command) for command in commands])]
    environment = os.environ | {'JAX_PLATFORMS': 'cpu'}
    parent = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert parent.returncode == 0, parent.stderr
    codes = json.loads(parent.stdout)
    return [Done(code, *((folder / f'{n}.{stream}').read_text() for stream in (1, 2))) for n, code in enumerate(codes)]
