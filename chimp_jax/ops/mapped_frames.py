"""Runs a function of pictures on the pictures of all frames at once, under the vmap over frames."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def all_pictures_at_once(function: Callable, sums: tuple[int, ...] = ()) -> Callable:
    """Wraps function(kernel or None, *arrays [B, ...]) -> arrays [B, ...].

    Under a vmap over frames, the wrapped function gets the pictures of all frames as one batch B. Under a plain vmap,
    XLA's CPU backend computes the result twice, once for each shape in which it is used.
    sums: positions of outputs that are sums over pictures, such as the gradient of a shared kernel. Only their sum over
    frames matters, so each frame gets an equal part of it. If the kernel itself is mapped, the usual vmap applies.
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
