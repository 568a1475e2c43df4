"""Adds distances to a copy of the user's Camera Trap Data Package (Camtrap DP 1.0, Bubnicki et al. 2024).

The copy has one more observation for each distance. The user's deployments, media and observations do not change. In
the metadata, project.observationLevel gains "media" if it lacks it. Values for which the standard has no field are in
observationTags.
"""

import json
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.exports.camtrap_files import DESCRIPTOR, packed_as
from chimp_jax.field.exports.camtrap_owner import owner_says
from chimp_jax.field.exports.camtrap_package import Package, check_package, read_package, schema_names
from chimp_jax.field.exports.camtrap_rows import ID_PREFIX, METHOD, moment, observations_of, tags_of
from chimp_jax.field.exports.media_match import MediaTable, media_of_clips
from chimp_jax.field.exports.rows import checked_rows
from chimp_jax.field.status import OK
from data_prep.files import write_whole
from data_prep.inputs.tables import csv_text

_COLUMNS = ('distance_lower', 'distance_upper', 'flags', 'status', *BOX)
_NAMED = 5  # clips that a message names


class _Merged(NamedTuple):
    """A package with the new observations."""

    package: Package
    observations: str  # the text of observations.csv
    counts: dict  # of merge_camtrap_dp


def merge_camtrap_dp(
    rows: pd.DataFrame,
    package_dir,
    out_dir,
    field_of_view_deg: float | None = None,
    classified_at: str | None = None,
    media_table: MediaTable | None = None,
) -> dict:
    """Writes a copy of the package into out_dir, with one more row in observations.csv for each distance.

    rows: distances.csv; a column scientificName takes precedence over the owner's name. package_dir: the folder or the
    .zip of the user's package; None raises an error with the remedy.
    field_of_view_deg: the camera's horizontal field of view; the angle is written if a row also has a box.
    classified_at: the time of the estimate, ISO 8601 with time zone; None leaves classificationTimestamp empty.
    media_table: of read_media_table, None to match by names.
    Media that the owner classified as human, vehicle or blank gain no rows.
    The same input gives the same bytes. Rows of an earlier run are replaced; all other rows are kept.
    Returns the counts of rows added, kept, replaced and left out, the rows without a name because the owner gave
    several, and the clips that are not in the package.
    Raises ValueError with file, row and remedy, before anything is written.
    """
    merged = _merge(rows, package_dir, out_dir, field_of_view_deg, classified_at, media_table)
    _copy(merged.package, epath.Path(out_dir), merged.observations, _descriptor(merged))
    return merged.counts


def check_merge(
    video_ids: Iterable[str],
    package_dir,
    out_dir,
    field_of_view_deg: float | None = None,
    media_table: MediaTable | None = None,
) -> None:
    """Raises the ValueErrors of merge_camtrap_dp that do not depend on the distances, and one if no clip fits a medium.

    video_ids: of the clips that may get distances. Writes nothing.
    """
    names = list(video_ids)
    rows = pd.DataFrame({'video_id': names, 'time': 0, 'distance': 1.0, 'flags': '', 'status': OK})
    rows[['distance_lower', 'distance_upper', *BOX]] = math.nan
    merged = _merge(rows, package_dir, out_dir, field_of_view_deg, None, media_table)
    for name in merged.package.names:
        merged.package.files.read(name)  # else the copy could fail after the work
    if names and len(merged.counts['clips not in media.csv']) == len(names):
        file = merged.package.file('media') if media_table is None else media_table.file
        raise ValueError(
            f'{file} has none of the clips ({", ".join(names[:_NAMED])}); name the medium of each clip with '
            '--media_table, or let the folder of the clips be their deploymentID'
        )


