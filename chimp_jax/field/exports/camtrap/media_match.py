"""Finds the medium of a Camtrap DP package that each clip is."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pandas as pd

from data_prep.archive import is_photo, plain_name
from data_prep.inputs.tables import check_unique, read_table

MISSING = ('', 'NA', 'NaN', 'nan')  # the missing values of Camtrap DP
_NAMED = 5  # clips or lines that a message names
_KINDS = ('video', 'image')  # of media, as fileMediatype begins
_MARKS = '-_'  # between the prefix of a platform and the name on the card: 20221209135711-IMG_0001.MP4


class MediaTable(NamedTuple):
    """The user's table of the medium of each clip."""

    file: str
    media: Mapping[str, tuple[str, int]]  # {video_id: (mediaID, line)}


def read_media_table(path, clips: Collection[str], video_id_of: Callable[[str], str]) -> MediaTable:
    """Reads a CSV with the columns video_id and mediaID.

    clips: the clips in the folder. video_id_of: returns the video_id of a clip as a table writes it.
    Raises ValueError with file and row if the table cannot be read or has no row, a cell is empty, a clip or a medium
    has two rows, or a clip is not in the folder.
    """
    table = read_table(path, ['video_id', 'mediaID'])
    table = table.assign(video_id=table['video_id'].map(video_id_of), mediaID=table['mediaID'].str.strip())
    if table.empty:
        raise ValueError(f'{path} has no row; write one for each clip')
    known = set(clips)
    for line, video_id, media_id in table[['video_id', 'mediaID']].itertuples():
        if not video_id or media_id in MISSING:
            empty = 'mediaID' if video_id else 'video_id'
            raise ValueError(f'{path}:{line}: the {empty} is missing; fill it in or delete the row')
        if video_id not in known:
            raise ValueError(f'{path}:{line}: the clip {video_id!r} is not in the clips folder; correct its path')
    check_unique(table, ['video_id'], path)
    check_unique(table, ['mediaID'], path)
    media = zip(table['mediaID'], table.index, strict=True)
    return MediaTable(str(path), dict(zip(table['video_id'], media, strict=True)))


def media_of_clips(
    video_ids: Iterable[str],
    media: pd.DataFrame,
    file: str,
    deployments: Iterable[str] = (),
    table: MediaTable | None = None,
) -> tuple[dict[str, dict], list[str]]:
    """Returns {video_id: what is known of its medium} and the clips that are not in the package.

    Known are 'mediaID', 'deploymentID', 'timestamp', 'line', and 'by_name': whether the name of the file alone tells
    the medium, because no folder of the clip is in its path or is a deploymentID.
    With a table, only the table counts. Without one, a clip is the medium of `_Media.fitting`.
    media: media.csv as text, indexed by line, empty text for missing values. file: the name of media.csv in messages.
    deployments: all deploymentIDs of the package.
    Raises ValueError with the names if a clip fits two media, a medium fits two clips, or the table names a medium that
    is not in the package.
    """
    video_ids = list(video_ids)
    if table is None:
        media_by_path = _Media(media, video_ids, deployments)
        lines = _lines_by_name(video_ids, media_by_path, file)
        by_name = {name for name, line in lines.items() if media_by_path.only_name_fits(name, line)}
    else:
        lines, by_name = _lines_by_table(video_ids, media, file, table), set()
    about = media.loc[list(lines.values()), ['mediaID', 'deploymentID', 'timestamp']].to_dict('records')
    found = {
        video_id: {**cells, 'line': lines[video_id], 'by_name': video_id in by_name}
        for video_id, cells in zip(lines, about, strict=True)
    }
    return found, [video_id for video_id in video_ids if video_id not in lines]


def _lines_by_table(video_ids: list[str], media: pd.DataFrame, file: str, table: MediaTable) -> dict[str, int]:
    line_of = dict(zip(media['mediaID'], media.index, strict=True))
    for media_id, line in table.media.values():
        if media_id not in line_of:
            raise ValueError(f'{table.file}:{line}: the mediaID {media_id!r} is not in {file}; correct it')
    return {name: line_of[table.media[name][0]] for name in video_ids if name in table.media}


def _lines_by_name(video_ids: list[str], media: '_Media', file: str) -> dict[str, int]:
    fitting = {video_id: media.fitting(video_id) for video_id in video_ids}
    several = [video_id for video_id, lines in fitting.items() if len(lines) > 1]
    if several:
        lines = fitting[several[0]]
        more = f' (and {len(several) - 1} more clips fit several media)' if len(several) > 1 else ''
        raise ValueError(
            f'{several[0]} fits {len(lines)} media ({file}, lines {", ".join(map(str, lines[:_NAMED]))}){more}; '
            'name the medium of each clip with --media_table, or let the folder of the clips be their deploymentID'
        )
    lines = {video_id: found[0] for video_id, found in fitting.items() if found}
    clip_of: dict[int, str] = {}
    for video_id, line in lines.items():
        other = clip_of.setdefault(line, video_id)
        if other != video_id:
            raise ValueError(
                f'{file}:{line}: the medium fits the clips {other} and {video_id}; name the medium of each clip with '
                '--media_table, or let the folder of the clips be their deploymentID'
            )
    return lines


