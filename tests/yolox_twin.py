"""YOLOX-tiny in TensorFlow, which reads weights by PyTorch's names and shapes.

The names are those of YOLOX: tests/chimp_jax/models/test_detector.py finds the same names in MegadetectorLite's file.
"""

import numpy as np
import tensorflow as tf


class YoloXTwin:
    """The forward pass, written from the paper and the original's layers. Draws each weight when it is first asked for.

    tensors: {PyTorch's name: array in PyTorch's layout}.
    """

    def __init__(self, seed=0):
        self.tensors, self._rng = {}, np.random.default_rng(seed)

    def __call__(self, pictures):
        x = tf.constant(pictures, tf.float32)
        self.tensor('backbone.backbone.stem.conv.conv.weight', (24, 12, 3, 3), deviation=1e-3)  # for pixels 0..255
        even, odd = x[:, ::2], x[:, 1::2]
        x = tf.concat([even[:, :, ::2], odd[:, :, ::2], even[:, :, 1::2], odd[:, :, 1::2]], -1)
        maps = self.pyramid(self.conv(x, 'backbone.backbone.stem.conv', 24, 3))
        boxes, scores = zip(*(self.head(x, level) for level, x in enumerate(maps)), strict=True)
        return np.concatenate(boxes, 1), np.concatenate(scores, 1)

    def tensor(self, name, shape, mean=0.0, deviation=1.0):
        if name not in self.tensors:
            self.tensors[name] = self._rng.normal(mean, deviation, shape).astype(np.float32)
        return self.tensors[name]

    def plain(self, x, name, filters, size=1, stride=1):
        shape = (filters, x.shape[-1], size, size)
        weights = self.tensor(f'{name}.weight', shape, deviation=np.sqrt(1 / np.prod(shape[1:])))
        side = [size // 2] * 2
        padding = [[0, 0], side, side, [0, 0]]
        return tf.nn.conv2d(x, weights.transpose(2, 3, 1, 0), stride, padding)

    def conv(self, x, name, filters, size=1, stride=1):
        x = self.plain(x, f'{name}.conv', filters, size, stride)
        scale, shift = (
            self.tensor(f'{name}.bn.weight', filters, 1, 0.2),
            self.tensor(f'{name}.bn.bias', filters, 0, 0.2),
        )
        mean = self.tensor(f'{name}.bn.running_mean', filters, 0, 0.2)
        # Small variances show which epsilon is added.
        variance = np.abs(self.tensor(f'{name}.bn.running_var', filters, 1, 0.3)) + 0.01
        self.tensors[f'{name}.bn.running_var'] = variance.astype(np.float32)
        return tf.nn.silu(tf.nn.batch_normalization(x, mean, variance, shift, scale, 1e-3))

    def csp(self, x, name, filters, repeats=1, shortcut=False):
        a, b = (self.conv(x, f'{name}.{conv}', filters // 2) for conv in ('conv1', 'conv2'))
        for number in range(repeats):
            y = self.conv(a, f'{name}.m.{number}.conv1', filters // 2)
            y = self.conv(y, f'{name}.m.{number}.conv2', filters // 2, 3)
            a = a + y if shortcut else y
        return self.conv(tf.concat([a, b], -1), f'{name}.conv3', filters)

    def pyramid(self, x):
        name = 'backbone.backbone.dark'
        x = self.csp(self.conv(x, f'{name}2.0', 48, 3, 2), f'{name}2.1', 48, 1, True)
        c3 = self.csp(self.conv(x, f'{name}3.0', 96, 3, 2), f'{name}3.1', 96, 3, True)
        c4 = self.csp(self.conv(c3, f'{name}4.0', 192, 3, 2), f'{name}4.1', 192, 3, True)
        x = self.conv(self.conv(c4, f'{name}5.0', 384, 3, 2), f'{name}5.1.conv1', 192)
        x = tf.concat([x, *(tf.nn.max_pool2d(x, size, 1, 'SAME') for size in (5, 9, 13))], -1)
        c5 = self.csp(self.conv(x, f'{name}5.1.conv2', 384), f'{name}5.2', 384)
        lateral = self.conv(c5, 'backbone.lateral_conv0', 192)
        p4 = self.csp(tf.concat([upsampled(lateral), c4], -1), 'backbone.C3_p4', 192)
        reduced = self.conv(p4, 'backbone.reduce_conv1', 96)
        p3 = self.csp(tf.concat([upsampled(reduced), c3], -1), 'backbone.C3_p3', 96)
        n4 = tf.concat([self.conv(p3, 'backbone.bu_conv2', 96, 3, 2), reduced], -1)
        n4 = self.csp(n4, 'backbone.C3_n3', 192)
        n5 = tf.concat([self.conv(n4, 'backbone.bu_conv1', 192, 3, 2), lateral], -1)
        return p3, n4, self.csp(n5, 'backbone.C3_n4', 384)

    def head(self, x, level):
        """Returns the boxes and scores of a map, cell by cell in a loop."""
        x = self.conv(x, f'head.stems.{level}', 96)
        towers = {}
        for tower in ('cls', 'reg'):
            y = self.conv(x, f'head.{tower}_convs.{level}.0', 96, 3)
            towers[tower] = self.conv(y, f'head.{tower}_convs.{level}.1', 96, 3)

        def predict(name, tower, filters):
            bias = self.tensor(f'head.{name}_preds.{level}.bias', filters)
            return (self.plain(towers[tower], f'head.{name}_preds.{level}', filters) + bias).numpy()

        reg, obj, cls = predict('reg', 'reg', 4), predict('obj', 'reg', 1), predict('cls', 'cls', 1)
        stride, boxes = 8 * 2**level, []
        for row in range(x.shape[1]):
            for column in range(x.shape[2]):
                dx, dy, log_width, log_height = reg[:, row, column].T
                x_px, y_px = (column + dx) * stride, (row + dy) * stride
                width_px, height_px = np.exp(log_width) * stride, np.exp(log_height) * stride
                corners = [x_px - width_px / 2, y_px - height_px / 2, x_px + width_px / 2, y_px + height_px / 2]
                boxes.append(np.stack(corners, -1))
        sigmoids = 1 / (1 + np.exp(-obj)) / (1 + np.exp(-cls))
        return np.stack(boxes, 1), sigmoids.reshape(len(reg), -1)


def upsampled(x):
    return tf.repeat(tf.repeat(x, 2, 1), 2, 2)
