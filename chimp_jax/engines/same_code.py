"""What must be equal on all machines of a job, so that their answers are those of one machine."""

import functools
import hashlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Mapping
from pathlib import Path

_OURS = ('chimp_jax', 'chimp_jax.configs', 'data_prep')
_PACKAGES = ('av', 'flax', 'jax', 'jaxlib', 'numpy', 'pandas', 'pillow')  # a distance may depend on their versions


@functools.cache
def describe_code() -> dict[str, str]:
    """Returns the version and the digest of this project's code, and the versions of packages that change numbers."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {'code': _digest(), 'python': platform.python_version()} | versions


def difference(here: Mapping[str, str], launching: Mapping[str, str]) -> str:
    """Returns how two descriptions of code differ; '' if they are equal. The second one is of the launching machine."""
    names = [name for name in {**here, **launching} if here.get(name) != launching.get(name)]
    return '; '.join(f'{name} {here.get(name)} here, {launching.get(name)} on the launching machine' for name in names)


def _digest() -> str:
    """Returns the SHA-256 (12 digits) of the Python files, wherever they are installed."""
    digest = hashlib.sha256()
    for package in _OURS:
        for root in importlib.util.find_spec(package).submodule_search_locations:
            for path in sorted(Path(root).rglob('*.py')):
                name = path.relative_to(root)
                if package in _OURS[1:] or name.parts[0] != 'configs':  # a link in a checkout, a folder in a wheel
                    digest.update(f'{package}/{name}\n'.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
