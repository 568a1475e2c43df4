"""Work that goes on in a thread while its caller does something else."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Item, Result = TypeVar('Item'), TypeVar('Result')


def in_background(
    function: Callable[[Item], Result], items: Iterable[Item], overlap: bool
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) for each item, in their order; what the function raises is raised here.

    The first item is begun at once, before the caller asks for its result. overlap: so is each further one, while the
    caller uses the result before; otherwise it is begun when the caller asks for it. A program that ends does not wait
    for what is under way.
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


def _begin(function: Callable[[Item], Result], items: Iterator[Item]) -> tuple[Item, Future] | None:
    """The next item and what comes of it, later; None where there is none."""
    for item in items:
        future: Future = Future()
        # Not an executor's thread: those are waited for at the end, even after Ctrl-C.
        threading.Thread(target=_fill, args=(future, function, item), daemon=True).start()
        return item, future
    return None


def _fill(future: Future, function: Callable[[Item], Result], item: Item) -> None:
    try:
        future.set_result(function(item))
    except BaseException as error:
        future.set_exception(error)