class _Form(NamedTuple):
    """A name by which a medium is looked for. kind: of the files that a name without suffix stands for, else ''."""

    name: str
    kind: str


class _Media:
    """The media of a package, to be found by the path of a clip."""

    def __init__(self, media: pd.DataFrame, video_ids: Iterable[str], deployments: Iterable[str]):
        self._deployment = {line: plain_name(name) for line, name in media['deploymentID'].items()}
        self._deployments = {*self._deployment.values(), *map(plain_name, deployments)}
        columns = [media[column] for column in ('filePath', 'fileName') if column in media]
        self._by_name = [_by_name(paths) for paths in columns]
        wanted = {form for video_id in video_ids for form in _forms(_parts(video_id)[-1])}
        types = media['fileMediatype'] if 'fileMediatype' in media else pd.Series('', media.index)
        kinds = types.str.partition('/')[0].to_dict()
        self._by_end: dict[_Form, list[int]] = {}
        for by_name in self._by_name:
            for name, places in by_name.items():
                for form in wanted.intersection(_ends(name)):
                    # A photo and a video of one card may have the same number.
                    lines = [line for _, line in places if not form.kind or form.kind == kinds[line]]
                    self._by_end.setdefault(form, []).extend(lines)

    def fitting(self, video_id: str) -> list[int]:
        """Returns the lines of the media that a clip may be.

        - One path ends with the other, folder by folder: site_1/a.mp4 is filePath media/site_1/a.mp4. An equal path is
          preferred to a longer one. If no filePath fits, fileName is tried in the same way.
        - Else, a folder of the clip is the deploymentID, and the name of the medium ends with the name of the clip
          after a mark. Upper and lower case do not count. If no name fits, the suffix may differ; a video stays a
          video, and a photo a photo.
        A clip in the folder of a deployment is no medium of another one, unless filePath and clip share a folder.
        """
        parts = _parts(video_id)
        deployments = self._deployments.intersection(parts[:-1])
        for by_name in self._by_name:
            lines = [
                line
                for line, n_shared in _ending_alike(parts, by_name)
                if n_shared > 1 or not deployments or self._deployment[line] in deployments
            ]
            own = [line for line in lines if self._deployment[line] in deployments]
            if lines:
                return own or lines
        for form in _forms(parts[-1]):
            lines = [line for line in self._by_end.get(form, ()) if self._deployment[line] in deployments]
            if lines:
                return list(dict.fromkeys(lines))
        return []

    def only_name_fits(self, video_id: str, line: int) -> bool:
        """Returns whether a clip lies in folders of which none is in a path of its medium or is a deploymentID."""
        parts = _parts(video_id)
        if len(parts) == 1 or self._deployments.intersection(parts[:-1]):
            return False
        places = [place for by_name in self._by_name for place in by_name.get(parts[-1], [])]
        return not any(found == line and other[-2:] == parts[-2:] for other, found in places)


def _by_name(paths: pd.Series) -> dict[str, list[tuple[list[str], int]]]:
    """Returns {file name: [(parts of the path, line)]}."""
    by_name: dict[str, list[tuple[list[str], int]]] = {}
    for line, path in paths.items():
        if parts := _parts(unquote(urlsplit(path).path) if '://' in path else path):
            by_name.setdefault(parts[-1], []).append((parts, line))
    return by_name


def _parts(path: str) -> list[str]:
    return [part for part in plain_name(path).split('/') if part not in ('', '.')]


def _forms(name: str) -> tuple[_Form, _Form]:
    """Returns the name of a clip in lower case, with and without its suffix."""
    name = name.casefold()
    return _Form(name, ''), _Form(PurePosixPath(name).stem, 'image' if is_photo(name) else 'video')


def _ends(name: str) -> set[_Form]:
    """Returns the forms of the name of a medium, and of what follows each mark in it."""
    starts = [0, *(k + 1 for k, letter in enumerate(name) if letter in _MARKS)]
    names = [name[start:].casefold() for start in starts if name[start:]]
    return {form for end in names for form in (_Form(end, ''), *(_Form(PurePosixPath(end).stem, k) for k in _KINDS))}


def _ending_alike(parts: list[str], by_name: dict[str, list[tuple[list[str], int]]]) -> list[tuple[int, int]]:
    """Returns (line, number of shared parts) of equal paths; if there are none, of paths that end with the other."""
    candidates = by_name.get(parts[-1], [])
    equal = [(line, len(parts)) for other, line in candidates if other == parts]
    shared = [(line, min(len(parts), len(other))) for other, line in candidates]
    alike = [other[-n:] == parts[-n:] for (other, _), (_, n) in zip(candidates, shared, strict=True)]
    return equal or [pair for pair, ends in zip(shared, alike, strict=True) if ends]