def _merge(rows, package_dir, out_dir, field_of_view_deg, classified_at, media_table) -> _Merged:
    if package_dir is None:
        raise ValueError(
            'the format camtrap-dp needs your own package, with its media and deployments; '
            'give the folder of its datapackage.json or its .zip'
        )
    if field_of_view_deg is not None and not 0 < field_of_view_deg < 180:
        raise ValueError(f'a field of view of {field_of_view_deg} degrees is impossible; give one between 0 and 180')
    if classified_at is not None:
        moment(classified_at, 'classified_at')
    rows = checked_rows(rows, _COLUMNS)
    package = read_package(package_dir)
    _check_out_dir(package.files.path, epath.Path(out_dir))
    with_distance = rows[rows['distance'].notna()]
    names = with_distance['video_id'].unique()
    deployments = package.deployments['deploymentID']
    media, unknown = media_of_clips(names, package.media, package.file('media'), deployments, media_table)
    ours = _of_earlier_run(package)
    said = owner_says(package.known_observations()[~ours], media.values())
    known = with_distance[with_distance['video_id'].isin(list(media))]
    barred = known['video_id'].map(lambda name: said[media[name]['mediaID']].without_animal).astype(bool)
    added = observations_of(known[~barred], media, said, package.file('media'), field_of_view_deg, classified_at)
    header, lines = _merged_lines(package, ours, added)
    text = csv_text(header, lines)
    check_package(package, text)
    unnamed = [not row['scientificName'] and said[row['mediaID']].several_species for row in added]
    left_out = {
        'no distance': int(rows['distance'].isna().sum()),
        'clip not in media.csv': len(with_distance) - len(known),
        'medium without an animal': int(barred.sum()),
    }
    counts = {
        'observations added': len(added),
        'kept': int((~ours).sum()),
        'replaced': int(ours.sum()),
        'left out': {reason: n for reason, n in left_out.items() if n},
        'several species': sum(unnamed),
        'clips not in media.csv': unknown,
    }
    return _Merged(package, text, counts)


def _of_earlier_run(package: Package) -> np.ndarray:
    """Returns which of the package's observations an earlier run wrote."""
    table = package.observations
    begins = table['observationID'].str.startswith(ID_PREFIX).to_numpy(bool)
    tags = table.get('observationTags', pd.Series('', table.index))
    ours = begins & np.array([METHOD in tags_of(text) for text in tags], bool)
    if (begins & ~ours).any():
        line = table.index[int(np.argmax(begins & ~ours))]
        raise ValueError(
            f'{package.file("observations")}:{line}: the observationID {table.loc[line, "observationID"]!r} begins '
            f'like those of chimp_jax, but the row lacks the tag {METHOD}; rename it, or delete the row'
        )
    return ours


def _merged_lines(package: Package, ours: np.ndarray, added: list[dict]) -> tuple[list[str], list[list[str]]]:
    """Returns the header, the user's rows and then the new rows."""
    header = _with_missing(list(package.observations.columns))
    lines = package.observations[~ours].reindex(columns=header, fill_value='').values.tolist()
    return header, lines + [[row.get(name, '') for name in header] for row in added]


def _with_missing(names: list[str]) -> list[str]:
    """Returns the user's columns and the missing columns of the standard, each after its neighbour in the standard."""
    names, before = list(names), -1
    for name in schema_names('observations'):
        if name not in names:
            names.insert(before + 1, name)
        before = names.index(name)
    return names


def _check_out_dir(package_dir: epath.Path, out_dir: epath.Path) -> None:
    inside, here = (path.resolve() for path in (package_dir, out_dir))
    if here == inside or inside in here.parents or here in inside.parents:
        raise ValueError(f'{out_dir} overlaps your package {package_dir}; choose another output folder')


def _descriptor(merged: _Merged) -> bytes:
    """Returns the datapackage.json of the copy: the user's own, unless its observationLevel has to gain "media"."""
    own = merged.package.files.read(DESCRIPTOR)
    content = merged.package.descriptor
    project = content.get('project')
    levels = project.get('observationLevel') if isinstance(project, dict) else None
    if not merged.counts['observations added'] or not isinstance(levels, list) or 'media' in levels:
        return own
    changed = content | {'project': project | {'observationLevel': [*levels, 'media']}}
    return (json.dumps(changed, indent=2, ensure_ascii=False) + '\n').encode()


def _copy(package: Package, out_dir: epath.Path, observations: str, descriptor: bytes) -> None:
    path = package.paths['observations']
    new = {path: packed_as(package.files.read(path), observations.encode()), DESCRIPTOR: descriptor}
    for name in package.names:
        write_whole(out_dir / name, new[name] if name in new else package.files.read(name))
