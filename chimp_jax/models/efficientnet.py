"""EfficientNet-B0 and -Lite0 without the classifier, as a Flax Linen module (Tan and Le 2019, arXiv:1905.11946).

The modules follow B0 of keras.applications: TensorFlow's SAME padding, batch norm with epsilon 1e-3, swish,
squeeze-excite with a quarter of the block's *input* filters, drop-connect that grows with the block's depth. Lite0 is
B0 without squeeze-excite and with ReLU6 instead of swish. A 1x1 convolution is a Dense layer over the channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from chimp_jax.ops.activation import swish
from chimp_jax.ops.depthwise import depthwise_conv
from chimp_jax.ops.normalization import BatchNorm
from chimp_jax.ops.pointwise import gated_dot_general, pointwise_dot_general
from chimp_jax.ops.pooling import picture_mean
from chimp_jax.ops.stem import stem_convolution
from chimp_jax.ops.strips import depthwise_between

FEATURES = 1280
MIDDLE_STRIDE = 16  # of the map that regions are pooled from: half the top map's, so animals far away still cover cells

# Keras' initialiser for the kernels of these convolutions.
conv_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'truncated_normal')
# Keras stores a depthwise kernel as [k, k, C, 1], so k * k is its fan_out. In our layout k * k is the fan_in.
depthwise_init = nn.initializers.variance_scaling(2.0, 'fan_in', 'truncated_normal')


class Stage(NamedTuple):
    """Blocks of one resolution: number, depthwise kernel size, stride of the first, filters in and out, expansion."""

    repeats: int
    kernel: int
    stride: int
    filters_in: int
    filters_out: int
    expand: int


# B0 and Lite0 have the same stages.
STAGES = (
    Stage(1, 3, 1, 32, 16, 1),
    Stage(2, 3, 2, 16, 24, 6),
    Stage(2, 5, 2, 24, 40, 6),
    Stage(3, 3, 2, 40, 80, 6),
    Stage(3, 5, 1, 80, 112, 6),
    Stage(4, 5, 2, 112, 192, 6),
    Stage(1, 3, 1, 192, 320, 6),
)


def _initialiser(module: nn.Module, init: Callable) -> Callable:
    """Returns `init` where weights are made, else zeros, of which Flax takes the shape at each use of a weight.

    To trace the random numbers of `init` for a shape takes a fifth of the time to trace the network.
    """
    return init if module.is_initializing() else nn.initializers.zeros


# A Dense layer over the channels. chimp_jax/ops/pointwise.py explains its form on a TPU.
Conv1x1 = partial(nn.Dense, dot_general=pointwise_dot_general)


class Style(NamedTuple):
    """The differences between B0 and Lite0."""

    activation: Callable[[jax.Array], jax.Array]
    squeeze_excite: bool


BACKBONES = {
    'efficientnet_b0': Style(swish, squeeze_excite=True),
    'efficientnet_lite0': Style(nn.relu6, squeeze_excite=False),
}


class DepthwiseKernel(nn.Module):
    """Holds the weights [k, k, 1, C] of a depthwise convolution."""

    size: int
    channels: int

    @nn.compact
    def __call__(self) -> jax.Array:
        return self.param(
            'kernel', _initialiser(self, depthwise_init), (self.size, self.size, 1, self.channels), jnp.float32
        )


class SqueezeExcite(nn.Module):
    """Computes a gate for each channel from the picture's mean: [B, H, W, C] -> [B, 1, 1, C]."""

    filters: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=_initialiser(self, conv_init))
        squeezed = swish(dense(self.filters, name='reduce')(inputs=picture_mean(x)))
        return nn.sigmoid(dense(x.shape[-1], name='expand')(inputs=squeezed))


