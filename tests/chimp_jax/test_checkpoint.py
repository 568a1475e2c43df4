"""Checkpoints: which are kept, and what happens to damaged ones."""

import logging
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small

from chimp_jax import checkpoint, optim, steps

EPOCHS = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: 2.0}  # epoch: validation MAE; the best is the second
ITEMS = ('weights', 'rest', 'history', 'digests')


@pytest.fixture(scope='module')
def like():
    plateau = optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8)
    state = steps.initial_state(small.model(), optim.make_optimizer(0.9, 0.999, 1e-7), plateau, seed=0)
    return jax.device_get(state)


def state_of(like, epoch):
    return jax.tree.map(lambda x: (x + epoch).astype(x.dtype), like)


def history_of(epoch):
    return [{'epoch': e, 'val_mae': EPOCHS[e]} for e in range(1, epoch + 1)]


def write(folder, like, n_epochs=5):
    manager = checkpoint.open_manager(folder)
    for epoch in range(1, n_epochs + 1):
        checkpoint.save(manager, state_of(like, epoch), history_of(epoch))
    manager.close()


def resume(folder, like):
    manager = checkpoint.open_manager(folder)
    found = checkpoint.restore(manager, like)
    left = sorted(manager.all_steps())
    manager.close()
    return found, left


def assert_is(found, like, epoch):
    assert found[1] == history_of(epoch)
    jax.tree.map(np.testing.assert_array_equal, found[0], state_of(like, epoch))


def truncate(folder):
    files = [path for path in folder.rglob('*') if path.is_file() and path.stat().st_size]
    assert files
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_the_best_and_the_latest_two_are_kept(tmp_path, like):
    write(tmp_path, like)
    found, kept = resume(tmp_path, like)
    assert kept == [2, 4, 5]
    assert_is(found, like, 5)
    weights = checkpoint.restore_weights(tmp_path, 2)
    jax.tree.map(np.testing.assert_array_equal, weights['params'], state_of(like, 2).params)


@pytest.mark.parametrize('item', ITEMS)
def test_a_truncated_checkpoint_is_skipped_for_the_one_before_it(tmp_path, like, item, caplog):
    write(tmp_path, like)
    truncate(tmp_path / '5' / item)
    with caplog.at_level(logging.WARNING, 'chimp_jax'):
        found, left = resume(tmp_path, like)
    assert left == [2, 4] and (tmp_path / 'damaged_5').exists()
    assert_is(found, like, 4)
    (message,) = (record.getMessage() for record in caplog.records if record.name == 'chimp_jax.checkpoint')
    assert str(tmp_path / '5') in message and 'damaged' in message and '\n' not in message
    # Training goes on over it, and is whole again.
    manager = checkpoint.open_manager(tmp_path)
    checkpoint.save(manager, state_of(like, 5), history_of(5))
    manager.close()
    assert_is(resume(tmp_path, like)[0], like, 5)


def test_a_lost_item_is_damage_too(tmp_path, like):
    write(tmp_path, like)
    for path in (tmp_path / '5' / 'rest').rglob('*'):
        if path.is_file():
            path.unlink()
    assert_is(resume(tmp_path, like)[0], like, 4)


def test_arrays_that_are_not_those_that_were_written_are_noticed(tmp_path, like):
    """The array files of epoch 4 in the place of epoch 5's: every file by itself is sound."""
    write(tmp_path, like)
    (tmp_path / '5' / 'weights').rename(tmp_path / 'away')
    (tmp_path / '4' / 'weights').rename(tmp_path / '5' / 'weights')
    (tmp_path / 'away').rename(tmp_path / '4' / 'weights')
    with pytest.raises(ValueError, match='5 is damaged .*the arrays of weights are not those that were written'):
        checkpoint.restore_weights(tmp_path, 5)
    found, left = resume(tmp_path, like)
    assert left == [2]
    assert_is(found, like, 2)


