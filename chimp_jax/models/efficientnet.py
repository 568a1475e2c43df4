"""EfficientNet-B0 and -Lite0 without their top, as a Flax Linen module (Tan and Le 2019, arXiv:1905.11946).

As keras.applications has B0: TensorFlow's SAME padding, batch norm with epsilon 1e-3, swish, squeeze-excite with a
quarter of the block's *input* filters, drop-connect that grows with the block's depth. Lite0 is B0 without
squeeze-excite and with ReLU6 in the place of swish. A 1x1 convolution is a Dense layer on the channels.
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

# Keras' kernel initialiser for convolutions here: variance scaling 2.0, fan_out, truncated normal.
conv_init = nn.initializers.variance_scaling(2.0, 'fan_out', 'truncated_normal')
# Keras stores a depthwise kernel as [k, k, C, 1] and so counts k * k as its fan_out; here that is the fan_in.
depthwise_init = nn.initializers.variance_scaling(2.0, 'fan_in', 'truncated_normal')


class Stage(NamedTuple):
    """Blocks of one resolution: how many, depthwise kernel, stride of the first, filters in and out, expansion."""

    repeats: int
    kernel: int
    stride: int
    filters_in: int
    filters_out: int
    expand: int


# Of B0 and Lite0 alike.
STAGES = (
    Stage(1, 3, 1, 32, 16, 1),
    Stage(2, 3, 2, 16, 24, 6),
    Stage(2, 5, 2, 24, 40, 6),
    Stage(3, 3, 2, 40, 80, 6),
    Stage(3, 5, 1, 80, 112, 6),
    Stage(4, 5, 2, 112, 192, 6),
    Stage(1, 3, 1, 192, 320, 6),
)


# A Dense layer on the channels; what a TPU's compiler is told of it: chimp_jax/ops/pointwise.py.
Conv1x1 = partial(nn.Dense, dot_general=pointwise_dot_general)


class Style(NamedTuple):
    """What B0 and Lite0 do not share."""

    activation: Callable[[jax.Array], jax.Array]
    squeeze_excite: bool


BACKBONES = {
    'efficientnet_b0': Style(swish, squeeze_excite=True),
    'efficientnet_lite0': Style(nn.relu6, squeeze_excite=False),
}


class DepthwiseKernel(nn.Module):
    """The weights [k, k, 1, C] of a depthwise convolution."""

    size: int
    channels: int

    @nn.compact
    def __call__(self) -> jax.Array:
        return self.param('kernel', depthwise_init, (self.size, self.size, 1, self.channels), jnp.float32)


class SqueezeExcite(nn.Module):
    """Gate of each channel from the picture's mean: [B, H, W, C] -> [B, 1, 1, C]."""

    filters: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dense = partial(nn.Dense, dtype=self.dtype, kernel_init=conv_init)
        squeezed = swish(dense(self.filters, name='reduce')(picture_mean(x)))
        return nn.sigmoid(dense(x.shape[-1], name='expand')(squeezed))


class MBConv(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise, squeeze-excite, project 1x1, skip where shapes allow."""

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
        conv1x1 = partial(Conv1x1, use_bias=False, dtype=self.dtype, kernel_init=conv_init)
        channels = filters_in * self.stage.expand
        if self.stage.expand > 1:
            expand, expand_bn = conv1x1(channels, name='expand'), self.norm(name='expand_bn')
        kernel = DepthwiseKernel(size=self.stage.kernel, channels=channels, name='depthwise')().astype(self.dtype)
        depthwise_bn = self.norm(name='depthwise_bn')

        def before(x):
            return expand_bn(expand(x), activation) if self.stage.expand > 1 else x.astype(self.dtype)

        def after(h):
            return depthwise_bn(h, activation)

        if train or self.is_initializing():
            h = after(depthwise_conv(before(x), kernel, self.stride))
        else:  # by the running statistics each pixel is normalised by itself
            h = depthwise_between(x, kernel, self.stride, before, after)
        product = pointwise_dot_general
        if self.style.squeeze_excite:
            gate = SqueezeExcite(filters=max(1, filters_in // 4), dtype=self.dtype, name='se')(h)
            if train:
                h = h * gate
            else:
                product = gated_dot_general(gate)
        h = conv1x1(self.stage.filters_out, name='project', dot_general=product)(h)
        h = self.norm(name='project_bn')(h)
        if self.stride != 1 or filters_in != self.stage.filters_out:
            return h
        # Drop-connect: the whole branch of a frame is dropped, so the mask has one value a frame.
        return x + nn.Dropout(self.drop_rate, broadcast_dims=(1, 2, 3), deterministic=not train)(h)


class EfficientNet(nn.Module):
    """Pictures [B, H, W, 3] float -> features [B, 1280], globally average-pooled.

    backbone: a key of BACKBONES; another name raises ValueError.
    axis_name: the mapped axes (frames, replicas) over which batch statistics are taken besides the batch, if any.
    stages: the blocks; the first stages alone compile quickly.
    """

    drop_connect: float = 0.2
    bn_momentum: float = 0.99
    axis_name: str | tuple[str, ...] | None = None
    dtype: Any = jnp.float32
    stages: tuple[Stage, ...] = STAGES
    backbone: str = 'efficientnet_b0'

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
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
        stem = nn.Conv(
            32,
            kernel_size=(3, 3),
            strides=(2, 2),
            padding='SAME',
            use_bias=False,
            dtype=self.dtype,
            kernel_init=conv_init,
            name='stem',
            conv_general_dilated=stem_convolution,
        )
        x = norm(name='stem_bn')(stem(x), style.activation)
        block, n_blocks = 0, sum(stage.repeats for stage in self.stages)
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
                x = mbconv(x, train=train)
                block += 1
        x = Conv1x1(FEATURES, use_bias=False, dtype=self.dtype, kernel_init=conv_init, name='top')(x)
        x = norm(name='top_bn')(x, style.activation)
        return picture_mean(x)[:, 0, 0]
