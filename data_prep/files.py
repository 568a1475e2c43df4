"""Files that appear whole or not at all, and their checksums."""

import hashlib
import json
import os

from etils import epath


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
