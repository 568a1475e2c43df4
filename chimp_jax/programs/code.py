"""A digest of this project's code."""

import functools
import hashlib
import importlib.util
from pathlib import Path

_OURS = ('chimp_jax', 'chimp_jax.configs', 'data_prep')


@functools.cache
def code_digest() -> str:
    """Returns the SHA-256 (12 digits) of the Python files, wherever they are installed."""
    digest = hashlib.sha256()
    for package in _OURS:
        for root in importlib.util.find_spec(package).submodule_search_locations:
            for path in sorted(Path(root).rglob('*.py')):
                name = path.relative_to(root)
                if package in _OURS[1:] or name.parts[0] != 'configs':  # a link in a checkout, a folder in a wheel
                    digest.update(f'{package}/{name}\n'.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
