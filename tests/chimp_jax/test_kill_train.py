"""kill -9 while a checkpoint is written, in a process of its own; bench/kill_train.py does it at more moments."""

import jax
import pytest
import small

from bench import kill_train
from chimp_jax import train, trainer


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bits(tmp_path, monkeypatch):
    data, whole, killed = tmp_path / 'data', tmp_path / 'whole', tmp_path / 'killed'
    small.write_data(data)
    for number in (2, 1):  # in the run's second checkpoint, then in its first: both are of epoch 2
        process = kill_train.start(data, killed, 3, (1,))
        assert kill_train.kill_in_checkpoint(process, killed, number, delay_s=0), killed.with_suffix('.log').read_text()
        assert not list(killed.glob('*/fold_*/member.json'))
    kill_train.finish(kill_train.start(data, killed, 3, (1,)), killed)
    monkeypatch.setattr(trainer, 'DistanceModel', small.model)
    train.train_recipe(small.config(data), whole, [1])
    assert kill_train.differences(whole, killed) == []


def test_differences_are_found(tmp_path):
    """Of the comparison itself: another byte in a file, and another number in an array."""
    import orbax.checkpoint as ocp

    for name, bias in (('a', 1.0), ('b', 1.0), ('c', 2.0)):
        folder = tmp_path / name / 'recipe' / 'fold_0'
        with ocp.StandardCheckpointer() as checkpointer:
            for item in ('weights', 'rest'):
                checkpointer.save(folder / 'checkpoints' / '1' / item, {'bias': jax.numpy.full(3, bias)})
        for file in ('metrics.csv', 'oof.csv', 'member.json'):
            (folder / file).write_text('other' if (name, file) == ('c', 'oof.csv') else 'same')
    assert kill_train.differences(tmp_path / 'a', tmp_path / 'b') == []
    array = "recipe/fold_0/checkpoints/1/{}['bias']"
    expected = ['oof.csv', array.format('rest'), array.format('weights')]
    assert kill_train.differences(tmp_path / 'a', tmp_path / 'c') == expected
