"""Lists the folders of clips, local or in a bucket, and copies a remote clip to a local file. A photo is a clip too.

A clip's identity, its video_id, is its path below the root, with forward slashes, spelled as in the folder. Tables and
other tools may spell it otherwise: `Archive.video_id_of` and `Names.video_id_of` return the video_id that they mean.
"""

import contextlib
import itertools
import operator
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from etils import epath

from data_prep.buckets import s3_paths

_VIDEO_SUFFIXES = frozenset(
    '.mp4 .avi .asf .mov .mkv .m4v .wmv .mpg .mpeg .ts .flv .webm .3gp .mts .m2ts .mod .vob .ogv .h264 .divx'.split()
)
_PHOTO_SUFFIXES = frozenset(('.jpg', '.jpeg', '.png'))
# Files that lie beside clips: other pictures, sound, texts, tables, maps, scripts, archives; .lrv is a small copy.
_COMPANIONS = frozenset(
    '.jpe .gif .bmp .tif .tiff .heic .heif .avif .webp .mpo .dng .cr2 .cr3 .nef .arw .rw2 .orf .raf '
    '.raw .thm .lrv .wav .mp3 .m4a .aac .wma .flac .amr .txt .csv .tsv .json .xml .xmp .html .htm .md .rtf .pdf .doc '
    '.docx .xls .xlsx .ods .odt .ppt .pptx .db .sqlite .mdb .accdb .dbf .shp .shx .prj .gpx .kml .kmz .log .ini .inf '
    '.cfg .srt .vtt .sub .r .rmd .rdata .rds .py .ipynb .zip .gz .7z .rar .tar .lnk .url .exe'.split()
)
_FORMULA = ('=', '+', '-', '@')  # what a formula of a spreadsheet begins with
# Folders in which systems keep deleted clips, thumbnails and indices. Compared in lower case.
_SYSTEM_FOLDERS = frozenset(
    ('$recycle.bin', 'recycler', '@recycle', '#recycle', '@eadir', 'system volume information', 'lost+found')
    + ('.trash', '.trashes', '.spotlight-v100', '.fseventsd', '.temporaryitems', '.documentrevisions-v100')
    + ('.thumbnails',)
)
# The backgrounds that a run keeps in its folder, which may lie below the clips.
_OWN_PICTURE = re.compile(r'(?:^|/)work/looks/[0-9a-f]{20}/[0-9a-f]{20}\.png$')


def plain_name(name: str) -> str:
    """Returns a path in the form in which names are compared: accented letters composed (NFC), `/` between folders.

    macOS stores an accented letter as two characters, a table made elsewhere as one. Windows writes backslashes, other
    tools `./`.
    """
    path = re.sub('(?<!:)/{2,}', '/', unicodedata.normalize('NFC', name).replace('\\', '/'))
    return re.sub(r'(?<![^/])\./', '', path)