def test_without_its_best_epoch_a_checkpoint_is_of_no_use(tmp_path, like):
    """Its history says that the best is epoch 2: the member could end with weights that cannot be read."""
    write(tmp_path, like)
    truncate(tmp_path / '2')
    assert resume(tmp_path, like) == (None, [])


def test_what_a_killed_run_left_half_written_is_removed_before_the_next_one_is_written(tmp_path, like):
    write(tmp_path, like, 2)
    half = tmp_path / '2.orbax-checkpoint-tmp'
    (tmp_path / '2').rename(half)
    manager = checkpoint.open_manager(tmp_path)
    assert_is(checkpoint.restore(manager, like), like, 1)
    checkpoint.save(manager, state_of(like, 2), history_of(2))  # orbax removes in the background, and waits here
    manager.close()
    assert not half.exists()
    assert_is(resume(tmp_path, like)[0], like, 2)


def garble(path):
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))


def fail(error):
    def raises(*_, **__):
        raise error

    return raises


@pytest.mark.parametrize(
    'damage',
    [
        lambda folder: shutil.rmtree(folder / 'digests'),
        lambda folder: (folder / 'weights' / 'manifest.ocdbt').unlink(),
        lambda folder: (folder / 'history' / 'metadata').write_text('[]'),
        lambda folder: (folder / 'digests' / 'metadata').write_text('{"weights": "0"}'),
        lambda folder: [garble(path) for path in (folder / 'rest' / 'd').iterdir()],
        lambda folder: garble(folder / 'weights' / '_METADATA'),
    ],
)
def test_every_kind_of_damage_is_set_aside(tmp_path, like, damage):
    write(tmp_path, like, 2)
    damage(tmp_path / '2')
    found, left = resume(tmp_path, like)
    assert left == [1] and (tmp_path / 'damaged_2').exists()
    assert_is(found, like, 1)


@pytest.mark.parametrize(
    'error',
    [
        TimeoutError('the storage does not answer'),
        PermissionError(13, 'Permission denied'),
        ConnectionResetError('reset by peer'),
        ValueError('UNAVAILABLE: CURL error: could not resolve host\nsecond line'),
        MemoryError('too large'),
        RuntimeError('a client of the storage'),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize('item', ['weights', 'digests'])
def test_what_may_pass_sets_no_checkpoint_aside(tmp_path, like, monkeypatch, error, item):
    write(tmp_path, like, 1)
    reader = ocp.Checkpointer if item == 'weights' else ocp.JsonCheckpointHandler
    whole = reader.restore

    def restore(self, directory, *arguments, **settings):
        if directory.name == item:
            raise error
        return whole(self, directory, *arguments, **settings)

    with monkeypatch.context() as broken:
        broken.setattr(reader, 'restore', restore)
        for read in (lambda: resume(tmp_path, like), lambda: checkpoint.restore_weights(tmp_path, 1)):
            with pytest.raises(OSError) as raised:
                read()
            message = str(raised.value)
            assert message.startswith(f'the checkpoint {tmp_path}/1 cannot be read ({type(error).__name__}: ')
            assert message.endswith('run the command again') and '\n' not in message
    found, left = resume(tmp_path, like)  # the storage answers again
    assert left == [1]
    assert_is(found, like, 1)


def test_a_description_that_cannot_be_read_is_no_damage(tmp_path, like, monkeypatch):
    """Orbax logs an error of the storage and returns no description, as it does for a damaged one."""
    write(tmp_path, like, 1)
    monkeypatch.setattr(type(tmp_path), 'read_bytes', fail(TimeoutError('the storage does not answer')))
    monkeypatch.setattr(type(checkpoint._absolute(tmp_path)), 'read_bytes', fail(TimeoutError('no answer')))
    with pytest.raises(OSError, match='cannot be read .TimeoutError'):
        checkpoint.restore_weights(tmp_path, 1)
