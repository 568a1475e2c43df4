"""The file in which members travel: a zip file with these entries, and no others.

manifest.json                         format, date, and the size and SHA-256 of each other entry
RECIPE/config.json                    the recipe's config
RECIPE/model_card.md                  what the members are, how they were made, their errors
RECIPE/clips.csv                      sites of the training clips
RECIPE/fold_K/member.json             with the digest of the folds
RECIPE/fold_K/weights.safetensors     float32, uncompressed
RECIPE/fold_K/oof.csv                 out-of-fold predictions
RECIPE/fold_K/provenance.json         of a member that was imported or unpacked

A package is data: reading one executes nothing and extracts no path. Sizes are checked before memory is taken.
"""

import hashlib
import io
import json
import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from etils import epath

from chimp_jax.sharing.zip_entry import read_entry

FORMAT = 'chimp_jax members'
VERSION = 1
MANIFEST = 'manifest.json'
WEIGHTS = 'weights.safetensors'
RECIPE = r'[A-Za-z0-9][A-Za-z0-9_.-]{0,99}'
_TABLE_BYTES, _TEXT_BYTES = 200_000_000, 1_000_000
# The entries of a package and their largest sizes.
_ENTRIES = {
    rf'({RECIPE})/config\.json': _TEXT_BYTES,
    rf'({RECIPE})/model_card\.md': _TEXT_BYTES,
    rf'({RECIPE})/clips\.csv': _TABLE_BYTES,
    rf'({RECIPE})/fold_(\d{{1,3}})/member\.json': _TEXT_BYTES,
    rf'({RECIPE})/fold_(\d{{1,3}})/provenance\.json': _TEXT_BYTES,
    rf'({RECIPE})/fold_(\d{{1,3}})/oof\.csv': _TABLE_BYTES,
    rf'({RECIPE})/fold_(\d{{1,3}})/weights\.safetensors': 1 << 30,
}
_MOST_ENTRIES = 2000
_MANIFEST_BYTES = 1_000_000
_AGAIN = 'ask for the package again'


class PackageError(ValueError):
    """A package cannot be used. The message is one line for the user."""


