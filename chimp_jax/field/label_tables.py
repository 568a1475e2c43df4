"""Tables that a person types: video_id, time, distance. They are read like training labels, but strictly.

A training table may have bad rows, because thousands of good rows remain. In these short tables every row matters.
"""

import logging

import pandas as pd
from etils import epath

from chimp_jax.ensemble.prediction_tables import KEY, with_animal
from data_prep.archive import NO_CLIPS, Archive, Names
from data_prep.inputs.labels import read_targets

log = logging.getLogger(__name__)

_NAMED = 3  # texts that a message names


def read_label_table(
    path, names: Names | Archive = NO_CLIPS, may_be_empty: bool = False, animals_are_named: bool = False
) -> pd.DataFrame:
    """Reads a CSV -> KEY (time in whole seconds), distance (float, m), site ('' if unknown), row ('file:line'), box.

    box: x1, y1, x2, y2 as shares of the picture, or in pixels; NaN if unknown.
    Times are floored to the second, as in training; a note on the screen tells so. names: the clips that exist,
    which the table may spell otherwise. animals_are_named: as of read_targets.
    Raises ValueError, in one line with the rows, if a cell is not a number, is negative or NaN, a second has two rows,
    a clip has two sites, a path leaves the clips folder, or the table is empty.
    """
    path = epath.Path(path)
    targets = read_targets(path, names=names, animals_are_named=animals_are_named)
    bad = [f'{problem.row}: {problem.reason}' for problem in targets.problems]
    bad += [note for note in targets.notes if 'repeated rows' in note]
    if bad:
        raise ValueError(f'{path}: {named(bad)}; correct or remove these rows')
    for note in targets.notes:
        log.info('note: %s', note)
    rows = targets.rows.rename(columns={'time_s': 'time', 'distance_m': 'distance'})
    if rows.empty and not may_be_empty:
        raise ValueError(f'{path} has no row; write one for each known distance: video_id,time,distance')
    return with_animal(rows)[[*KEY, 'distance', 'site', 'row', 'box']]


def keyed(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows, indexed by KEY."""
    return rows.set_index(pd.MultiIndex.from_frame(with_animal(rows)[KEY]))


def named(texts: list[str]) -> str:
    """Returns the first few texts, and the number of the others."""
    more = len(texts) - _NAMED
    return '; '.join(texts[:_NAMED]) + (f'; and {more} more' if more > 0 else '')
