"""Values of a config that cannot be trained are refused with the name of their flag."""

import pytest

from chimp_jax.configs import base
from chimp_jax.training.bounds import check_bounds, check_words


@pytest.mark.parametrize(
    'name, value',
    [
        ('seed', -1),
        ('data.size_px', 0),
        ('data.windows_per_example', 0),
        ('data.shares', 0),
        ('model.lstm_units', 0),
        ('train.batch_size', 0),
        ('train.micro_batches', 0),
        ('train.epochs', 0),
        ('train.learning_rate', float('nan')),
        ('train.learning_rate', -1.0),
        ('train.decay_fraction', 2.0),
        ('train.adam_b1', 2.0),
        ('train.plateau.factor', 9.0),
        ('train.save_minutes', float('nan')),
    ],
)
def test_a_number_out_of_its_bounds(name, value):
    config = base.get_config()
    check_bounds(config)
    config.update_from_flattened_dict({name: value})
    with pytest.raises(ValueError, match=rf'^--config\.{name}={value}: give a number that is'):
        check_bounds(config)


@pytest.mark.parametrize(
    'name, value',
    [
        ('data.stream', 'both'),
        ('data.folds', 'park'),
        ('model.backbone', 'b0'),
        ('model.normalization', 'zero'),
        ('start.output_bias', 'mean'),
        ('start.init', 'nope'),
        ('start.init', 'weights/missing.h5'),
    ],
)
def test_a_text_that_is_no_word_of_its_field(name, value):
    config = base.get_config()
    check_words(config)
    config.update_from_flattened_dict({name: value})
    with pytest.raises(ValueError, match=rf'^--config\.{name}={value}: '):
        check_words(config)


def test_starting_weights_that_may_exist_later_or_for_each_fold():
    for init in ('imagenet', 'runs/full-a4p50-f7s1', 'runs/full-a4p50-f7s1:backbone', 'weights/fold_{fold}.h5'):
        config = base.get_config()
        config.start.init = init
        check_words(config)