class Writer:
    """Writes the entries of a package into an open zip file."""

    def __init__(self, opened: zipfile.ZipFile, about: dict):
        """about: further fields of the manifest."""
        self._zip, self._about = opened, about
        self._entries: dict[str, dict] = {}

    def add(self, name: str, content: str | bytes) -> None:
        content = content.encode() if isinstance(content, str) else content
        self._entries[name] = {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
        self._write(name, content)

    def finish(self) -> None:
        """Writes the manifest."""
        manifest = {'format': FORMAT, 'version': VERSION} | self._about | {'entries': self._entries}
        self._write(MANIFEST, (json.dumps(manifest, indent=2) + '\n').encode())

    def _write(self, name: str, content: bytes) -> None:
        info = zipfile.ZipInfo(name)  # of 1980: the date of writing is in the manifest
        info.external_attr = 0o644 << 16
        # Weights are random digits, which compression makes hardly smaller. Uncompressed, they are no bomb.
        info.compress_type = zipfile.ZIP_STORED if name.endswith(WEIGHTS) else zipfile.ZIP_DEFLATED
        self._zip.writestr(info, content)


class OpenPackage(NamedTuple):
    """An open package whose list of entries has been checked."""

    path: str
    zip: zipfile.ZipFile
    manifest: dict

    def recipes(self) -> list[str]:
        return sorted({name.split('/')[0] for name in self.manifest['entries']})

    def folds(self, recipe: str) -> list[int]:
        found = (
            re.fullmatch(rf'{re.escape(recipe)}/fold_(\d+)/member\.json', name) for name in self.manifest['entries']
        )
        return sorted(int(match[1]) for match in found if match)

    def has(self, name: str) -> bool:
        return name in self.manifest['entries']

    def read(self, name: str) -> bytes:
        """Returns the content of an entry. Raises PackageError if it is missing or differs from the manifest."""
        if not self.has(name):
            raise PackageError(f'{self.path} lacks {name}; {_AGAIN}')
        content = _read_entry(self.zip, name, self.path)
        if hashlib.sha256(content).hexdigest() != self.manifest['entries'][name]['sha256']:
            raise PackageError(f'{self.path}: {name} has another SHA-256 than the manifest says; {_AGAIN}')
        return content

    def read_json(self, name: str) -> dict:
        return _parsed(self.read(name), f'{name} in {self.path}')


def open_package(file: io.BufferedIOBase, path: str) -> OpenPackage:
    """Opens a package and checks its list of entries: names, kinds, number, sizes. Raises PackageError."""
    try:
        opened = zipfile.ZipFile(file)
        entries = opened.infolist()
    except Exception as error:  # a damaged zip file raises almost anything
        raise PackageError(f'{path} is not a readable zip file ({_one_line(error)}); {_AGAIN}') from None
    n_bytes = file.seek(0, io.SEEK_END)
    _check_entries(entries, n_bytes, path)
    manifest = _parsed(_read_entry(opened, MANIFEST, path), f'{MANIFEST} in {path}')
    _check_manifest(manifest, entries, path)
    return OpenPackage(path, opened, manifest)


def _check_entries(entries: list[zipfile.ZipInfo], n_bytes: int, path: str) -> None:
    if len(entries) > _MOST_ENTRIES:
        raise PackageError(f'{path} has {len(entries)} entries, more than the {_MOST_ENTRIES} of a package; {_AGAIN}')
    seen = set()
    for entry in entries:
        name = entry.filename
        most_bytes = _most_bytes(name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        # Two names that differ in capitals are one file on some disks.
        for is_wrong, what in (
            (most_bytes is None, 'is no entry of a package'),
            (name.casefold() in seen, 'is there twice'),
            (kind not in (0, stat.S_IFREG), 'is no file'),
            (entry.flag_bits & 1, 'is encrypted'),
            (entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED), 'has an unknown compression'),
            (name.endswith(WEIGHTS) and entry.file_size != entry.compress_size, 'is compressed'),
            (entry.file_size > (most_bytes or 0), f'has {entry.file_size / 1e6:.0f} MB, which is too much'),
        ):
            if is_wrong:
                raise PackageError(f'{path}: {name!r} {what}; {_AGAIN}')
        seen.add(name.casefold())
    if sum(entry.compress_size for entry in entries) > n_bytes:
        raise PackageError(f'{path}: its entries lie over each other; {_AGAIN}')
    if MANIFEST not in seen:
        raise PackageError(
            f'{path} has no {MANIFEST}, so it is no package of members; give a file of chimp-distance pack'
        )


def _most_bytes(name: str) -> int | None:
    """Returns the largest size of an entry, None if a package has no such entry."""
    if name == MANIFEST:
        return _MANIFEST_BYTES
    return next((most for pattern, most in _ENTRIES.items() if re.fullmatch(pattern, name, re.ASCII)), None)


def _check_manifest(manifest: dict, entries: list[zipfile.ZipInfo], path: str) -> None:
    if manifest.get('format') != FORMAT:
        raise PackageError(f'{path} is no package of members; give a file of chimp-distance pack')
    if manifest.get('version') != VERSION:
        raise PackageError(
            f'{path} is a package of version {manifest.get("version")!r}, and this program reads version {VERSION}; '
            'update the program'
        )
    listed = manifest.get('entries')
    there = {entry.filename: entry.file_size for entry in entries if entry.filename != MANIFEST}
    if not isinstance(listed, dict) or not all(_is_listing(about) for about in listed.values()):
        raise PackageError(f'{path}: the list of entries in {MANIFEST} is damaged; {_AGAIN}')
    for name in sorted(there.keys() ^ listed.keys()):
        where = (
            f'lacks {name}, which {MANIFEST} lists' if name in listed else f'has {name}, which {MANIFEST} does not list'
        )
        raise PackageError(f'{path} {where}; {_AGAIN}')
    for name, n_bytes in there.items():
        if listed[name]['bytes'] != n_bytes:
            raise PackageError(
                f'{path}: {name} has {n_bytes} bytes, not the {listed[name]["bytes"]} of {MANIFEST}; {_AGAIN}'
            )


def _is_listing(about) -> bool:
    return isinstance(about, dict) and type(about.get('bytes')) is int and isinstance(about.get('sha256'), str)


def _read_entry(opened: zipfile.ZipFile, name: str, path: str) -> bytes:
    try:
        return read_entry(opened, opened.getinfo(name))
    except Exception as error:  # a damaged entry raises almost anything
        raise PackageError(f'{path}: {name} is damaged ({_one_line(error)}); {_AGAIN}') from None


def _parsed(content: bytes, source: str) -> dict:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackageError(f'{source} is no readable JSON ({_one_line(error)}); {_AGAIN}') from None
    if not isinstance(found, dict):
        raise PackageError(f'{source} is no JSON object; {_AGAIN}')
    return found


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split())[:200] or type(error).__name__


def check_all(package: OpenPackage) -> Iterator[str]:
    """Yields the name of each entry after its content has been compared with the manifest. Raises PackageError."""
    for name in sorted(package.manifest['entries']):
        package.read(name)
        yield name


def open_file(path) -> io.BufferedIOBase:
    """Opens a package's file for reading. Raises PackageError."""
    path = epath.Path(path).expanduser()
    if '://' not in str(path) and path.exists() and not Path(path).is_file():
        raise PackageError(f'{path} is not a file; give a file of chimp-distance pack')
    try:
        return path.open('rb')
    except OSError as error:
        raise PackageError(
            f'{path} cannot be read: {error.strerror or error}; give a file of chimp-distance pack'
        ) from None
