"""What a run was started with, beside its config: to know later what made it."""

import datetime
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import jax
from etils import epath

from chimp_jax.workdir import write_whole

PACKAGES = ('chimp_jax', 'jax', 'jaxlib', 'libtpu', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow')


def note_start(folder: epath.Path) -> None:
    """Appends a row to FOLDER/run.json, a list with a row for each time that the run was started or resumed."""
    path = folder / 'run.json'
    rows = json.loads(path.read_text()) if path.exists() else []
    write_whole(path, json.dumps([*rows, describe_start()], indent=2) + '\n')


def describe_start() -> dict:
    """Time, command, git revision (None where there is none), versions, kind and number of devices and processes."""
    return {
        'time': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
        'command': shlex.join(sys.orig_argv),
        'git': git_revision(Path(__file__).resolve().parents[1]),
        'versions': {'python': platform.python_version()} | _versions(),
        'device_kind': jax.devices()[0].device_kind,
        'devices': jax.device_count(),
        'processes': jax.process_count(),
    }


def git_revision(folder: Path) -> str | None:
    """The commit of the checkout that the folder is the root of, with '+changes' where files differ from it."""
    try:
        # The folder may lie in a checkout of something else, as site-packages do in people's projects.
        if _git(folder, 'rev-parse', '--show-prefix'):
            return None
        revision = _git(folder, 'rev-parse', 'HEAD')
        return revision + '+changes' * bool(_git(folder, 'status', '--porcelain', '--untracked-files=no'))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ['git', '-C', str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        for distribution in (name, f'{name}-cpu'):  # tensorflow-cpu is tensorflow
            try:
                found[name] = importlib.metadata.version(distribution)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
