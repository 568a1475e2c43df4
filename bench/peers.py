"""The peers in the comparisons: Keras on TensorFlow, ONNX Runtime, OpenVINO, each used as its manual advises."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ['TF_ENABLE_ONEDNN_OPTS'] = '1'  # TensorFlow's fast kernels; our own processes do not use them


def frames(n: int, size_px: int) -> np.ndarray:
    """Returns noise [n, size_px, size_px, 3] uint8, the same for all sides."""
    return np.random.default_rng(0).integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


def keras_backbone(size_px: int):
    """Returns EfficientNet-B0 with pooled features for pixels / 255, as published, without Keras' input layers."""
    import keras

    whole = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(size_px, size_px, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(whole.output)
    return keras.Model(whole.get_layer('stem_conv_pad').input, pooled, name='backbone')


def keras_model(size_px: int, n_frames: int):
    """Returns the published model: frames merged with the batch, LSTM, Dense, Dense (Ivanov 2021, section 6)."""
    import keras

    inputs = keras.Input((n_frames, size_px, size_px, 3))
    merged = keras.ops.reshape(inputs, (-1, size_px, size_px, 3))
    features = keras.ops.reshape(keras_backbone(size_px)(merged), (-1, n_frames, 1280))
    hidden = keras.layers.Dense(300, 'relu')(keras.layers.LSTM(1024)(features))
    return keras.Model(inputs, keras.layers.Dense(1)(hidden))


def keras_encode(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: encoding n frames with Keras. options: n, size_px, batch."""
    import tensorflow as tf

    backbone, batch = keras_backbone(options['size_px']), options.get('batch', 8)
    step = tf.function(lambda x: backbone(tf.cast(x, tf.float32) / 255.0, training=False))
    pictures = frames(options['n'], options['size_px'])

    def work() -> None:
        for i in range(0, len(pictures), batch):
            step(pictures[i : i + batch]).numpy()

    return work


def keras_update(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: one update of the model in a compiled step. options: batch, n_frames, size_px."""
    import keras
    import tensorflow as tf

    batch, n_frames, size_px = options['batch'], options['n_frames'], options['size_px']
    model = keras_model(size_px, n_frames)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    distance = tf.constant(np.linspace(1, 10, batch, dtype=np.float32)[:, None])
    pictures = frames(batch * n_frames, size_px).reshape(batch, n_frames, size_px, size_px, 3)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(model(tf.cast(x, tf.float32) / 255.0, training=True) - distance))
        optimizer.apply_gradients(
            zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        )
        return loss

    return lambda: float(step(pictures)) and None


def onnx_encode(options: dict[str, Any]) -> Callable[[], None]:
    """Returns the work: encoding by ONNX Runtime with default threads. options: n, size_px, path (ONNX), batch."""
    import onnxruntime

    session = onnxruntime.InferenceSession(options['path'], providers=['CPUExecutionProvider'])
    pictures, batch = frames(options['n'], options['size_px']), options.get('batch', 1)

    def work() -> None:
        for i in range(0, len(pictures), batch):
            session.run(None, {'frames': pictures[i : i + batch]})

    return work


def openvino_encode(options: dict[str, Any]) -> Callable[[], dict]:
    """Returns the work: encoding n frames by OpenVINO, with the number of parallel requests that OpenVINO advises.

    options: n, size_px, path (an ONNX file, or 'keras' for Keras' model converted by OpenVINO), precision ('f32' or
    'bf16'). The work returns the largest error of the features against float32, relative to the largest feature.
    """
    import openvino

    core, pictures = openvino.Core(), frames(options['n'], options['size_px'])
    if options['path'] == 'keras':
        model = _keras_in_openvino(options['size_px'])
    else:
        model = core.read_model(options['path'])

    def engine(precision: str):
        settings = {'INFERENCE_PRECISION_HINT': precision, 'PERFORMANCE_HINT': 'THROUGHPUT'}
        return core.compile_model(model, 'CPU', settings)

    compiled = engine(options['precision'])
    queue = openvino.AsyncInferQueue(compiled)
    features: dict[int, np.ndarray] = {}
    queue.set_callback(lambda request, i: features.update({i: request.get_output_tensor(0).data.copy()}))

    def work() -> dict:
        for i in range(len(pictures)):
            queue.start_async({0: pictures[i : i + 1]}, i)
        queue.wait_all()
        return note

    exact = next(iter(engine('f32')({0: pictures[:1]}).values()))
    note: dict[str, Any] = {}
    work()
    note['error'] = float(np.abs(features[0] - exact).max() / np.abs(exact).max())
    return work


def _keras_in_openvino(size_px: int):
    import openvino
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    backbone = keras_backbone(size_px)
    step = tf.function(lambda x: backbone(tf.cast(x, tf.float32) / 255.0, training=False))
    concrete = step.get_concrete_function(tf.TensorSpec((None, size_px, size_px, 3), tf.uint8))
    with tempfile.TemporaryDirectory() as folder:
        graph = convert_variables_to_constants_v2(concrete).graph.as_graph_def()
        tf.io.write_graph(graph, folder, 'backbone.pb', as_text=False)
        return openvino.convert_model(f'{folder}/backbone.pb')
