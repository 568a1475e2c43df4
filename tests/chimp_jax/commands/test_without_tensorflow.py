"""The commands of a laptop in the field run where requirements/field.lock was installed, without TensorFlow."""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import small
from packaging.utils import canonicalize_name
from run_estimate import read

LOCK = Path(__file__).resolve().parents[3] / 'requirements' / 'field.lock'
# Runs the commands of its arguments, with the small model, in a process in which imports of the modules in the first
# argument fail.
PROGRAM = """
import sys

for name in sys.argv.pop(1).split():
    sys.modules.setdefault(name, None)

from chimp_jax import panel
from chimp_jax.commands import entry
from chimp_jax.field.label.server import LabelServer
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import Stage

STAGES = (Stage(2, 3, 2, 32, 16, 1),)
LabelServer.serve_forever = lambda _: None  # the page is closed at once
panel.DistanceModel = lambda **_: DistanceModel(lstm_units=8, dense_units=6, stages=STAGES)
codes = [entry.main(line.split('|')) for line in sys.argv[1:]]
loaded = {name.split('.')[0] for name, module in sys.modules.items() if module}
print('codes', codes, 'loaded', sorted(loaded & {'tensorflow', 'tensorflow_datasets', 'keras', 'tensorboard'}))
"""


def modules_without_lock() -> list[str]:
    """Returns the modules of this environment that an installation by the field's lock does not have."""
    names = re.findall(r'^([\w.-]+)==', LOCK.read_text(), re.MULTILINE)
    locked = {canonicalize_name(name) for name in (*names, 'chimp_jax')}
    owners = packages_distributions().items()
    return [module for module, names in owners if not locked & {canonicalize_name(name) for name in names}]


def test_commands_of_the_field_run_without_tensorflow(clips, tmp_path):
    runs = tmp_path / 'runs'
    small.write_members(runs, ['full-a1p50-f7s1'], tmp_path)
    out, members, truth = tmp_path / 'out', ['--members', runs], tmp_path / 'truth.csv'
    truth.write_text('video_id,time,distance\nst A/IMG_0001.MP4,2,7.5\nst B/IMG_0001.MP4,1,3\n')
    commands = [
        ['estimate', clips, *members, '--out', out, '--workers', '1'],
        ['clip', '--clip', clips / 'st B' / 'IMG_0001.MP4', *members, '--out', tmp_path / 'one'],
        ['report', out],
        ['evaluate', out, '--truth', truth],
        ['label', clips, '--estimates', out, '--out', tmp_path / 'labels.csv', '--who', 'ama'],
    ]
    lines = ['|'.join(map(str, command)) for command in commands]
    environment = {name: value for name, value in os.environ.items() if name != 'EPATH_USE_TF'}
    absent = modules_without_lock()
    assert {'tensorflow', 'tensorflow_datasets', 'keras'} <= set(absent) and 'jax' not in absent
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, ' '.join(absent), *lines],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    # 3: a clip is damaged.
    assert done.stdout.splitlines()[-1] == 'codes [3, 0, 0, 0, 0] loaded []', done.stdout + done.stderr
    assert read(out)['distance'].astype(float).ge(0).sum() == 12 and (out / 'report.html').exists()
    assert (tmp_path / 'labels.csv').exists()
    assert read(tmp_path / 'one')['distance'].astype(float).ge(0).sum() == 4 and (out / 'evaluation.json').exists()