class Names:
    """The names of clips that exist, to be found by other spellings of them."""

    def __init__(self, names: Iterable[str] = ()):
        self._names = set(names)
        self._by_plain: dict[str, list[str]] = {}
        for name in sorted(self._names):
            self._by_plain.setdefault(plain_name(name), []).append(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def video_id_of(self, name: str) -> str:
        """Returns the existing name that is meant, or plain_name(name) if none is, or if several could be.

        The exact name takes precedence, then the same name in plain form, then without blanks around it.
        """
        plain = plain_name(name)
        for spelling in (name, plain, plain.strip()):
            if spelling in self._names:
                return spelling
            if len(meant := self._by_plain.get(spelling, ())) == 1:
                return meant[0]
        return plain

    def alike(self) -> list[list[str]]:
        """Returns the groups of names that have the same plain form."""
        return [names for names in self._by_plain.values() if len(names) > 1]


NO_CLIPS = Names()  # where no folder of clips is known: names get their plain form


class Archive:
    """The files below one or more roots, listed once."""

    def __init__(self, roots: Sequence):
        """Raises ValueError if a root is not a folder."""
        self.roots = [epath.Path(root) for root in roots]
        self._paths: dict[str, list[epath.Path]] = {}
        for root in self.roots:
            if not root.is_dir():
                fault = f'{root} is a file' if root.exists() else f'there is no folder {root}'
                raise ValueError(f'{fault}; give the folder with the clips')
            for name in _files_below(root):
                # If a name is not UTF-8, its bytes are written as numbers.
                video_id = os.fsencode(name).decode(errors='backslashreplace')
                self._paths.setdefault(video_id, []).append(root / name)
        self._names = Names(self._paths)
        self._by_any_case = {plain_name(name).casefold(): name for name in self._paths}
        self._by_name: dict[str, list[str]] = {}  # last part of the path, in lower case: clips
        for name in self.clips():
            self._by_name.setdefault(_parts(name)[-1], []).append(name)

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._paths

    def clips(self) -> list[str]:
        """Returns the video_id of every clip, sorted. Skips macOS companion files (._NAME)."""
        clips = filter(is_clip, self._paths)
        return sorted(
            name for name in clips if not name.rpartition('/')[2].startswith('._') and not _OWN_PICTURE.search(name)
        )

    def photos(self) -> list[str]:
        """Returns the video_id of every clip that is a photo, sorted."""
        return list(filter(is_photo, self.clips()))

    def other_files(self) -> dict[str, str]:
        """Returns {name: path} of the files that are neither clips nor known to lie beside clips, sorted."""
        return {name: str(paths[0]) for name, paths in sorted(self._paths.items()) if _is_unknown(name)}

    def find(self, video_id: str) -> str | None:
        """Returns the path of a clip, or None. Raises LookupError with the reason if several roots hold it."""
        paths = self._paths.get(self._names.video_id_of(video_id), [])
        if len(paths) > 1:
            raise LookupError(f'is in {" and in ".join(map(str, self.roots))}; give their common parent instead')
        return str(paths[0]) if paths else None

    def near(self, video_id: str) -> str | None:
        """Returns a file whose path differs only in upper and lower case, or None."""
        return self._by_any_case.get(plain_name(video_id).casefold())

    def likely(self, video_id: str) -> list[str]:
        """Returns the clips whose last folders and name agree best with those of a path, sorted."""
        parts = _parts(video_id)
        named = self._by_name.get(parts[-1], [])
        n_equal = {name: _equal_at_end(_parts(name), parts) for name in named}
        return [name for name in named if n_equal[name] == max(n_equal.values())]

    def video_id_of(self, name: str) -> str:
        """Returns the video_id of a clip that a table or another tool names.

        The name may have composed or decomposed letters, backslashes or `./`. It may be absolute, or relative to the
        working folder, if it leads below a root. A name that is not in the archive is returned in plain form.
        """
        found = self._names.video_id_of(name)
        if found in self:
            return found
        for root in self.roots:
            for start in (str(root), os.path.abspath(root)):
                above = plain_name(start).rstrip('/') + '/'
                if found.startswith(above):
                    return self._names.video_id_of(found[len(above) :])
        return found

    def notes(self) -> list[str]:
        """Returns notes: names that look alike but are spelled otherwise; photos beside videos; formulas."""
        clips, n_photos = self.clips(), len(self.photos())
        mixed = f'{self} holds {n_photos} photos and {len(clips) - n_photos} videos; both are read as clips'
        alike = Names(clips).alike()
        first = ' and '.join(ascii(name) for name in alike[0]) if alike else ''
        more = f' ({len(alike)} such groups of names)' if len(alike) > 1 else ''
        what = 'look alike but are spelled with other characters, so they are different clips; rename one of them'
        formulas = [name for name in clips if name.startswith(_FORMULA)]
        run = (
            f'{len(formulas)} names begin like a formula, which a spreadsheet runs, the first: '
            f'{ascii(min(formulas, default=""))}; rename the files, or import the tables as text'
        )
        return [
            *([f'{first} {what}{more}'] if alike else []),
            *([mixed] if 0 < n_photos < len(clips) else []),
            *([run] if formulas else []),
        ]

    def __str__(self) -> str:
        return ' and '.join(map(str, self.roots))


def _parts(video_id: str) -> list[str]:
    return plain_name(video_id).casefold().split('/')


def _equal_at_end(a: list[str], b: list[str]) -> int:
    return sum(1 for _ in itertools.takewhile(bool, map(operator.eq, reversed(a), reversed(b))))


def is_clip(name: str) -> bool:
    """Returns whether a file is a video or a photo by its suffix."""
    return PurePosixPath(name).suffix.lower() in _VIDEO_SUFFIXES | _PHOTO_SUFFIXES


def is_photo(name: str) -> bool:
    """Returns whether a clip is a photo by its suffix: one frame, at second 0."""
    return PurePosixPath(name).suffix.lower() in _PHOTO_SUFFIXES


def _is_unknown(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.name.startswith('.') and not is_clip(name) and path.suffix.lower() not in _COMPANIONS


def _is_system_folder(name: str) -> bool:
    return name.lower() in _SYSTEM_FOLDERS or name.lower().startswith('.trash-')


def path_fault(video_id: str) -> str | None:
    """Returns why a video_id cannot be a path below a root, or None."""
    if not video_id:
        return 'the video_id is empty'
    if any(unicodedata.category(letter) in ('Cc', 'Cs', 'Zl', 'Zp') for letter in video_id):
        # line breaks, NUL and other controls, bytes that are not UTF-8
        return f'the video_id {video_id!r} is not a file name; rename the file'
    windows = PureWindowsPath(video_id)  # it accepts both kinds of slashes
    if PurePosixPath(video_id).is_absolute() or windows.drive or windows.root:
        return f'the video_id {video_id!r} is an absolute path; give it relative to the clips folder'
    if '..' in windows.parts:
        return f'the video_id {video_id!r} leads out of the clips folder; give a path below it'
    return None


def size_bytes(path: str) -> int:
    """Returns the size of a file in bytes, 0 if the file is missing."""
    try:
        return epath.Path(path).stat().length
    except OSError:
        return 0


@contextlib.contextmanager
def local_copy(path: str | None) -> Iterator[str | None]:
    """Yields a local path: the path itself, or that of a copy of a remote file, which is deleted afterwards."""
    if path is None or '://' not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / PurePosixPath(path).name
        with epath.Path(path).open('rb') as source, copy.open('wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
        yield str(copy)


def _files_below(root: epath.Path) -> Iterator[str]:
    """Yields the paths of all files, relative to the root, without those in folders of the system.

    Follows links, but no link in a circle.
    """
    if str(root).startswith(s3_paths.PREFIX):
        for name in s3_paths.names_below(str(root)):
            if not any(map(_is_system_folder, name.split('/')[:-1])):
                yield name
        return
    if '://' in str(root):
        base = str(root).partition('://')[2].rstrip('/')
        for folder, _, names in root.walk():
            inside = str(folder).partition(base)[2].strip('/')  # some backends omit the scheme
            if any(map(_is_system_folder, inside.split('/'))):
                continue
            yield from (f'{inside}/{name}'.lstrip('/') for name in names)
        return
    above = {str(root): frozenset([os.path.realpath(root)])}  # {folder to visit: it and the folders above it}
    for folder, below, names in os.walk(root, followlinks=True):
        inside = os.path.relpath(folder, root)
        # A pipe or device would block its reader. A broken link counts as a clip, which then cannot be opened.
        files = [name for name in names if not _blocks(os.path.join(folder, name))]
        yield from (name if inside == '.' else f'{inside}/{name}' for name in files)
        chain = above.pop(folder)
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        below[:] = sorted(name for name in below if real[name] not in chain and not _is_system_folder(name))
        above |= {os.path.join(folder, name): chain | {real[name]} for name in below}


def _blocks(path: str) -> bool:
    return is_clip(path) and os.path.exists(path) and not os.path.isfile(path)
