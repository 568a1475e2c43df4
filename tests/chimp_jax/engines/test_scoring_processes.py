"""Scoring by two processes with four devices each: the bytes of one process with eight."""

import os
import socket
import subprocess
import sys

import jax
import pytest
import small_workers

from chimp_jax.streamed import saved
from data_prep import lock

pytestmark = pytest.mark.slow  # test_lost_process.py has two processes in the default suite

CHILD = """
import sys
from chimp_jax.streamed import clip_stream
from chimp_jax.commands import entry
from chimp_jax.field import evaluate
clip_stream.CLIPS_PER_BATCH = 2
evaluate.bias_warning = lambda bands: ''
sys.exit(entry.main(sys.argv[1:]))
"""


def run_both(arguments, folder) -> list[tuple[int, str]]:
    """Runs a command in two processes. Returns the exit codes and what they print."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    environment = os.environ | small_workers.environment(folder, n_devices=4)
    environment |= {'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2'}
    environment['JAX_COMPILATION_CACHE_DIR'] = jax.config.jax_compilation_cache_dir
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', CHILD, *map(str, arguments), '--multihost'],
            env=environment | {'JAX_PROCESS_ID': str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [process.communicate(timeout=900)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def test_two_processes_with_four_devices_give_the_bytes_of_one_with_eight(data, here, check_same, tmp_path):
    assert jax.local_device_count() == 8
    arguments = ['estimate', data / 'clips', f'--members={data}/runs', f'--out={tmp_path}/two', '--workers=1']
    done = run_both(arguments, tmp_path / 'start')
    assert [code for code, _ in done] == [3, 3], done
    check_same(tmp_path / 'two')
    batches = [*(tmp_path / 'two' / 'work').glob(f'*/*{saved.CLIPS}')]
    assert len(batches) == 4  # both processes had a share
    assert not (tmp_path / 'two.processes').exists()


def test_records_are_shared_too(data, here, tmp_path):
    out = tmp_path / 'scores.csv'
    arguments = ['score', f'--members={data}/runs', f'--records={data}', '--weights=mean', '--details', f'--out={out}']
    done = run_both(arguments, tmp_path / 'start')
    assert [code for code, _ in done] == [0, 0], done
    assert out.read_bytes() == (here / 'scores.csv').read_bytes()


def test_a_second_job_in_the_folder_ends_both_processes(data, tmp_path):
    arguments = ['estimate', data / 'clips', f'--members={data}/runs', f'--out={tmp_path}/two', '--workers=1']
    with lock.hold(tmp_path / 'two'):
        (code, first), (other_code, other) = run_both(arguments, tmp_path / 'start')
    assert (code, other_code) == (1, 1)
    assert 'estimate failed: another run works in ' in first and 'Traceback' not in first + other
