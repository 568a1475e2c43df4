"""Files that appear whole or not at all, and their checksums."""

import hashlib
import json
import os

from etils import epath

RESUME = 'correct this and run the same command again to resume'  # after a failure of the machine


def write_whole(path, content: str | bytes) -> None:
    """Writes a file under a temporary name, then renames it: a killed run leaves the old file or the new one."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'{path.name}.{os.getpid()}.tmp')
    # The content may hold file names that are not UTF-8.
    unfinished.write_bytes(content.encode(errors='backslashreplace') if isinstance(content, str) else content)
    unfinished.replace(path)


def write_json(path, content) -> None:
    write_whole(path, json.dumps(content, indent=2) + '\n')


def sha256(path) -> str:
    digest = hashlib.sha256()
    with epath.Path(path).open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def failure_line(error: BaseException) -> str:
    """Returns one line without internal names: the file and what is wrong with it, or the text of the error."""
    if isinstance(error, OSError) and error.strerror:
        files = ' and '.join(str(name) for name in (error.filename, error.filename2) if name)
        return f'{files}: {error.strerror}' if files else error.strerror
    return ' '.join(str(error).split()) or type(error).__name__
