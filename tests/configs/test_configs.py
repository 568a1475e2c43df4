"""Every config is loaded and built; the IDs are the published ones; typos are refused with the nearest name."""

import functools

import jax
import jax.numpy as jnp
import pytest

from chimp_jax.models.distance_model import DistanceModel
from configs import base, deep_chimpact, laptop, recipes, student


@functools.cache  # equal models are traced once
def n_parameters(model: DistanceModel) -> int:
    frames, window = jnp.zeros((1, 1, 64, 64, 3), jnp.uint8), jnp.zeros((1, 1, 1), jnp.int32)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), frames=frames, window=window))
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize(
    'module,recipe',
    [
        (base, 'full-a4p50-f9s2'),
        *((deep_chimpact, r) for r in recipes.PUBLISHED),
    ],
)
def test_every_config_builds_the_published_model(module, recipe):
    assert n_parameters(DistanceModel(**module.get_config(recipe).model)) == 13_798_645


def test_the_laptops_config_differs_from_the_published_model_in_the_backbone():
    """The paper's EfficientNet-Lite0 has 4,652,008 parameters, 1,281,000 of them in its classifier of 1,000 classes."""
    model = DistanceModel(**laptop.get_config('down-a1p50-f7s1').model)
    inputs = {'frames': jnp.zeros((1, 7, 32, 32, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 7), jnp.int32)}
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs))
    count = {name: sum(leaf.size for leaf in jax.tree.leaves(tree)) for name, tree in variables.items()}
    of_head = 4 * 1024 * (1280 + 1024 + 1) + 300 * (1024 + 1) + 301  # LSTM, dense layer, output
    assert count['params'] == 4_652_008 - 1_281_000 + of_head


def test_lite0_is_the_other_backbone():
    config = deep_chimpact.get_config()
    assert config.model.backbone == 'efficientnet_b0'
    config.model.backbone = 'efficientnet_lite0'
    # 3,413,024 of Lite0 without top, the rest as published
    assert n_parameters(DistanceModel(**config.model)) == 3_413_024 + 9_441_280 + 307_500 + 301


def test_the_published_recipe_field_by_field():
    config = deep_chimpact.get_config('full-a4p50-f7s1')
    data, train, plateau = config.data, config.train, config.train.plateau
    assert (data.stream, data.augmentation, data.augmentation_probability) == ('full', 'a4', 0.5)
    assert (data.n_frames, data.step_s, data.size_px, data.n_folds, data.folds) == (
        7,
        1,
        512,
        5,
        'clip',
    )
    assert (data.windows_per_example, data.frames_per_example) == (1, 0)
    assert (train.batch_size, train.epochs, train.learning_rate) == (96, 40, 1e-3)
    assert (train.adam_b1, train.adam_b2, train.adam_eps) == (0.9, 0.999, 1e-7)
    assert (train.warmup_steps, train.decay_fraction) == (0, 0.0)
    assert (train.micro_batches, train.early_stop_epochs, data.shares) == (1, 0, 1)
    assert (plateau.factor, plateau.patience, plateau.min_delta, plateau.min_lr) == (
        0.5,
        3,
        1e-4,
        1e-8,
    )
    assert (config.model.bn_momentum, config.model.drop_connect, config.model.normalization) == (
        0.9801,
        0.2,
        'unit',
    )
    assert (config.start.output_bias, config.model.dtype) == ('zero', 'float32')


def test_ids_by_hand():
    assert len(set(recipes.PUBLISHED)) == 12
    assert recipes.parse_recipe('down-a2p80-f9s2') == {
        'stream': 'down',
        'augmentation': 'a2',
        'augmentation_probability': 0.8,
        'n_frames': 9,
        'step_s': 2,
    }


@pytest.mark.parametrize(
    'recipe',
    ['', 'full', 'full-a3p50-f7s1', 'full-a4p50-f8s1', 'Full-a4p50-f7s1', 'full-a4p50-f7s1 '],
)
def test_a_malformed_id_is_refused_with_the_grammar(recipe):
    with pytest.raises(ValueError, match=r'\(down\|full\)-\(a1\|a2\|a4\)'):
        deep_chimpact.get_config(recipe)


def test_overrides_follow_the_types_and_names_of_the_config():
    config = deep_chimpact.get_config()
    with pytest.raises(AttributeError, match='batch_size'):
        config.train.batchsize = 32
    with pytest.raises(TypeError):
        config.train.batch_size = 'many'


def test_a_student_shares_the_frames_of_four_seconds():
    data = student.get_config('full-a4p50-f9s2').data
    # 9 frames, 2 s apart, reach 8 s to each side of 4 seconds in a row: 8 + 4 + 8 distinct seconds.
    assert (data.windows_per_example, data.frames_per_example, data.folds) == (4, 20, 'site')
    with pytest.raises(ValueError, match='name a model ID in place of all'):
        student.get_config('all')