class MBConv(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise, squeeze-excite, project 1x1. Adds its input if shapes allow."""

    stage: Stage
    stride: int
    drop_rate: float
    style: Style
    norm: Any
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        filters_in = x.shape[-1]
        activation = self.style.activation
        conv1x1 = partial(Conv1x1, use_bias=False, dtype=self.dtype, kernel_init=_initialiser(self, conv_init))
        channels = filters_in * self.stage.expand
        if self.stage.expand > 1:
            expand, expand_bn = conv1x1(channels, name='expand'), self.norm(name='expand_bn')
        kernel = DepthwiseKernel(size=self.stage.kernel, channels=channels, name='depthwise')().astype(self.dtype)
        depthwise_bn = self.norm(name='depthwise_bn')

        def before(x):
            if self.stage.expand == 1:
                return x.astype(self.dtype)
            return expand_bn(x=expand(inputs=x), activation=activation)

        def after(h):
            return depthwise_bn(x=h, activation=activation)

        if train or self.is_initializing():
            h = after(depthwise_conv(before(x), kernel, stride=self.stride))
        else:  # running statistics normalise each pixel alone
            h = depthwise_between(x, kernel, stride=self.stride, before=before, after=after)
        product = pointwise_dot_general
        if self.style.squeeze_excite:
            gate = SqueezeExcite(filters=max(1, filters_in // 4), dtype=self.dtype, name='se')(x=h)
            if train:
                h = h * gate
            else:
                product = gated_dot_general(gate)
        h = conv1x1(self.stage.filters_out, name='project', dot_general=product)(inputs=h)
        h = self.norm(name='project_bn')(x=h)
        if self.stride != 1 or filters_in != self.stage.filters_out:
            return h
        # Drop-connect drops the whole branch of a frame, so the mask has one value per frame.
        return x + nn.Dropout(self.drop_rate, broadcast_dims=(1, 2, 3), deterministic=not train)(inputs=h)


class EfficientNet(nn.Module):
    """Encodes pictures [B, H, W, 3] float -> features [B, 1280], globally average-pooled.

    backbone: a key of BACKBONES; another name raises ValueError.
    with_maps: returns two maps besides: (features, the last map [B, h, w, C] of at most stride 16, the map
    [B, h, w, 1280] whose mean the features are). B0 has 112 channels at stride 16.
    axis_name: mapped axes (frames, replicas) over which batch statistics are taken besides the batch, or None.
    stages: the blocks; a model of fewer stages compiles faster.
    """

    drop_connect: float = 0.2
    bn_momentum: float = 0.9801
    axis_name: str | tuple[str, ...] | None = None
    dtype: Any = jnp.float32
    stages: tuple[Stage, ...] = STAGES
    backbone: str = 'efficientnet_b0'
    with_maps: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array | tuple[jax.Array, jax.Array, jax.Array]:
        if self.backbone not in BACKBONES:
            raise ValueError(f'model.backbone is one of {", ".join(BACKBONES)}, not {self.backbone!r}')
        style = BACKBONES[self.backbone]
        norm = partial(
            BatchNorm,
            use_running_average=not train,
            momentum=self.bn_momentum,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        kernel_init = _initialiser(self, conv_init)
        stem = nn.Conv(
            32,
            kernel_size=(3, 3),
            strides=(2, 2),
            padding='SAME',
            use_bias=False,
            dtype=self.dtype,
            kernel_init=kernel_init,
            name='stem',
            conv_general_dilated=stem_convolution,
        )
        x = norm(name='stem_bn')(x=stem(inputs=x), activation=style.activation)
        block, n_blocks = 0, sum(stage.repeats for stage in self.stages)
        middle, total_stride = x, 2
        for stage in self.stages:
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                mbconv = MBConv(
                    stage=stage,
                    stride=stride,
                    drop_rate=self.drop_connect * block / n_blocks,
                    style=style,
                    norm=norm,
                    dtype=self.dtype,
                    name=f'block{block:02d}',
                )
                x = mbconv(x=x, train=train)
                block += 1
                total_stride *= stride
                if total_stride <= MIDDLE_STRIDE:
                    middle = x
        x = Conv1x1(FEATURES, use_bias=False, dtype=self.dtype, kernel_init=kernel_init, name='top')(inputs=x)
        top = norm(name='top_bn').fit(x=x, activation=style.activation)
        features = picture_mean(top(x))[:, 0, 0]
        if not self.with_maps:
            return features
        # Computed twice: if the mean shared its map with other users, XLA would not fuse both, and the features would
        # not have the published bits.
        return features, middle, top(jax.lax.optimization_barrier(x))
