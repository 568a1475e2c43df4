"""The published model in Keras, written from its description (section 6): an oracle that shares no code with ours.

A reshape merges the frames with the batch, as TensorFlow 2.4's TimeDistributed did. Keras 3's TimeDistributed runs its
layer once for each step, so its batch norm would see one frame at a time, and would move its running statistics once
for each frame (test_oracle.py shows both).
"""

import keras
import numpy as np
from keras.src.applications import efficientnet  # its function for any blocks is not public

# TensorFlow 2.4's TimeDistributed around a whole model moved the running statistics twice a step. Run with the pins of
# the original, all 98 arrays move by 0.0199 of their distance from the batch (published method, section 6).
MOVED_PER_STEP = 0.0199


def backbone(size_px: int, blocks: list[dict] | None = None) -> keras.Model:
    """Returns EfficientNet-B0 without classifier, input layers (rescaling, normalisation) and drop-connect.

    blocks: other blocks than those of B0, as Keras writes them.
    """
    shape = {'include_top': False, 'weights': None, 'input_shape': (size_px, size_px, 3)}
    if blocks is None:
        whole = keras.applications.EfficientNetB0(**shape)
    else:
        whole = efficientnet.EfficientNet(1.0, 1.0, 224, blocks_args=blocks, name='efficientnetb0', **shape)
    for layer in whole.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return keras.Model(whole.get_layer('stem_conv_pad').input, whole.output, name='efficientnetb0')


def published_model(size_px: int, n_frames: int, blocks: list[dict] | None = None) -> keras.Model:
    """Returns the model from pictures / 255, [B, T, H, W, 3] float, to [B, 1] metres, without drop-connect."""
    inputs = keras.Input((n_frames, size_px, size_px, 3))
    merged = keras.ops.reshape(inputs, (-1, size_px, size_px, 3))
    features = keras.layers.GlobalAveragePooling2D()(backbone(size_px, blocks)(merged))
    features = keras.ops.reshape(features, (-1, n_frames, 1280))
    hidden = keras.layers.LSTM(1024, name='lstm')(features)
    hidden = keras.layers.Dense(300, 'relu', name='dense')(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, name='dense_1')(hidden))


def randomize(model: keras.Model, pictures: np.ndarray, seed: int) -> None:
    """Sets random values for scales, offsets and batch statistics, which start as 1 or 0.

    The batch statistics vary around those of `pictures` [B, T, H, W, 3]. With the initial statistics no picture's
    signal would reach the output; with others, rounding errors would grow a thousandfold.
    """
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        value = variable.numpy()
        if variable.path.endswith('gamma'):
            variable.assign(rng.uniform(0.5, 1.5, value.shape))
        elif variable.path.endswith(('beta', 'bias')):
            variable.assign(value + rng.normal(0, 0.1, value.shape))
    model.get_layer('dense_1').bias.assign([5.5])  # distances of some metres, as from a trained head
    norms = [layer for layer in model.get_layer('efficientnetb0').layers if 'bn' in layer.name]
    for layer in norms:
        layer.momentum = 0.0
    model(pictures, training=True)
    for layer in norms:
        layer.momentum = 1 - MOVED_PER_STEP
        mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
        layer.moving_mean.assign(mean + np.sqrt(variance) * rng.normal(0, 0.05, mean.shape))
        layer.moving_variance.assign(variance * rng.uniform(0.8, 1.25, variance.shape))
