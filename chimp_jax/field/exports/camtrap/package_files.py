"""The files of a data package: in a folder, or in a .zip that is read without extracting it."""

import gzip
import io
import posixpath
import stat
import zipfile
import zlib

from etils import epath

DESCRIPTOR = 'datapackage.json'
_MOST_BYTES = 2 << 30  # of one file, unpacked; a larger one is a mistake or an attack
_SMALL_BYTES, _HIGHEST_RATIO = 64 << 20, 250  # text of a larger table does not shrink more than this
_GZIP = b'\x1f\x8b'  # no CSV begins so
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class PackageFiles:
    """Files by their path below the datapackage.json, with forward slashes."""

    def __init__(self, path):
        """path: a folder, its datapackage.json, or a .zip as a platform made it.

        Raises ValueError if there is no package, or if the archive has a link, a name twice, or a name that leads out
        of its folder.
        """
        self.path = epath.Path(path)
        if self.path.name == DESCRIPTOR:
            self.path = self.path.parent
        self._entries: dict[str, zipfile.ZipInfo] | None = None
        if not self.path.is_dir() and self.path.exists():
            self._entries = _entries(self.path)
        if DESCRIPTOR not in self:
            raise ValueError(
                f'{self.place(DESCRIPTOR)} cannot be read; give the folder of your Camtrap DP package, or its .zip'
            )

    def __contains__(self, name: str) -> bool:
        return (self.path / name).is_file() if self._entries is None else posixpath.normpath(name) in self._entries

    def place(self, name: str) -> str:
        """Returns the name of a file for messages."""
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file as the package has them. Raises ValueError if they cannot be read."""
        try:
            if self._entries is None:
                return (self.path / name).read_bytes()
            with self.path.open('rb') as file, zipfile.ZipFile(file) as archive:
                entry = self._entries[posixpath.normpath(name)]
                _check_size(entry.file_size, entry.compress_size, self.place(name))
                return archive.read(entry)
        except _BROKEN as error:
            why = getattr(error, 'strerror', None) or error
            raise ValueError(f'{self.place(name)} cannot be read ({why}); export the package again') from None

    def read_unpacked(self, name: str) -> bytes:
        """Returns the bytes of a file, unpacked if they are gzip. Raises ValueError if they cannot be read."""
        data = self.read(name)
        if not data.startswith(_GZIP):
            return data
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                text = file.read(_MOST_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f'{self.place(name)} cannot be unpacked ({error}); export the package again') from None
        _check_size(len(text), len(data), self.place(name))
        return text


def packed_as(before: bytes, text: bytes) -> bytes:
    """Returns text, packed with gzip if `before` is. The same text gives the same bytes."""
    return gzip.compress(text, mtime=0) if before.startswith(_GZIP) else text


def leaves_folder(name: str) -> bool:
    """Returns whether a path is absolute, leads out of its folder, or has a backslash, which Windows reads as `/`."""
    drive = name[1:2] == ':' and name[:1].isalpha()
    return name.startswith('/') or '\\' in name or drive or '..' in name.split('/')


def _entries(path: epath.Path) -> dict[str, zipfile.ZipInfo]:
    """Returns {path below the datapackage.json: entry} of an archive."""
    try:
        with path.open('rb') as file, zipfile.ZipFile(file) as archive:
            listed = [entry for entry in archive.infolist() if not entry.filename.endswith('/')]
    except _BROKEN:
        raise ValueError(f'{path} is no folder and no .zip that can be read; give your Camtrap DP package') from None
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = posixpath.normpath(entry.filename)
        if leaves_folder(entry.filename):
            what = 'a name that leads out of the archive or has a backslash'
        elif stat.S_ISLNK(entry.external_attr >> 16):
            what = 'a link'
        elif name in found:
            what = 'a name that the archive has twice'
        else:
            found[name] = entry
            continue
        raise ValueError(f'{path} has {ascii(entry.filename)}, {what}; export the package again, or give its folder')
    top = _top(path, found)
    return {name.removeprefix(top): entry for name, entry in found.items() if name.startswith(top)}


def _top(path: epath.Path, names) -> str:
    """Returns the folder of the datapackage.json that lies highest, '' or with a slash at its end."""
    found = [name for name in names if name.rpartition('/')[2] == DESCRIPTOR and not name.startswith('__MACOSX/')]
    depth = min((name.count('/') for name in found), default=0)
    highest = [name for name in found if name.count('/') == depth]
    if len(highest) > 1:
        raise ValueError(f'{path} has {" and ".join(highest[:2])}; give an archive of one package')
    return highest[0].removesuffix(DESCRIPTOR) if highest else ''


def _check_size(n_bytes: int, n_packed: int, place: str) -> None:
    if n_bytes > _MOST_BYTES:
        raise ValueError(f'{place} has more than {_MOST_BYTES / 2**30:g} GiB when unpacked; give a smaller package')
    if n_bytes > _SMALL_BYTES and n_bytes > _HIGHEST_RATIO * n_packed:
        raise ValueError(
            f'{place} grows from {n_packed} bytes to {n_bytes >> 20} MiB when unpacked, which no table does; look at '
            'the file, unpack it and give the folder'
        )
