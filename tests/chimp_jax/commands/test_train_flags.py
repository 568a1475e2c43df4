"""chimp-train takes a model ID without a file, because an installation has no configs/ folder to name; its mistakes."""

import forked_train
import pytest

FILE = f'--config={forked_train.ROOT}/configs/deep_chimpact.py:'
TAKEN = [
    ([f'{FILE}full-a4p50-f7s1'], 'full'),
    (['--config=full-a4p50-f7s1'], 'full'),
    (['--config', 'down-a1p50-f9s2'], 'down'),
]
MISTAKES = [
    (['--config=full-a4p50-f7s1', '--config.train.batchsize=32'], "no field 'batchsize'; did you mean 'batch_size'?"),
    (['--config=full-a4p50-f7s1', '--config.train.lr=1'], "no field 'lr'; the fields there are adam_b1"),
    (['--config=full-a4p50-f7s1', '--config.trains.lr=1'], 'train'),
    (['--config', 'down-a1p50-f7s1', '--config.train.learning_rat=1e-3'], 'learning_rate'),
    ([f'{FILE}full-a4p50-f7s1', '--config.train.batchsize=32'], 'batch_size'),
    ([f'--config={forked_train.ROOT}/configs/demo.py:all', '--recipes=half-*'], "'half-*' is not a model ID"),
    ([f'{FILE}full-a4p50-f7'], 'the grammar is'),
    (['--config=full-a4p50-f7'], 'the grammar is'),
    (['--config=ful-a4p50-f7s1'], "'ful-a4p50-f7s1' is not a model ID"),
    ([], 'for example --config=full-a4p50-f7s1'),
]
OVERRIDES = ['--workdir=runs', '--config.data.records=nowhere', '--compile_cache=off']


ALONE = ['--config=full-a4p50-f7s1', '--workdir=runs', '--multihost']


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """All command lines of this file, each in a process of its own."""
    commands = [[*given, *OVERRIDES] for given, _ in TAKEN] + [given for given, _ in MISTAKES] + [ALONE, ['--help']]
    return forked_train.run_all(commands, tmp_path_factory.mktemp('train'))


@pytest.mark.parametrize('number', range(len(TAKEN)))
def test_a_model_id_alone_takes_overrides(done, number):
    given, stream = TAKEN[number]
    assert done[number].returncode == 1, given
    assert f'nowhere/chimp_records/{stream}/' in done[number].stderr.splitlines()[-1]
    assert 'Traceback' not in done[number].stderr


@pytest.mark.parametrize('number', range(len(MISTAKES)))
def test_a_mistake_is_one_line(done, number):
    (given, told), one = MISTAKES[number], done[len(TAKEN) + number]
    assert one.returncode == 1, given
    assert len(one.stderr.splitlines()) == 1 and told in one.stderr


def test_no_processes_to_join_is_one_line(done):
    last = done[-2].stderr.strip().splitlines()[-1]
    assert done[-2].returncode == 1 and 'Traceback' not in done[-2].stderr
    assert last.startswith('train.py: --multihost finds no processes to join (') and 'JAX_COORDINATOR_ADDRESS' in last


def test_help_lists_the_flags(done):
    assert all(f'--{flag}' in done[-1].stdout for flag in ('config', 'workdir', 'recipes', 'folds', 'compile_cache'))
