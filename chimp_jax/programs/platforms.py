"""The choice between the forms of an operation, by the platform that a program is compiled for."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax

_platform = jax.make_user_context(default_value=None)  # a part of the key of JAX's own caches


@contextlib.contextmanager
def traced_for(platform: str) -> Iterator[None]:
    """Programs that are traced in this context, or in a function with this decorator, are for one platform.

    platform: 'cpu', 'tpu', 'gpu'. Without it, JAX traces and differentiates the forms for all platforms and drops all
    but one when it lowers a program, which takes a third of the time of tracing.
    """
    with _platform(platform):
        yield


def by_platform(*operands: Any, default: Callable, **forms: Callable) -> Any:
    """Returns form(*operands) of the platform of the program, or default(*operands) if it has no form of its own."""
    if _platform.value is None:
        return lax.platform_dependent(*operands, default=default, **forms)
    return forms.get(_platform.value, default)(*operands)
