"""A person's corrections of the estimates: corrections.csv, video_id,time[,animal],distance.

A correction without an animal means the only row of its second. The file is a table of labels too:
`python -m data_prep.build --tables corrections.csv` turns it into training data.
"""

from collections.abc import Container, Mapping

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import KEY, SECOND, with_animal
from chimp_jax.field.label_tables import named, read_label_table
from chimp_jax.field.pictures.palette import in_name_order
from chimp_jax.field.status import CORRECTED
from data_prep.archive import Archive, Names
from data_prep.inputs.tables import read_table

_NO_TARGET = 'no such target'


def read_corrections(path, names: Names | Archive) -> pd.DataFrame:
    """Returns the rows of read_label_table; the table may be empty. names: the clips that exist.

    Raises ValueError as read_label_table does, and if a row tells that there is no animal.
    """
    table = read_label_table(path, names, may_be_empty=True, animals_are_named=True)
    used = {int(row.rpartition(':')[2]) for row in table['row']}
    if absent := sorted({*read_table(path).index} - used):
        raise ValueError(
            f'{path}:{absent[0]}: the row tells that there is no animal; write its name, or remove the row'
        )
    return table


def name_animals(corrections: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the corrections with the animal of the row that each one means.

    rows: video_id, time and animal of the rows that exist. A correction without an animal means the only row of its
    second; it stays as it is if its second has no row. Raises ValueError with the corrections whose second has several
    rows, and with a second correction of one row.
    """
    there = rows.groupby(SECOND)['animal'].agg(list).to_dict()
    animals, unclear = [], []
    for correction in corrections.itertuples():
        of_second = there.get((correction.video_id, correction.time), [])
        animals.append(correction.animal or (of_second[0] if len(of_second) == 1 else ''))
        if not animals[-1] and of_second and '' not in of_second:
            unclear.append(f'{_place(correction)} has the animals {", ".join(in_name_order(of_second))}')
    if unclear:
        raise ValueError(f'{named(unclear)}; write into a column animal which one you mean')
    result = corrections.assign(animal=np.array(animals, object))
    again = result[result.duplicated(KEY)]
    if len(again):
        raise ValueError(f'a second distance for one row: {named([*map(_place, again.itertuples())])}; remove one')
    return result


def apply_corrections(rows: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """Returns a copy of rows (distances.csv) with the corrected distances.

    A corrected row has the status 'corrected', and its distance_lower and distance_upper are empty: a person's distance
    has no prediction interval. Raises ValueError as name_animals does, and with the corrections whose target is not in
    rows.
    """
    existing = pd.MultiIndex.from_frame(with_animal(rows)[KEY])
    meant = name_animals(with_animal(corrections), existing.to_frame(index=False))
    asked = pd.MultiIndex.from_frame(meant[KEY])
    check_rows_exist(meant, asked.isin(existing))
    result = rows.copy()
    corrected = existing.isin(asked)
    if corrected.any():
        new_m = pd.Series(meant['distance'].to_numpy(float), asked).reindex(existing[corrected])
        result.loc[corrected, 'distance'] = new_m.to_numpy()
        result.loc[corrected, ['distance_lower', 'distance_upper']] = np.nan
        result.loc[corrected, 'status'] = CORRECTED
    return result


def check_corrections(
    corrections: pd.DataFrame, planned: Mapping[str, Container[int]], animals: pd.DataFrame | None = None
) -> None:
    """Raises ValueError if apply_corrections will. Runs before the clips are decoded.

    planned: {video_id: the seconds that get a row}. animals: video_id, time and animal of the rows with a box; None
    without a detector.
    """
    corrections = with_animal(corrections)
    keys = zip(corrections['video_id'], corrections['time'], strict=True)
    known = np.array([time in planned.get(video_id, ()) for video_id, time in keys], bool)
    check_rows_exist(corrections, known)
    rows = pd.DataFrame(columns=KEY) if animals is None else animals[KEY]
    meant = name_animals(corrections, rows)
    named_rows = pd.MultiIndex.from_frame(rows)
    check_rows_exist(meant, (meant['animal'] == '') | pd.MultiIndex.from_frame(meant[KEY]).isin(named_rows))


def check_rows_exist(corrections: pd.DataFrame, known) -> None:
    """Raises ValueError with the corrections whose rows are not known, [n] bool."""
    corrections = with_animal(corrections)
    lost = corrections[~np.asarray(known, bool)]
    if len(lost):
        columns = 'video_id, time and animal' if (lost['animal'] != '').any() else 'video_id and time'
        places = named([*map(_place, lost.itertuples())])
        raise ValueError(f'{_NO_TARGET}: {places}; copy {columns} from distances.csv')


def _place(correction) -> str:
    animal = f', animal {correction.animal}' if correction.animal else ''
    return f'{correction.row} ({correction.video_id} at {correction.time} s{animal})'
