"""The end of a command on Ctrl-C or SIGTERM: one line and the exit code of the signal, within seconds."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

GRACE_S = 3.0  # for an orderly end, which deletes unfinished files; then the process ends as if it was killed
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(name: str, command: Callable[[], int | None]) -> int | None:
    """Returns what the command returns. If a signal interrupts the command, ends the process and does not return.

    The process ends with 130 after Ctrl-C, with 143 after SIGTERM. A second signal ends the process at once. Call this
    function from the main thread of a process that ends afterwards.
    """
    received: list[int] = []

    def interrupt(number: int, _) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    _watch(name)
    _silence_swallowed()
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        return command()
    except BaseException:  # a library may have made another error of the interruption
        if received:
            _end(name, received[0])
        raise


def while_loading(name: str) -> None:
    """Ends the process at a signal, until `run` is called. For the seconds in which a command imports its libraries."""
    for number in SIGNALS:
        signal.signal(number, lambda number, _: _end(name, number))


def _watch(name: str) -> None:
    """Starts a thread that ends the process GRACE_S after a signal.

    Python runs a handler between two steps of the interpreter. A compilation or a step of training may run for minutes
    without such a moment, but the system reports each signal to the thread at once.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_after_signal, args=(name, reader, writer), daemon=True).start()


def _silence_swallowed() -> None:
    """Prints no stack trace of an interruption that came within a callback, whose errors Python cannot raise."""
    show = sys.unraisablehook
    sys.unraisablehook = lambda failed: None if failed.exc_type is KeyboardInterrupt else show(failed)


def _end_after_signal(name: str, reader: socket.socket, _writer: socket.socket) -> None:
    first = _next_signal(reader)
    reader.settimeout(GRACE_S)
    with contextlib.suppress(TimeoutError):
        _next_signal(reader)
    _end(name, first)


def _next_signal(reader: socket.socket) -> int:
    while (number := reader.recv(1)[0]) not in SIGNALS:
        pass
    return number


def _end(name: str, number: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # the reader has closed the pipe
        sys.stdout.flush()
        print(f'{name}: interrupted; run the same command again to resume', file=sys.stderr, flush=True)
    os._exit(128 + number)
