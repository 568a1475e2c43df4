"""YOLOX-tiny for one class, as a Flax Linen module (Ge et al. 2021, arXiv:2107.08430).

CSPDarknet with depth 0.33 and width 0.375, a pyramid that joins the maps at strides 8, 16 and 32 downwards and upwards,
and a head with separate branches for the class and for the box. The modules carry the names of the original, so that
its weights fit by name. Batch norms are folded into the kernels and biases (detector_weights.py).
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from chimp_jax.ops.activation import swish
from chimp_jax.ops.convolution import convolve, has_tiles, transform_kernel

STRIDES = (8, 16, 32)
_WIDTHS = (24, 48, 96, 192, 384)  # channels at strides 2 to 32
_HEAD_WIDTH = 96
TRANSFORMED = 'transformed'  # the collection of kernels in the form that is fast on a CPU, if given


class Convolution(nn.Module):
    """Convolution, bias and activation: [B, H, W, C] -> [B, H / stride, W / stride, features].

    Uses the kernel in the collection TRANSFORMED if the collection is given (`transformed_kernels`).
    """

    features: int
    size: int = 1
    stride: int = 1
    activation: Callable[[jax.Array], jax.Array] = swish

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param('kernel', nn.initializers.he_normal(), shape, jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (self.features,), jnp.float32)
        transformed = None
        if has_tiles(shape, self.stride) and (self.scope.has_variable(TRANSFORMED, 'kernel') or self._transforms()):
            transformed = self.variable(TRANSFORMED, 'kernel', transform_kernel, kernel).value
        return self.activation(convolve(x, kernel, self.stride, transformed) + bias)

    def _transforms(self) -> bool:
        return self.is_mutable_collection(TRANSFORMED) and not self.is_initializing()


class Bottleneck(nn.Module):
    """A 1x1 and a 3x3 convolution. Adds its input if `shortcut`."""

    shortcut: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        y = Convolution(channels, name='conv1')(x=x)
        y = Convolution(channels, size=3, name='conv2')(x=y)
        return x + y if self.shortcut else y


class CspLayer(nn.Module):
    """Half of the channels pass through bottlenecks, the other half pass by: [B, H, W, C] -> [B, H, W, features]."""

    features: int
    repeats: int = 1
    shortcut: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        through = Convolution(self.features // 2, name='conv1')(x=x)
        past = Convolution(self.features // 2, name='conv2')(x=x)
        for number in range(self.repeats):
            through = Bottleneck(self.shortcut, name=f'm_{number}')(x=through)
        return Convolution(self.features, name='conv3')(x=jnp.concatenate([through, past], -1))


class PooledPyramid(nn.Module):
    """Concatenates the maxima over 5, 9 and 13 pixels: [B, H, W, C] -> [B, H, W, C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        pooled = [Convolution(channels // 2, name='conv1')(x=x)]
        for _ in range(3):  # the maximum over 5 of maxima over 5 is the maximum over 9
            pooled.append(max_of_five(pooled[-1]))
        return Convolution(channels, name='conv2')(x=jnp.concatenate(pooled, -1))


class Darknet(nn.Module):
    """Encodes pictures [B, H, W, 3] -> maps at strides 8, 16 and 32 with 96, 192 and 384 channels."""

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        x = Convolution(_WIDTHS[0], size=3, name='stem_conv')(x=focus(x))
        maps = []
        for stage, repeats in ((2, 1), (3, 3), (4, 3), (5, 1)):
            width, is_last = _WIDTHS[stage - 1], stage == 5
            x = Convolution(width, size=3, stride=2, name=f'dark{stage}_0')(x=x)
            if is_last:
                x = PooledPyramid(name='dark5_1')(x=x)
            x = CspLayer(width, repeats, shortcut=not is_last, name=f'dark{stage}_{2 if is_last else 1}')(x=x)
            maps.append(x)
        return maps[1:]


class Pyramid(nn.Module):
    """Encodes pictures [B, H, W, 3] -> maps at strides 8, 16 and 32 that know of each other."""

    @nn.compact
    def __call__(self, x: jax.Array) -> list[jax.Array]:
        *_, narrow, middle, wide = _WIDTHS
        fine, medium, coarse = Darknet(name='backbone')(x=x)
        from_coarse = Convolution(middle, name='lateral_conv0')(x=coarse)
        medium = CspLayer(middle, name='C3_p4')(x=jnp.concatenate([twice(from_coarse), medium], -1))
        from_medium = Convolution(narrow, name='reduce_conv1')(x=medium)
        fine = CspLayer(narrow, name='C3_p3')(x=jnp.concatenate([twice(from_medium), fine], -1))
        down = Convolution(narrow, size=3, stride=2, name='bu_conv2')(x=fine)
        medium = CspLayer(middle, name='C3_n3')(x=jnp.concatenate([down, from_medium], -1))
        down = Convolution(middle, size=3, stride=2, name='bu_conv1')(x=medium)
        return [fine, medium, CspLayer(wide, name='C3_n4')(x=jnp.concatenate([down, from_coarse], -1))]


class Head(nn.Module):
    """Predicts for each cell of each map -> [B, cells, 6]: offsets x, y, log width, log height, object, class."""

    @nn.compact
    def __call__(self, maps: Sequence[jax.Array]) -> jax.Array:
        cells = []
        for level, x in enumerate(maps):
            x = Convolution(_HEAD_WIDTH, name=f'stems_{level}')(x=x)
            branches = {}
            for branch in ('cls', 'reg'):
                y = x
                for number in range(2):
                    y = Convolution(_HEAD_WIDTH, size=3, name=f'{branch}_convs_{level}_{number}')(x=y)
                branches[branch] = y
            outputs = [
                Convolution(features, activation=_identity, name=f'{name}_preds_{level}')(x=branches[branch])
                for name, branch, features in (('reg', 'reg', 4), ('obj', 'reg', 1), ('cls', 'cls', 1))
            ]
            cells.append(jnp.concatenate(outputs, -1).reshape(x.shape[0], -1, 6))
        return jnp.concatenate(cells, 1)


class YoloX(nn.Module):
    """Finds animals: pictures [B, H, W, 3] -> boxes [B, cells, 4], scores [B, cells].

    Pictures are RGB, 0..255; H and W are multiples of 32. A box is x1, y1, x2, y2 in pixels. A score is objectness
    times class probability. First come the cells of stride 8, row by row, then those of 16 and 32.
    """

    @nn.compact
    def __call__(self, pictures: jax.Array) -> tuple[jax.Array, jax.Array]:
        maps = Pyramid(name='backbone')(x=pictures.astype(jnp.float32))
        cells = Head(name='head')(maps=maps)
        corners, strides = grid(*pictures.shape[1:3])
        middle = (cells[..., :2] + corners) * strides
        half = jnp.exp(cells[..., 2:4]) * strides / 2
        score = nn.sigmoid(cells[..., 4]) * nn.sigmoid(cells[..., 5])
        return jnp.concatenate([middle - half, middle + half], -1), score


def transformed_kernels(parameters: dict) -> dict:
    """Returns the kernels of YoloX in the form that is fast on a CPU, to be given as the collection TRANSFORMED.

    Uses 35 MB. Only evaluation is faster.
    """
    picture = jnp.zeros((1, STRIDES[-1], STRIDES[-1], 3), jnp.uint8)

    def used(parameters: dict) -> dict:
        return YoloX().apply({'params': parameters}, picture, mutable=[TRANSFORMED])[1][TRANSFORMED]

    names = flatten_dict(jax.eval_shape(used, parameters))
    kernels = flatten_dict(parameters)
    return unflatten_dict({name: transform_kernel(kernels[name]) for name in names})


def grid(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Returns the column and row of each cell [cells, 2] and its stride in pixels [cells, 1]."""
    corners, strides = [], []
    for stride in STRIDES:
        rows, columns = jnp.meshgrid(jnp.arange(height // stride), jnp.arange(width // stride), indexing='ij')
        corners.append(jnp.stack([columns, rows], -1).reshape(-1, 2))
        strides.append(jnp.full((rows.size, 1), stride))
    return jnp.concatenate(corners).astype(jnp.float32), jnp.concatenate(strides).astype(jnp.float32)


def focus(x: jax.Array) -> jax.Array:
    """Puts each 2 x 2 pixels into the channels, in YOLOX's order: [B, H, W, C] -> [B, H / 2, W / 2, 4 C]."""
    return jnp.concatenate([x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)], -1)


def twice(x: jax.Array) -> jax.Array:
    """Repeats each pixel: [B, H, W, C] -> [B, 2 H, 2 W, C]."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


def max_of_five(x: jax.Array) -> jax.Array:
    """Returns the maximum over the 5 x 5 pixels around each pixel: [B, H, W, C] -> [B, H, W, C]."""
    for axis in (1, 2):
        size = x.shape[axis]
        padded = jnp.pad(x, [(2, 2) if i == axis else (0, 0) for i in range(4)], constant_values=-jnp.inf)
        x = lax.slice_in_dim(padded, 0, size, axis=axis)
        for shift in range(1, 5):
            x = jnp.maximum(x, lax.slice_in_dim(padded, shift, shift + size, axis=axis))
    return x


def _identity(x: jax.Array) -> jax.Array:
    return x
