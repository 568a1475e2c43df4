"""One training on several processes: the same losses and predictions as on one, and the files of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import small

from chimp_jax import train, trainer

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
import small
from chimp_jax import runtime, train, trainer
runtime.start_processes()
import jax
assert (jax.local_device_count(), jax.device_count()) == (4, 8)
trainer.DistanceModel = small.model
config = small.config(sys.argv[1])
config.train.update(batch_size=8, epochs=2)
config.data.shares = 2
train.train_recipes([config], sys.argv[2], folds=[1])
"""


def start(process: int, port: int, *arguments) -> subprocess.Popen:
    environment = os.environ | {
        'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}',
        'XLA_FLAGS': f'{os.environ["XLA_FLAGS"]} --xla_force_host_platform_device_count=4',  # the last one counts
        'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
        'JAX_NUM_PROCESSES': '2',
        'JAX_PROCESS_ID': str(process),
    }
    command = [sys.executable, '-c', CHILD, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_two_processes_with_four_devices_are_one_with_eight(tmp_path, monkeypatch):
    data = tmp_path / 'data'
    small.write_data(data, n_targets=12)
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    processes = [start(i, port, data, tmp_path / 'two') for i in range(2)]
    try:
        said = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], '\n'.join(said)

    monkeypatch.setattr(trainer, 'DistanceModel', small.model)
    config = small.config(data)
    config.train.update(batch_size=8, epochs=2)
    config.data.shares = 2
    train.train_recipe(config, tmp_path / 'one', folds=[1])
    folders = [tmp_path / runs / config.recipe / 'fold_1' for runs in ('one', 'two')]
    one, two = (pd.read_csv(folder / 'metrics.csv') for folder in folders)
    assert two['step'].tolist() == [3, 6]
    pd.testing.assert_frame_equal(one, two, rtol=1e-3)
    assert np.ptp(one['train_mae']) > 0.01  # it has learnt something that could have differed
    one, two = (pd.read_csv(folder / 'oof.csv') for folder in folders)
    pd.testing.assert_frame_equal(one, two, rtol=1e-2)
    # One process writes.
    (row,) = json.loads((folders[1] / 'run.json').read_text())
    assert (row['devices'], row['processes']) == (8, 2)
    assert len(list(folders[1].glob('events.out.tfevents.*'))) == 1
    assert pd.read_csv(tmp_path / 'two' / 'cv_mae.csv')['members'].tolist() == [1]


def test_shares_that_processes_do_not_divide_are_refused(tmp_path, monkeypatch):
    small.write_data(tmp_path)
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    with pytest.raises(
        ValueError, match='data.shares=1 cannot be divided among 2 processes; set --config.data.shares=2'
    ):
        train.Trainer(small.config(tmp_path), 'digest of its folds')
