"""Notes what a process does that no file may make it do. Python runs this module at the start of each process.

The parent names the file of the notes in HOSTILE_LOG, and the folders that may be written in HOSTILE_ROOTS.
"""

import json
import os
import sys

_WORKER = 'from data_prep.workers import guard'
_HARMLESS = ('fc-list', 'uname')  # matplotlib and platform start them at their import
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.symlink', 'os.link', 'os.truncate', 'os.chmod')
_STARTS = ('os.system', 'os.posix_spawn', 'os.exec', 'os.startfile', 'pty.spawn')
_roots = tuple(os.environ.get('HOSTILE_ROOTS', '').split(os.pathsep))


def _is_outside(path) -> bool:
    if not isinstance(path, str | bytes):  # a file descriptor
        return False
    real = os.path.realpath(os.fsdecode(path))
    return not real.startswith(_roots) and not real.startswith('/dev/')


def _fault(event: str, given: tuple) -> str:
    """Returns what is wrong with an event of Python's audit hooks, '' if nothing."""
    if event == 'socket.connect':
        return '' if isinstance(given[1], str | bytes) else f'connects to {given[1]}'  # a local socket is a path
    if event == 'subprocess.Popen':
        return (
            ''
            if _WORKER in str(given[1]) or os.path.basename(str(given[0])) in _HARMLESS
            else f'starts {given[0]} {given[1]}'
        )
    if event in _STARTS:
        return f'{event} {given}'
    if event == 'open' and isinstance(given[2], int) and given[2] & _WRITES and _is_outside(given[0]):
        return f'writes {given[0]}'
    if event in _CHANGES and any(_is_outside(path) for path in given if isinstance(path, str | bytes)):
        return f'{event} {given}'
    return ''


def _hook(event: str, given: tuple) -> None:
    if event == 'open' or event.startswith(('os.', 'socket.', 'subprocess.', 'pty.')):
        fault = _fault(event, given)
        if fault:
            os.write(_log, (json.dumps(fault[:400]) + '\n').encode())


if 'HOSTILE_LOG' in os.environ:
    _log = os.open(os.environ['HOSTILE_LOG'], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.addaudithook(_hook)
