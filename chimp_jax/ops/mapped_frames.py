"""Functions of pictures under the vmap over frames: on all frames' pictures in one go."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def all_pictures_at_once(function: Callable, sums: tuple[int, ...] = ()) -> Callable:
    """function(kernel or None, *arrays [B, ...]) -> arrays [B, ...]; under a vmap over frames all pictures are one B.

    Mapped as it is written, it is what XLA's CPU backend computes twice, once for each shape in which it is asked for.
    sums: the outputs that are sums over pictures, a gradient of what all frames share; only their sum over frames
    matters then, and each frame gets an equal part of it. A kernel that is mapped itself is mapped as usual.
    """

    @custom_vmap
    def of_pictures(kernel, *arrays):
        return function(kernel, *arrays)

    @of_pictures.def_vmap
    def of_frames(n, mapped, kernel, *arrays):
        if mapped[0] or not all(mapped[1:]):
            axes = [0 if is_mapped else None for is_mapped in mapped]
            outputs = jax.vmap(function, in_axes=axes)(kernel, *arrays)
            return outputs, (True,) * len(outputs)
        merged = of_pictures(kernel, *(a.reshape(n * a.shape[1], *a.shape[2:]) for a in arrays))
        return tuple(
            jnp.broadcast_to(out / n, (n, *out.shape)) if number in sums else out.reshape(n, -1, *out.shape[1:])
            for number, out in enumerate(merged)
        ), (True,) * len(merged)

    return of_pictures
