"""What must be equal on all machines of a job, so that their answers are those of one machine."""

import functools
import importlib.metadata
import platform
from collections.abc import Mapping

from chimp_jax.programs.code import code_digest

_PACKAGES = ('av', 'flax', 'jax', 'jaxlib', 'numpy', 'pandas', 'pillow')  # a distance may depend on their versions


@functools.cache
def describe_code() -> dict[str, str]:
    """Returns the version and the digest of this project's code, and the versions of packages that change numbers."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {'code': code_digest(), 'python': platform.python_version()} | versions


def difference(here: Mapping[str, str], launching: Mapping[str, str]) -> str:
    """Returns how two descriptions of code differ; '' if they are equal. The second one is of the launching machine."""
    names = [name for name in {**here, **launching} if here.get(name) != launching.get(name)]
    return '; '.join(f'{name} {here.get(name)} here, {launching.get(name)} on the launching machine' for name in names)
