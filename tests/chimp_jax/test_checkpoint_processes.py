"""Two processes read a checkpoint, and one of them fails: both take the same decision, and neither waits for ever."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from chimp_jax import runtime
runtime.start_processes()
import jax
import numpy as np
from chimp_jax import checkpoint, steps
parts = {name: {'kernel': np.ones(3, np.float32)} for name in ('params', 'batch_stats', 'opt_state', 'plateau')}
state = steps.TrainState(step=np.int32(0), key=np.zeros(2, np.uint32), **parts)  # any tree does
manager = checkpoint.open_manager(sys.argv[1])
history = []
for epoch in (1, 2):
    history = [*history, {'epoch': epoch, 'val_mae': 1.0 / epoch}]
    checkpoint.save(manager, state, history)
read = checkpoint._read_arrays
def fails(folder, item, like):
    if jax.process_index() == 1 and folder.name == '2':
        raise {'damage': ValueError('DATA_LOSS: wrong checksum'), 'timeout': TimeoutError('no answer')}[sys.argv[2]]
    return read(folder, item, like)
checkpoint._read_arrays = fails
try:
    found = checkpoint.restore(manager, state)
    print('RESULT', len(found[1]), manager.all_steps())
except OSError as error:
    print('RESULT', error)
"""


def run_two(*arguments) -> list[str]:
    """Returns the result line of each process. A process that waits for the other one is killed."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    running = []
    for number in range(2):
        environment = os.environ | {
            'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
            'XLA_FLAGS': '--xla_force_host_platform_device_count=1',
            'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
            'JAX_NUM_PROCESSES': '2',
            'JAX_PROCESS_ID': str(number),
        }
        command = [sys.executable, '-c', CHILD, *map(str, arguments)]
        running.append(subprocess.Popen(command, env=environment, stdout=-1, stderr=subprocess.STDOUT, text=True))
    try:
        outputs = [process.communicate(timeout=600)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    lines = [[line for line in output.splitlines() if line.startswith('RESULT')] for output in outputs]
    assert [len(found) for found in lines] == [1, 1], '\n'.join(outputs)
    return [line.removeprefix('RESULT ') for (line,) in lines]


@pytest.mark.parametrize('fault', ['damage', 'timeout'])
def test_a_process_that_fails_alone_decides_for_both(tmp_path, fault):
    results = run_two(tmp_path / 'checkpoints', fault)
    aside = (tmp_path / 'checkpoints' / 'damaged_2').exists()
    if fault == 'damage':
        assert results == ['1 [1]', '1 [1]'] and aside
    else:
        assert results[0] == results[1] and results[0].startswith('the checkpoint ') and not aside
        assert 'checkpoints/2 cannot be read (TimeoutError: no answer)' in results[0]
