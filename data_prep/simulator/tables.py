"""The tables of simulated clips.

The tables are those of the challenge (train_labels, submission_format, train_metadata, test_metadata) and
test_distances.csv with the test distances, which a solver must not read. If the clips are tracked, animals.csv has the
truth about each animal, and detections.json what a detector finds.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from etils import epath

from data_prep.files import read_json, write_whole
from data_prep.simulator.notes import Seen, Sighting
from data_prep.simulator.plan import ClipPlan

SETTINGS = 'simulation.json'  # marks a folder of simulated clips
TAI_EDGES_M = (*range(9), 10, 12, 15)  # the park tai notes the midpoints of these intervals
LABEL = ['video_id', 'time', 'distance']
METADATA = ['video_id', 'time', 'x1', 'y1', 'x2', 'y2', 'probability', 'park', 'site_id']
ANIMALS = ['video_id', 'time_s', 'animal', 'x1', 'y1', 'x2', 'y2', 'distance', 'angle', 'speed', 'visible']


class FolderError(ValueError):
    """The folder holds clips of other settings."""


def round_label(distance_m: float, park: str) -> float:
    """Returns the distance in metres as observers of the park note it.

    tai: interval midpoints 0.5 ... 7.5, 9, 11, 13.5, then whole metres from 16.
    moyen_bafing: whole metres 1 ... 25.
    """
    whole_m = np.floor(distance_m + 0.5)
    if park != 'tai':
        return float(np.clip(whole_m, 1, 25))
    if distance_m >= TAI_EDGES_M[-1]:
        return float(np.clip(whole_m, 16, 25))
    k = int(np.searchsorted(TAI_EDGES_M, distance_m, side='right'))
    return (TAI_EDGES_M[k - 1] + TAI_EDGES_M[k]) / 2


def are_simulated(folders: Iterable) -> bool:
    """Returns whether there are folders, and each is a folder of data_prep.simulate or one of its streams."""
    folders = [epath.Path(folder) for folder in folders]
    return bool(folders) and all(
        (folder / SETTINGS).exists() or (folder.parent / SETTINGS).exists() for folder in folders
    )


def claim_folder(out: Path, settings: dict):
    """Writes the settings into the folder, and deletes unfinished files of a run that was killed.

    Raises FolderError if the folder holds clips of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / SETTINGS
    if read_json(path) not in (None, settings):
        raise FolderError(f'{path} has other settings; choose another --out or delete the folder')
    write_whole(path, json.dumps(settings))
    for unfinished in (*out.rglob('*.part'), *out.rglob('*.tmp')):
        unfinished.unlink()


def write_tables(out: Path, plans: list[ClipPlan], seen: dict[str, list[Sighting]], named: bool = False):
    """Writes five CSV files, sorted by clip, time and animal.

    seen: {video_id: sightings}. named: the tables have the column `animal`.
    """
    rows = []
    for plan in plans:
        park = 'moyen_bafing' if plan.codec == 'libx264' else 'tai'
        for sighting in seen[plan.video_id]:
            place = (*(sighting.box or [None] * 4), sighting.probability, park, plan.site_id, sighting.animal)
            noted_m = round_label(sighting.distance_m, park)
            rows.append((plan.split, plan.video_id, sighting.time_s, noted_m, *place))
    table = pd.DataFrame(rows, columns=['split', *LABEL, *METADATA[2:], 'animal'])
    table = table.sort_values(['video_id', 'time', 'animal'])
    label, metadata = ([*names[:2], *(['animal'] if named else []), *names[2:]] for names in (LABEL, METADATA))
    train, test = (table[table.split == split] for split in ('train', 'test'))
    files = {
        'train_labels': train[label],
        'train_metadata': train[metadata],
        'submission_format': test[label].assign(distance=1.0),
        'test_metadata': test[metadata],
        'test_distances': test[label],
    }
    for name, part in files.items():
        write_whole(out / f'{name}.csv', part.to_csv(index=False))


def write_truth(out: Path, plans: list[ClipPlan], seen: dict[str, Seen]):
    """Writes animals.csv: each animal two times a second, visible or not. Distances in m, angles in degrees, m/s."""
    rows = [
        (
            video_id,
            moment.time_s,
            moment.animal,
            *(moment.box or [None] * 4),
            *(round(value, 4) for value in (moment.distance_m, moment.angle_deg, moment.speed_m_s)),
            'yes' if moment.visible else 'no',
        )
        for video_id in sorted(plan.video_id for plan in plans)
        for moment in seen[video_id].moments
    ]
    write_whole(out / 'animals.csv', pd.DataFrame(rows, columns=ANIMALS).to_csv(index=False))


def write_detections(out: Path, plans: list[ClipPlan], seen: dict[str, Seen]):
    """Writes detections.json in MegaDetector's format: two pictures a second, boxes without names."""
    images = []
    for plan in sorted(plans, key=lambda plan: plan.video_id):
        moments = seen[plan.video_id].moments
        found = sorted((m.frame_number, -m.confidence, m.found) for m in moments if m.found)
        detections = [
            {
                'category': '1',
                'conf': -confidence,
                'bbox': [x1, y1, round(x2 - x1, 6), round(y2 - y1, 6)],
                'frame_number': frame_number,
            }
            for frame_number, confidence, (x1, y1, x2, y2) in found
        ]
        images.append(
            {
                'file': plan.video_id,
                'frame_rate': float(plan.frame_rate),
                'frames_processed': sorted({moment.frame_number for moment in moments}),
                'detections': detections,
            }
        )
    content = {
        'info': {'format_version': '1.5', 'detector': 'data_prep.simulate'},
        'detection_categories': {'1': 'animal', '2': 'person', '3': 'vehicle'},
        'images': images,
    }
    write_whole(out / 'detections.json', json.dumps(content, indent=1))
