"""Finds the medium of a Camtrap DP package that each clip is."""

from urllib.parse import unquote, urlsplit

import pandas as pd

from data_prep.archive import plain_name

_NAMED = 5  # clips or lines that a message names


def media_of_clips(video_ids, media: pd.DataFrame, file: str) -> tuple[dict[str, dict], list[str]]:
    """Returns {video_id: {'mediaID', 'deploymentID', 'timestamp', 'line'}} and the clips that are not in the package.

    A clip is a medium if one path ends with the other, folder by folder: site_1/a.mp4 is filePath media/site_1/a.mp4.
    An equal path is preferred to a longer one. If no filePath fits, fileName is tried in the same way.
    media: media.csv as text, indexed by line. file: the name of media.csv in messages.
    Raises ValueError with the names if a clip fits two media, a medium fits two clips, or no clip fits any medium.
    """
    lookup = [_by_name(media[column]) for column in ('filePath', 'fileName') if column in media]
    lines: dict[str, int] = {}
    for video_id in video_ids:
        parts = _parts(video_id)
        fitting = next((fit for by_name in lookup if (fit := _fitting(parts, by_name))), [])
        if len(fitting) > 1:
            raise ValueError(
                f'{video_id} fits {len(fitting)} media ({file}, lines {", ".join(map(str, fitting[:_NAMED]))}); '
                'keep more folders of the filePath in the paths of the clips, so that each path fits one medium'
            )
        if fitting:
            lines[video_id] = fitting[0]
    clip_of: dict[int, str] = {}
    for video_id, line in lines.items():
        other = clip_of.setdefault(line, video_id)
        if other != video_id:
            raise ValueError(
                f'{file}:{line}: its filePath fits the clips {other} and {video_id}; write the filePath with its folder'
            )
    unknown = [video_id for video_id in video_ids if video_id not in lines]
    if unknown and not lines:
        raise ValueError(
            f'{file} has none of the clips ({", ".join(unknown[:_NAMED])}); '
            'its filePath must end like the path of a clip below the clips folder'
        )
    columns = ['mediaID', 'deploymentID', 'timestamp']
    about = media.loc[list(lines.values()), columns].to_dict('records')
    found = {video_id: {**cells, 'line': lines[video_id]} for video_id, cells in zip(lines, about, strict=True)}
    return found, unknown


def _by_name(paths: pd.Series) -> dict[str, list[tuple[list[str], int]]]:
    """Returns {file name: [(parts of the path, line)]}."""
    by_name: dict[str, list[tuple[list[str], int]]] = {}
    for line, path in paths.items():
        if parts := _parts(unquote(urlsplit(path).path) if '://' in path else path):
            by_name.setdefault(parts[-1], []).append((parts, line))
    return by_name


def _parts(path: str) -> list[str]:
    return [part for part in plain_name(path).split('/') if part not in ('', '.')]


def _fitting(parts: list[str], by_name: dict[str, list[tuple[list[str], int]]]) -> list[int]:
    """Returns the lines with an equal path; if there are none, the lines where one path ends with the other."""
    candidates = by_name.get(parts[-1], [])
    equal = [line for other, line in candidates if other == parts]
    return equal or [line for other, line in candidates if _ends_alike(parts, other)]


def _ends_alike(a: list[str], b: list[str]) -> bool:
    shared = min(len(a), len(b))
    return a[-shared:] == b[-shared:]
