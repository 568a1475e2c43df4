"""The network of --enhance: pairs, training, and the same network in data_prep."""

import jax
import numpy as np
import pytest
from make_clips import write_clip
from PIL import Image

from chimp_jax.enhance import __main__ as command
from chimp_jax.enhance.pairs import Pairs, cut_pairs, large_pictures, make_pair
from chimp_jax.enhance.training import DetailNetwork, layers_of, to_file, train_network
from data_prep.enhance.network import added_luma
from data_prep.enhance.spec import parse_enhancement


def textured(height=64, width=640, seed=0):
    """Returns a picture of sharp edges: stripes and squares of many widths."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 2, (height // 4, width // 4)).repeat(4, 0).repeat(4, 1)
    return Image.fromarray(np.repeat((60 + 120 * coarse).astype(np.uint8)[..., None], 3, axis=2))


def test_data_prep_applies_the_network_that_was_trained(tmp_path):
    network = DetailNetwork(widths=(3, 2))
    params = network.init(jax.random.key(0), np.zeros((1, 4, 4), np.float32))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32) / 4, params
    )  # the last layer starts at 0
    luma = rng.random((5, 8), np.float32)
    expected = jax.jit(network.apply)(params, luma[None])[0]
    np.testing.assert_allclose(added_luma(luma, layers_of(params)), expected, atol=1e-5)
    (tmp_path / 'n.npz').write_bytes(to_file(params))
    assert parse_enhancement(f'network={tmp_path}/n.npz').steps == ('upscale',)


def test_a_pair_is_one_picture_in_two_sizes():
    small, enlarged, large = make_pair(textured(), np.random.default_rng(0))
    assert small.shape == (32, 320) and enlarged.shape == large.shape == (64, 640)
    # Each small pixel is the mean of four, up to the compression.
    means = large.reshape(32, 2, 320, 2).mean((1, 3))
    assert np.abs(small - means).mean() < 0.05
    pairs = cut_pairs([textured(), textured(seed=1)], 3, np.random.default_rng(0))
    assert pairs.small.shape == (6, 32, 32) and pairs.large.shape == (6, 64, 64)
    # Turned and mirrored alike: the large square still is the small one.
    assert np.abs(pairs.small - pairs.large.reshape(6, 32, 2, 32, 2).mean((2, 4))).mean() < 0.05


def test_training_learns_what_lanczos_lacks():
    """Where the lack is a tenth of the small picture's luma, the network learns to add it."""
    rng = np.random.default_rng(0)
    small = rng.random((32, 8, 8), np.float32)
    enlarged = small.repeat(2, 1).repeat(2, 2)
    pairs = Pairs(small, enlarged, 1.1 * enlarged)
    losses = []
    train_network(lambda _: pairs, 150, 0, lambda number, loss: losses.append(loss))
    # The untrained network adds nothing: the first loss is the mean of (0.1 luma) ** 2.
    assert losses[0] == pytest.approx(np.square(0.1 * small).mean(), rel=1e-4)
    assert losses[-1] < 0.1 * losses[0]


def write_large(path, seed):
    picture = np.asarray(textured(seed=seed))
    return write_clip(path, np.repeat(picture[None], 8, axis=0), 4, options={'crf': '10'})


def test_only_large_clips_are_learnt_from(tmp_path, capsys):
    small = write_clip(tmp_path / 'clips/small.mp4', np.zeros((4, 32, 320, 3), np.uint8), 4)
    assert [*large_pictures(str(small))] == []
    low = write_clip(tmp_path / 'low.mp4', np.zeros((4, 62, 640, 3), np.uint8), 4)  # of 64 px squares are cut
    assert [*large_pictures(str(low))] == []
    for k in range(3):
        write_large(tmp_path / f'clips/{k}.mp4', k)
    arguments = ['--clips', str(tmp_path / 'clips'), f'--out={tmp_path}/n.npz', '--updates=3']
    assert command.main(arguments) == 1
    assert '3 clips are at least 640 px wide and readable; give 4 or more' in capsys.readouterr().err
    write_large(tmp_path / 'clips/3.mp4', 3)
    assert command.main(arguments) in (0, 3)
    assert 'PSNR on pictures of held-out clips' in capsys.readouterr().out
    assert parse_enhancement(f'auto,network={tmp_path}/n.npz').network_sha256


@pytest.mark.parametrize(
    ('out', 'message'),
    [('.', 'is a folder; give the name of a file'), ('s3://bucket/n.npz', 'local files and gs://')],
)
def test_a_file_without_a_place_is_refused_before_the_clips_are_read(tmp_path, capsys, monkeypatch, out, message):
    monkeypatch.setattr(command, '_read_pictures', None)
    assert command.main(['--clips', 'clips', '--out', out]) == 1
    assert message in capsys.readouterr().err
