"""chimp-train takes a model ID without a file, because an installation has no configs/ folder to name."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    """Runs the console script's function outside the checkout's folder."""
    module = 'chimp_jax.commands.training.chimp_train'
    start = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}; {module}.start()'
    return subprocess.run([sys.executable, '-c', start, *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize('given', (['--config=full-a4p50-f7s1'], ['--config', 'down-a1p50-f9s2']))
def test_a_model_id_alone_takes_overrides(given, tmp_path):
    done = run(*given, '--workdir=runs', '--config.data.records=nowhere', '--compile_cache=off', cwd=tmp_path)
    stream = given[-1].removeprefix('--config=')[:4]
    assert done.returncode == 1
    assert f'nowhere/chimp_records/{stream}/' in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize(
    'given,told',
    (
        (
            ['--config=full-a4p50-f7s1', '--config.train.batchsize=32'],
            "no field 'batchsize'; did you mean 'batch_size'?",
        ),
        (['--config=full-a4p50-f7s1', '--config.train.lr=1'], "no field 'lr'; the fields there are adam_b1"),
        (['--config=full-a4p50-f7s1', '--config.trains.lr=1'], 'train'),
        (['--config=ful-a4p50-f7s1'], "'ful-a4p50-f7s1' is not a model ID"),
        ([], 'for example --config=full-a4p50-f7s1'),
    ),
)
def test_a_mistake_is_one_line(given, told, tmp_path):
    done = run(*given, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and told in done.stderr


def test_help_lists_the_flags(tmp_path):
    told = run('--help', cwd=tmp_path).stdout
    assert all(f'--{flag}' in told for flag in ('config', 'workdir', 'recipes', 'folds', 'compile_cache'))
