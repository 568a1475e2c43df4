"""The model of small.py in Keras, as the original builds its own: TimeDistributed around the backbone, LSTM, Dense.

Written from the description of EfficientNet (published method, section 6). It shares no code with ours.
"""

import keras
import numpy as np
from keras import layers

N_FRAMES, SIZE_PX = 7, 32


def backbone() -> keras.Model:
    """Returns two blocks of EfficientNet-B0 with its layers' names, without expansion: 32 -> 16 -> 16 filters."""
    inputs = keras.Input((SIZE_PX, SIZE_PX, 3))
    x = layers.Conv2D(32, 3, 2, 'same', use_bias=False, name='stem_conv')(inputs)
    x = keras.activations.swish(norm('stem_bn')(x))
    for name, stride, filters_in in (('block1a', 2, 32), ('block1b', 1, 16)):
        before = x
        x = layers.DepthwiseConv2D(3, stride, 'same', use_bias=False, name=f'{name}_dwconv')(x)
        x = keras.activations.swish(norm(f'{name}_bn')(x))
        gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
        gate = layers.Conv2D(filters_in // 4, 1, activation='swish', name=f'{name}_se_reduce')(gate)
        x = x * layers.Conv2D(filters_in, 1, activation='sigmoid', name=f'{name}_se_expand')(gate)
        x = norm(f'{name}_project_bn')(layers.Conv2D(16, 1, use_bias=False, name=f'{name}_project_conv')(x))
        x = x + before if stride == 1 else x
    x = layers.Conv2D(1280, 1, use_bias=False, name='top_conv')(x)
    return keras.Model(inputs, keras.activations.swish(norm('top_bn')(x)), name='efficientnet-b0')


def norm(name: str):
    return layers.BatchNormalization(epsilon=1e-3, name=name)


def whole_model(seed: int = 0, units: int = 8) -> keras.Model:
    """Returns the model with random numbers in all its arrays. units: of the LSTM."""
    keras.utils.clear_session()  # so that layers are named as in a fresh process: lstm, dense, dense_1
    inputs = keras.Input((N_FRAMES, SIZE_PX, SIZE_PX, 3))
    x = layers.TimeDistributed(backbone())(inputs)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.Dense(6, activation='relu')(layers.LSTM(units)(x))
    model = keras.Model(inputs, layers.Dense(1)(x), name='model')
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        # Kernels keep the size of a signal. Otherwise the LSTM saturates and all pictures look the same.
        fan_in = np.prod(weight.shape[:2] if 'depthwise' in weight.path else weight.shape[:-1])
        value = rng.normal(0, 1 / np.sqrt(max(fan_in, 4)), weight.shape)
        weight.assign(np.abs(value) + 0.5 if 'variance' in weight.path or 'gamma' in weight.path else value)
    return model
