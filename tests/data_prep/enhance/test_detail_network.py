import hashlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from data_prep.enhance.clip import enlarge
from data_prep.enhance.network import added_luma, double, read_network
from data_prep.enhance.spec import Enhancement


def layers(seed=0):
    rng = np.random.default_rng(seed)
    sizes = [1, 5, 4]
    return tuple(
        (rng.normal(size=(3, 3, a, b)).astype(np.float32) / 5, rng.normal(size=b).astype(np.float32) / 5)
        for a, b in zip(sizes, sizes[1:], strict=False)
    )


def test_the_network_equals_tensorflow():
    luma = np.random.default_rng(1).random((6, 7), np.float32)
    maps = tf.constant(luma[None, ..., None])
    for k, (kernel, bias) in enumerate(layers()):
        # Edges of one pixel repeat: SYMMETRIC padding of width 1.
        maps = tf.pad(maps, [[0, 0], [1, 1], [1, 1], [0, 0]], 'SYMMETRIC')
        maps = tf.nn.conv2d(maps, kernel, 1, 'VALID') + bias
        maps = tf.nn.relu(maps) if k == 0 else maps
    expected = tf.nn.depth_to_space(maps, 2).numpy()[0, ..., 0]
    np.testing.assert_allclose(added_luma(luma, layers()), expected, atol=1e-5)


def test_a_network_of_zeros_is_lanczos(tmp_path):
    zeros = ((np.zeros((3, 3, 1, 4), np.float32), np.zeros(4, np.float32)),)
    picture = np.random.default_rng(2).integers(0, 256, (10, 12, 3), np.uint8)
    lanczos = np.asarray(Image.fromarray(picture).resize((24, 20), Image.Resampling.LANCZOS))
    assert (double(picture, zeros) == lanczos).all()
    grey = ((np.zeros((3, 3, 1, 4), np.float32), np.full(4, 0.1, np.float32)),)  # 25.5 of 255 brighter
    assert (double(np.full((4, 4, 3), 100, np.uint8), grey) == 126).all()  # 125.5 to even


def test_sizes(tmp_path):
    file = tmp_path / 'n.npz'
    np.savez(file, kernel_0=np.zeros((3, 3, 1, 4)), bias_0=np.zeros(4))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    frame = np.zeros((90, 160, 3), np.uint8)
    for network in ('', str(file)):
        enhancement = Enhancement(('upscale',), network=network, network_sha256=digest)
        assert enlarge(frame, enhancement).shape == (360, 640, 3)
        assert enlarge(np.zeros((180, 320, 3), np.uint8), enhancement).shape == (360, 640, 3)
    assert enlarge(frame, Enhancement(('upscale',), to_px=160)) is frame
    assert enlarge(frame, Enhancement(('upscale',), to_px=100)) is frame  # never smaller
    assert enlarge(frame[:1, :1], Enhancement(('upscale',))).shape == (640, 640, 3)
    assert enlarge(np.zeros((1000, 2, 3), np.uint8), Enhancement(('upscale',))).shape == (1280, 3, 3)
    assert enlarge(np.zeros((160, 90, 3), np.uint8), Enhancement(('upscale',))).shape == (1138, 640, 3)
    np.savez(file, kernel_0=np.ones((3, 3, 1, 4)), bias_0=np.zeros(4))
    read_network.cache_clear()
    with pytest.raises(OSError, match='has changed'):
        enlarge(frame, enhancement)
