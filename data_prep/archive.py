"""The folders of clips, local or gs://: what is in them, and one clip as a local file.

A clip's identity, its video_id, is its path below the root, with forward slashes.
"""

import contextlib
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from etils import epath

CLIP_SUFFIXES = frozenset('.mp4 .avi .asf .mov .mkv .m4v .wmv .mpg .mpeg .ts'.split())


class Archive:
    """The files below one or more roots, listed once."""

    def __init__(self, roots: Sequence):
        """Raises ValueError where a root is no folder."""
        self.roots = [epath.Path(root) for root in roots]
        self._paths: dict[str, list[epath.Path]] = {}
        for root in self.roots:
            if not root.is_dir():
                raise ValueError(f'there is no folder {root}')
            for name in _files_below(root):
                # A name that is no UTF-8 is written with the bytes' numbers.
                video_id = os.fsencode(name).decode(errors='backslashreplace')
                self._paths.setdefault(video_id, []).append(root / name)
        # macOS stores the parts of a letter one by one; a table made elsewhere has the letter.
        self._by_letters = {unicodedata.normalize('NFC', name): name for name in self._paths}
        self._by_any_case = {name.casefold(): name for name in self._by_letters}

    def clips(self) -> list[str]:
        """The video_id of every clip, sorted. What macOS writes beside a clip (._NAME) is none."""
        return sorted(name for name in self._paths if is_clip(name) and not name.rpartition('/')[2].startswith('._'))

    def find(self, video_id: str) -> str | None:
        """The path of a clip, or None. Raises LookupError with the reason where there are several."""
        name = video_id if video_id in self._paths else self._by_letters.get(unicodedata.normalize('NFC', video_id))
        paths = self._paths.get(name, [])
        if len(paths) > 1:
            raise LookupError(f'stands in {" and in ".join(map(str, self.roots))}; give their common parent instead')
        return str(paths[0]) if paths else None

    def near(self, video_id: str) -> str | None:
        """A file whose path differs in the case of letters only."""
        return self._by_any_case.get(unicodedata.normalize('NFC', video_id).casefold())

    def below_root(self, path: str) -> str:
        """A path as other tools write it, from the root of the disk or from where they ran -> the video_id."""
        if path in self._paths:
            return path
        for root in self.roots:
            for start in (str(root), os.path.abspath(root)):
                if path.startswith(f'{start.rstrip("/")}/'):
                    return path[len(start.rstrip('/')) + 1 :]
        return path

    def __str__(self) -> str:
        return ' and '.join(map(str, self.roots))


def is_clip(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in CLIP_SUFFIXES


def path_fault(video_id: str) -> str | None:
    """Why a video_id cannot be a path below a root, or None."""
    if not video_id:
        return 'the video_id is empty'
    if not video_id.isprintable():  # line breaks, NUL, bytes that are no UTF-8
        return f'the video_id {video_id!r} is no file name; rename the file'
    windows = PureWindowsPath(video_id)  # it takes both kinds of slashes
    if PurePosixPath(video_id).is_absolute() or windows.drive or windows.root:
        return f'the video_id {video_id!r} is an absolute path; give it relative to the clips folder'
    if '..' in windows.parts:
        return f'the video_id {video_id!r} climbs out of the clips folder'
    return None


def size_bytes(path: str) -> int:
    """0 where the file has gone."""
    try:
        return epath.Path(path).stat().length
    except OSError:
        return 0


@contextlib.contextmanager
def local_copy(path: str | None) -> Iterator[str | None]:
    """The path itself where it is local; else that of a copy, which lasts as long as the context."""
    if path is None or '://' not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(path).name
        with epath.Path(path).open('rb') as source, copy.open('wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield str(copy)


def _files_below(root: epath.Path) -> Iterator[str]:
    """Paths of all files, relative to the root. Links are followed, but not round in circles."""
    if '://' in str(root):
        base = str(root).partition('://')[2].rstrip('/')
        for folder, _, names in root.walk():
            inside = str(folder).partition(base)[2].strip('/')  # some backends leave the scheme away
            yield from (f'{inside}/{name}'.lstrip('/') for name in names)
        return
    above = {str(root): frozenset([os.path.realpath(root)])}  # of each folder to come: itself and what it lies in
    for folder, below, names in os.walk(root, followlinks=True):
        inside = os.path.relpath(folder, root)
        # Pipes and devices would block whoever opens them; a broken link is a clip that has gone.
        files = [name for name in names if not _blocks(os.path.join(folder, name))]
        yield from (name if inside == '.' else f'{inside}/{name}' for name in files)
        chain = above.pop(folder)
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        below[:] = sorted(name for name in below if real[name] not in chain)
        above |= {os.path.join(folder, name): chain | {real[name]} for name in below}


def _blocks(path: str) -> bool:
    return is_clip(path) and os.path.exists(path) and not os.path.isfile(path)
