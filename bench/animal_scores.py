"""Scores the distance of each animal on simulated clips of unseen sites: python -m bench.animal_scores FOLDER

FOLDER (demo/animals) has clips, data and runs: simulated clips with several animals, their records, and members with a
region branch. --plain names the members of the published model, which give all animals of a second one distance.
Tracks and speeds are those of bench/track_scores.py on the same clips. Writes FOLDER/scores.csv, a row for each animal
and labelled second, and FOLDER/scores.json.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bench.track_scores import measure_speeds, read_clips, score_clips
from chimp_jax import runtime
from chimp_jax.ensemble.distances import clamp_distance, mae
from chimp_jax.ensemble.prediction_tables import KEY, SECOND
from chimp_jax.members import Member, find_members
from chimp_jax.panel import Panel
from chimp_jax.predict import predict_records
from data_prep.files import write_whole
from data_prep.inputs.tables import numbers_of, read_table
from data_prep.progress import Progress
from data_prep.records import Record, read_records

APART_TIMES = 1.3  # two animals are at different distances if one is this many times as far as the other


def next_animal(record: Record) -> dict[str, str]:
    """Returns, for each animal of a clip, the one whose boxes it gets if boxes are exchanged: in a circle of names."""
    names = sorted(set(record.target_animal) | set(record.box_animal) - {''})
    return dict(zip(names, names[1:] + names[:1], strict=True))


def exchange_boxes(record: Record) -> Record:
    """Returns the record in which each animal has the boxes of the next one. One animal keeps its boxes."""
    giver = next_animal(record)
    taker = {name: animal for animal, name in giver.items()}
    targets = list(zip(record.target_time_s.tolist(), record.target_animal, strict=True))
    place = {key: number for number, key in enumerate(targets)}
    nothing = len(targets)
    of_giver = [place.get((time_s, giver[animal]), nothing) for time_s, animal in targets]
    boxes = np.concatenate([record.target_box, np.full((1, 4), np.nan, np.float32)])
    names = [taker.get(name, name) for name in record.box_animal]
    # Boxes are sorted by time, animal and falling confidence.
    order = np.lexsort((-record.box_confidence, np.array(names, str), record.box_time_s))
    return dataclasses.replace(
        record,
        target_box=boxes[of_giver],
        box_time_s=record.box_time_s[order],
        box=record.box[order],
        box_confidence=record.box_confidence[order],
        box_animal=[names[k] for k in order],
    )


def targets_of(records: Sequence[Record]) -> pd.DataFrame:
    """Returns KEY of all targets, `has_box`, and `other`: whose box the animal gets by exchange_boxes, or ''."""
    rows = []
    for record in records:
        giver = next_animal(record)
        has_box = np.isfinite(record.target_box).all(1)
        for time_s, animal, found in zip(record.target_time_s.tolist(), record.target_animal, has_box, strict=True):
            rows.append((record.video_id, time_s, animal, bool(found), giver[animal] if len(giver) > 1 else ''))
    return pd.DataFrame(rows, columns=[*KEY, 'has_box', 'other'])


def summarize(rows: pd.DataFrame) -> dict[str, float]:
    """Returns the errors per animal in metres, and the share of animals whose distance follows an exchange of boxes.

    rows: KEY, true, distance, copied, exchanged (metres), has_box, other. Only animals with a box count, as in
    distances.csv. `one` and `many`: seconds with one animal in view, and with more, found by the detector or not.
    swap_share: of the animals that got the box of another, at least APART_TIMES farther or nearer in the same second,
    the share whose distance changed towards the other's.
    """
    in_view = rows.groupby(SECOND)['animal'].transform('size')
    one, many = (rows[rows['has_box'] & chosen] for chosen in (in_view == 1, in_view > 1))
    others = many[[*KEY, 'true']].rename(columns={'animal': 'other', 'true': 'true_other'})
    pairs = many.merge(others, on=[*SECOND, 'other'])
    times = np.maximum(pairs['true'], pairs['true_other']) / np.minimum(pairs['true'], pairs['true_other'])
    pairs = pairs[times >= APART_TIMES]
    towards = (pairs['exchanged'] - pairs['distance']) * (pairs['true_other'] - pairs['true']) > 0
    return {
        'mae_one_m': mae(one['distance'], one['true']),
        'mae_many_m': mae(many['distance'], many['true']),
        'mae_copied_m': mae(many['copied'], many['true']),
        'swap_share': float(towards.mean()),
        'n_one': len(one),
        'n_many': len(many),
        'n_exchanged': len(pairs),
        'n_without_box': int((~rows['has_box']).sum()),
    }


def read_truth(clips: Path) -> pd.DataFrame:
    """Reads KEY and `true` (metres) of the whole seconds in animals.csv."""
    path = clips / 'animals.csv'
    table = read_table(path, required=['video_id', 'time_s', 'animal', 'distance'], numbers=['time_s', 'distance'])
    table = table.assign(time=numbers_of(table, 'time_s', path), true=numbers_of(table, 'distance', path))
    return table[table['time'] % 1 == 0].astype({'time': int})[[*KEY, 'true']]


def predict(members: Sequence[Member], records: Sequence[Record], parts: Path, panel: Panel) -> pd.Series:
    """Returns the mean distance of the members for each target of the records, in metres, indexed by KEY."""

    def read(stream: str) -> Iterator[Record]:
        return iter(records)

    with Progress('predict', len(records), work=len(records) * len(members)) as progress:
        found = predict_records(members, read, parts, panel, progress).members(augmented=False)
    return pd.Series(clamp_distance(found.mean(axis=1).to_numpy()), found.index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='has clips, data and runs')
    parser.add_argument('--plain', type=Path, required=True, help='members of the published model: RUNS')
    options = parser.parse_args()
    runtime.quiet_tensorflow()
    runtime.start_logging()
    members = find_members(options.folder / 'runs')
    recipe, stream = members[0].recipe, members[0].config.data.stream
    plain = [member for member in find_members(options.plain) if member.recipe == recipe]
    records = list(read_records(options.folder / 'data', stream, 'test'))
    panel, parts = Panel(), options.folder / 'scores.parts'
    rows = targets_of(records).set_index(KEY)
    rows['distance'] = predict(members, records, parts, panel)
    rows['exchanged'] = predict(members, [exchange_boxes(record) for record in records], parts, panel)
    rows['copied'] = predict(plain, records, parts, panel)
    rows = rows.reset_index().merge(read_truth(options.folder / 'clips'), on=KEY, validate='1:1')
    walks = read_clips(options.folder / 'clips')
    tracks, speeds = score_clips(walks), measure_speeds(walks, 1.0)
    scores = summarize(rows) | {'idf1': tracks['idf1'], 'speed_error': speeds['error']}
    write_whole(options.folder / 'scores.csv', rows.to_csv(index=False))
    write_whole(options.folder / 'scores.json', json.dumps(scores, indent=2) + '\n')
    print(json.dumps(scores, indent=2))


if __name__ == '__main__':
    main()
