"""One of two processes is killed with -9 in the middle: the other one does its share and ends the run."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

from etils import epath

from chimp_jax.engines import heartbeat, processes
from chimp_jax.engines.counting import Counts
from chimp_jax.engines.engine import Engine, EngineJob, run_pieces

ROOT = pathlib.Path(__file__).resolve().parents[3]
LOST_S = 20.0
SAVE = 'test_lost_process:save'


def save(folder: str, numbers) -> None:
    """Saves the square of each number. The second process dies at its second number."""
    for count, number in enumerate(numbers):
        if os.environ['JAX_PROCESS_ID'] == '1' and count == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        epath.Path(folder, str(number)).write_text(str(number**2))


def command(folder: epath.Path) -> int:
    def pending(numbers=range(7)) -> list[int]:
        return [number for number in numbers if not (folder / str(number)).exists()]

    counts = Counts(
        'numbers', 7, lambda n: (1, 1.0), lambda asked: {i for i, n in enumerate(asked) if n not in pending(asked)}
    )
    job = EngineJob('numbers', SAVE, str(folder), folder, pending, counts)
    run_pieces(Engine('processes', processes.run_shares), job)
    return 5


def start(out: str) -> None:
    """What each of the two processes runs."""
    from chimp_jax import runtime

    heartbeat.BEAT_S, heartbeat.LOST_S = 1.0, LOST_S
    runtime.start_logging()
    sys.exit(processes.run_as_one(lambda: command(epath.Path(out)), out))


def test_the_other_process_does_the_share_of_one_that_was_killed(tmp_path):
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    environment = os.environ | {'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2'}
    environment['PYTHONPATH'] = os.pathsep.join(map(str, (ROOT, pathlib.Path(__file__).parent)))
    out = tmp_path / 'out'
    out.mkdir()
    both = [
        subprocess.Popen(
            [sys.executable, '-c', f'import test_lost_process; test_lost_process.start({str(out)!r})'],
            env=environment | {'JAX_PROCESS_ID': str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    try:
        first, second = (process.communicate(timeout=900)[0] for process in both)
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [5, -signal.SIGKILL], first + second
    assert {path.name: path.read_text() for path in out.iterdir()} == {str(n): str(n**2) for n in range(7)}
    assert 'process 1: it does not answer for 20 s; the others do its share); starting it again' in first
    assert 'number 7 of 7, 100 %' in first
    assert not (tmp_path / 'out.processes').exists()
