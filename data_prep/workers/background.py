"""Runs a function in a thread while its caller does something else."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item, Result = TypeVar('Item'), TypeVar('Result')


def in_background(
    function: Callable[[Item], Result], items: Iterable[Item], overlap: bool
) -> Iterator[tuple[Item, Result]]:
    """Yields (item, function(item)) for each item, in order. Raises what the function raises.

    The first item starts at once, before the caller asks for its result. overlap: each further item starts while the
    caller uses the result before; otherwise it starts when the caller asks for it. A program that ends does not wait
    for an unfinished item.
    """
    items = iter(items)
    running = _begin(function, items)

    def results() -> Iterator[tuple[Item, Result]]:
        nonlocal running
        while running:
            item, future = running
            result = future.result()
            running = _begin(function, items) if overlap else None
            yield item, result
            running = running or _begin(function, items)

    return results()


@contextlib.contextmanager
def repeating(function: Callable[[], None], every_s: float) -> Iterator[None]:
    """Runs a function at once and then every `every_s` seconds in a thread, until the context ends."""
    ended = threading.Event()

    def repeat() -> None:
        function()
        while not ended.wait(every_s):
            function()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _begin(function: Callable[[Item], Result], items: Iterator[Item]) -> tuple[Item, Future] | None:
    """Starts the next item and returns it with its future result, or None if there is no item left."""
    for item in items:
        future: Future = Future()
        # Not an executor's thread: the program would wait for it at its end, even after Ctrl-C.
        threading.Thread(target=_fill, args=(future, function, item), daemon=True).start()
        return item, future
    return None


def _fill(future: Future, function: Callable[[Item], Result], item: Item) -> None:
    try:
        future.set_result(function(item))
    except BaseException as error:
        future.set_exception(error)
