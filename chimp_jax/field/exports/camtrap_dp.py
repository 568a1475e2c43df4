"""Adds distances to a copy of the user's Camera Trap Data Package (Camtrap DP 1.0, Bubnicki et al. 2024).

The copy has one more observation for each animal and second, and on request one for each track. The user's
deployments, media and observations do not change. In datapackage.json changes only what would no longer be true.
Values for which the standard has no field are in observationTags.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.field.exports.camtrap.descriptor import text_with, with_observations
from chimp_jax.field.exports.camtrap.media_match import MediaTable, media_of_clips
from chimp_jax.field.exports.camtrap.observations import (
    ID_PREFIX,
    METHOD,
    Context,
    Followed,
    count_events,
    events_of,
    moment,
    observations_of,
    tags_of,
)
from chimp_jax.field.exports.camtrap.owner import Said, owner_says
from chimp_jax.field.exports.camtrap.package import Package, read_package, schema_names
from chimp_jax.field.exports.camtrap.package_files import DESCRIPTOR, packed_as
from chimp_jax.field.exports.rows import checked_rows
from chimp_jax.field.status import OK
from data_prep.files import write_whole
from data_prep.inputs.categories import scientific_names as mapped_names
from data_prep.inputs.tables import csv_text

_COLUMNS = ('distance_lower', 'distance_upper', 'flags', 'status', *BOX)
MOST_ROWS = 1_000_000  # frictionless keeps the keys of a table in memory
_NAMED = 5  # clips that a message names


class _Merged(NamedTuple):
    """A package with the new observations."""

    package: Package
    observations: str  # the text of observations.csv
    added: list[dict[str, str]]  # the new observations
    counts: dict  # of merge_camtrap_dp


def merge_camtrap_dp(
    pieces: Iterable[pd.DataFrame],
    package_dir,
    out_dir,
    classified_at: str | None = None,
    media_table: MediaTable | None = None,
    scientific_names: Mapping[str, str] | None = None,
    tracks: Mapping[tuple[str, str], Followed] | None = None,
    track_events: bool = False,
    coverage: float | None = None,
) -> dict:
    """Writes a copy of the package into out_dir, with one more row in observations.csv for each distance.

    pieces: the rows of distances.csv, at most MOST_ROWS. package_dir: the folder or the .zip of the user's package;
    None raises an error with the remedy. classified_at: the time of the estimate, ISO 8601 with time zone; None leaves
    classificationTimestamp empty. media_table: of read_media_table, None to match by names.
    scientific_names: {label in lower case: scientific name} of the user, for the column `label` of rows. The name of a
    row's label takes precedence over the owner's name. The owner's name takes precedence over the name of `animal`.
    tracks: {(video_id, animal): its speed}. track_events: adds an event-based observation for each track. coverage: of
    the intervals.
    Media that the owner classified as human, vehicle or blank gain no rows.
    The same input gives the same bytes. Rows of an earlier run are replaced; all other rows are kept.
    Returns the counts of rows added, kept, replaced and left out, the rows without a name because the owner gave
    several, the clips that are not in the package or of which the name alone fits, and the faults and changes of
    datapackage.json.
    Raises ValueError with file, row and remedy, before anything is written.
    """
    rows, names = _all_rows(pieces), scientific_names or {}
    merged = _merge(rows, package_dir, out_dir, classified_at, media_table, names, tracks or {}, track_events, coverage)
    return merged.counts | {'changes of datapackage.json': _copy(merged, epath.Path(out_dir))}


def _all_rows(pieces: Iterable[pd.DataFrame]) -> pd.DataFrame:
    parts, n_rows = [], 0
    for rows in pieces:
        n_rows += len(rows)
        if n_rows > MOST_ROWS:
            raise ValueError(
                f'--format camtrap-dp: the result has more than {MOST_ROWS:,} rows, and a package of this size cannot '
                'be checked against the standard; make a package for some of the deployments, and run estimate on the '
                'clips of these'
            )
        parts.append(rows)
    return pd.concat(parts)


def check_view(theta_deg: float | None) -> None:
    """Raises ValueError if an angle of view gives no angle of a box: that of a pinhole camera is below 180 degrees."""
    if theta_deg is not None and not 0 < theta_deg < 180:
        raise ValueError(f'an angle of view of {theta_deg:g} degrees has no angles of boxes; give one below 180')


def check_merge(video_ids: Iterable[str], package_dir, out_dir, media_table: MediaTable | None = None) -> None:
    """Raises the ValueErrors of merge_camtrap_dp that do not depend on the distances, and one if no clip fits a medium.

    video_ids: of the clips that may get distances. Writes nothing.
    """
    names = list(video_ids)
    rows = pd.DataFrame({'video_id': names, 'time': 0, 'distance': 1.0, 'flags': '', 'status': OK})
    rows[['distance_lower', 'distance_upper', *BOX]] = math.nan
    merged = _merge(rows, package_dir, out_dir, None, media_table, {}, {}, False, None)
    for name in merged.package.names:
        merged.package.files.read(name)  # else the copy could fail after the work
    if names and len(merged.counts['clips not in media.csv']) == len(names):
        file = merged.package.file('media') if media_table is None else media_table.file
        raise ValueError(
            f'{file} has none of the clips ({", ".join(names[:_NAMED])}); name the medium of each clip with '
            '--media_table, or let the folder of the clips be their deploymentID'
        )


def _merge(
    rows, package_dir, out_dir, classified_at, media_table, scientific_names, tracks, track_events, coverage
) -> _Merged:
    # The import of frictionless takes as long as that of pandas, and most runs write no Camtrap DP.
    from chimp_jax.field.exports.camtrap.check import check_package, descriptor_faults

    if package_dir is None:
        raise ValueError(
            'the format camtrap-dp needs your own package, with its media and deployments; '
            'give the folder of its datapackage.json or its .zip'
        )
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
    known = rows[rows['video_id'].isin(list(media))]
    barred = known['video_id'].map(lambda name: said[media[name]['mediaID']].without_animal).astype(bool)
    named = known[~barred]
    named = named.assign(scientificName=_names(named, media, said, scientific_names))
    context = Context(media, said, package.file('media'), tracks, classified_at or '', track_events, coverage)
    added = observations_of(named[named['distance'].notna()], context)
    events = events_of(named, context) if track_events else []
    header, lines = _merged_lines(package, ours, added + events)
    text = csv_text(header, lines)
    check_package(package, text)
    unnamed = [not row['scientificName'] and said[row['mediaID']].several_species for row in added]
    left_out = {
        'no distance': int(rows['distance'].isna().sum()),
        'clip not in media.csv': int((~with_distance['video_id'].isin(list(media))).sum()),
        'medium without an animal': int((barred & known['distance'].notna()).sum()),
    }
    counts = {
        'observations added': len(added),
        'kept': int((~ours).sum()),
        'replaced': int(ours.sum()),
        'left out': {reason: n for reason, n in left_out.items() if n},
        'several species': sum(unnamed),
        'clips not in media.csv': unknown,
        'clips matched by their name alone': [name for name, about in media.items() if about['by_name']],
        'faults of datapackage.json': descriptor_faults(package),
    }
    if track_events:
        counts |= count_events(named, context)
    return _Merged(package, text, added + events, counts)


def _names(
    rows: pd.DataFrame, media: Mapping[str, dict], said: Mapping[str, Said], names: Mapping[str, str]
) -> list[str]:
    """Returns the scientific name of each row: of its label, or else of its medium, or else of `animal`."""
    labels = [label.strip() if isinstance(label, str) else '' for label in rows.get('label', [''] * len(rows))]
    owners = [said[media[video_id]['mediaID']] for video_id in rows['video_id']]
    chosen = []
    for label, name, owner in zip(labels, mapped_names(labels, names), owners, strict=True):
        is_known = owner.species or owner.several_species
        chosen.append(owner.species if is_known and not (label and name) else name)
    return chosen


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
    header, empty = _with_missing(list(package.observations.columns)), package.missing_value('observations')
    lines = package.observations[~ours].reindex(columns=header, fill_value=empty).values.tolist()
    return header, lines + [[row.get(name) or empty for name in header] for row in added]


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


def _copy(merged: _Merged, out_dir: epath.Path) -> list[str]:
    """Writes the package. Returns what changed in datapackage.json."""
    package, path = merged.package, merged.package.paths['observations']
    data = packed_as(package.files.read(path), merged.observations.encode())
    descriptor, changes = package.files.read(DESCRIPTOR), []
    if merged.added:
        changed, changes = with_observations(package.descriptor, merged.added, data)
        mark = b'\xef\xbb\xbf' if descriptor.startswith(b'\xef\xbb\xbf') else b''
        descriptor = mark + text_with(descriptor.decode('utf-8-sig'), package.descriptor, changed).encode()
    new = {path: data, DESCRIPTOR: descriptor}
    for name in package.names:
        write_whole(out_dir / name, new[name] if name in new else package.files.read(name))
    return changes
