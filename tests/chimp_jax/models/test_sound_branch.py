"""The sound in the model: which weights it has, clips without sound, and the same distance on all paths."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small

from chimp_jax.models import distance_model, pretrained
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.onnx_files import export
from chimp_jax.models.sound import _with_sound, check_audio

WINDOW = np.array([[[0, 1, 2], [1, 2, 3]], [[0, 0, 1], [3, 3, 3]]], np.int32)  # [B = 2, K = 2, T = 3]


def shapes(audio: str):
    model = DistanceModel(audio=audio)
    return jax.eval_shape(lambda: distance_model.fresh_variables(model, 0))['params']


@functools.cache
def applied(model, method=None):
    """model.apply, compiled: one by one, its operations take far longer to compile."""
    return jax.jit(functools.partial(model.apply, method=method))


def count(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_published_model_has_no_part_for_sound():
    params = shapes('')
    assert set(params) == {'encoder', 'lstm', 'dense', 'output'}
    assert count(params) + 42_016 == 13_798_645  # the rest are the running averages of batch norm


def test_the_parameters_of_both_forms():
    b0 = count(shapes('')['encoder'])
    alone, both = shapes('alone'), shapes('with_frames')
    assert set(alone) == {'sound_encoder', 'dense', 'output'}
    assert count(alone) == b0 + 1280 + 300 * (1280 + 1) + 301
    assert set(both) == {'encoder', 'lstm', 'sound_encoder', 'dense', 'output'}
    assert both['dense']['kernel'].shape == (1024 + 1280, 300)


def given(seed: int = 0):
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
    return frames, random.integers(1, 256, (2, 4, 50, 64)).astype(np.uint8)


def with_weights(audio: str):
    model = small.model(audio=audio)
    variables = distance_model.fresh_variables(model, 1)
    unheard = np.random.default_rng(3).normal(size=1280).astype(np.float32)
    variables['params']['sound_encoder']['unheard'] = jnp.asarray(unheard)
    return model, variables


@pytest.mark.parametrize('audio', ['alone', 'with_frames'])
def test_examples_and_single_windows_have_the_same_distances(audio):
    model, variables = with_weights(audio)
    frames, sound = given()
    found = applied(model)(variables, frames=frames if audio != 'alone' else None, window=WINDOW, sound=sound)
    for b in range(2):
        for k in range(2):
            rows = np.concatenate(list(sound[b, WINDOW[b, k]]))[None]  # 150 rows, one second after the other
            assert rows.shape == (1, 150, 64)
            heard = applied(model, 'hear')(variables, rows=rows)
            windows = None
            if audio != 'alone':
                features = applied(model, 'encode')(variables, frames=frames[b : b + 1])
                windows = features[:, WINDOW[b, k]]
            alone = applied(model, 'distance')(variables, windows=windows, heard=heard)
            np.testing.assert_allclose(found[b, k], alone[0], rtol=1e-4, atol=1e-5)
    assert len(np.unique(np.asarray(found).round(5))) == 4


def test_a_clip_without_sound_gives_the_learnt_constant_through_the_head():
    model, variables = with_weights('alone')
    params = variables['params']
    rows = np.zeros((1, 150, 64), np.uint8)
    heard = applied(model, 'hear')(variables, rows=rows)
    np.testing.assert_array_equal(heard[0], params['sound_encoder']['unheard'])
    hidden = np.maximum(heard[0] @ params['dense']['kernel'] + params['dense']['bias'], 0)
    expected = hidden @ params['output']['kernel'] + params['output']['bias']
    found = applied(model)(
        variables, frames=None, window=np.zeros((1, 1, 3), int), sound=np.zeros((1, 4, 50, 64), np.uint8)
    )
    np.testing.assert_allclose(found[0, 0], expected[0], rtol=1e-5)


def test_the_constant_learns_from_clips_without_sound_alone():
    model, variables = with_weights('alone')
    _, sound = given()

    def total(params, sound):
        everything = variables | {'params': params}
        return model.apply(everything, frames=None, window=WINDOW, sound=sound).sum()

    gradient = jax.jit(jax.grad(total))

    def learns(sound):
        return bool(np.any(gradient(variables['params'], sound)['sound_encoder']['unheard']))

    assert not learns(sound)
    sound[1] = 0
    assert learns(sound)


def test_batch_statistics_do_not_see_clips_without_sound():
    model, variables = with_weights('alone')
    rows = given()[1].reshape(2, 200, 64)

    @jax.jit
    def statistics(rows):
        _, updated = model.apply(
            variables,
            rows=rows,
            train=True,
            method='hear',
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(0)},
        )
        return updated['batch_stats']

    silent = np.concatenate([rows, np.zeros((2, 200, 64), np.uint8)])
    twice = np.concatenate([rows, rows])
    for a, b in zip(jax.tree.leaves(statistics(silent)), jax.tree.leaves(statistics(twice)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_places_without_sound_take_turns_by_hand():
    taken = _with_sound(jnp.array([False, True, False, True, False]))
    assert taken.tolist() == [1, 1, 1, 3, 1]
    assert _with_sound(jnp.zeros(3, bool)).tolist() == [0, 0, 0]


def test_what_does_not_fit_is_refused():
    for audio in ('', 'alone', 'with_frames'):
        check_audio(audio, regions=False, frozen='')
    with pytest.raises(ValueError, match="^model.audio is '', 'alone' or 'with_frames', not 'loud'$"):
        check_audio('loud', regions=False, frozen='')
    with pytest.raises(ValueError, match='model.regions=True gives each animal'):
        check_audio('alone', regions=True, frozen='')
    with pytest.raises(ValueError, match="set --config.train.frozen=''$"):
        check_audio('with_frames', regions=False, frozen='backbone')
    with pytest.raises(ValueError, match="only members that see frames alone can be exported; this one has .*'alone'"):
        export.export(small.model(audio='alone'), {}, 32, 7, {})


@pytest.mark.parametrize('audio', ['alone', 'with_frames'])
def test_starting_weights_of_a_backbone_fill_both(audio):
    _, variables = with_weights(audio)
    names = pretrained._flatten(distance_model.fresh_variables(small.model(), 0))
    random = np.random.default_rng(4)
    arrays = {name: random.random(x.shape).astype(np.float32) for name, x in names.items() if '/encoder/' in name}
    flat = pretrained._flatten(pretrained.fill(variables, arrays, 'a backbone'))
    for name, array in arrays.items():
        np.testing.assert_array_equal(flat[name.replace('/encoder/', '/sound_encoder/')], array)
        if audio == 'with_frames':
            np.testing.assert_array_equal(flat[name], array)
    assert flat.keys() == pretrained._flatten(variables).keys()
