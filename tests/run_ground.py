"""Runs chimp-distance estimate without members in a test: distances of boxes from the ground of their station."""

import json

import pandas as pd

from chimp_jax.commands import entry
from chimp_jax.ensemble.prediction_tables import SECOND

# A camera by the default prior: the foot of an animal at r metres is at 0.45 + 1.4 / r of the picture's height.
HORIZON, HEIGHT_M = 0.45, 1.4


def row_of(distance_m):
    return HORIZON + HEIGHT_M / distance_m


def box_at(distance_m, x=0.5, **more):
    """A box of MegaDetector whose foot point is at a distance, a fifth of the picture wide and high."""
    y = row_of(distance_m)
    return {'category': '1', 'conf': 0.9, 'bbox': [x - 0.1, y - 0.2, 0.2, 0.2]} | more


def estimate(folder, *more, out='out'):
    arguments = ['estimate', str(folder / 'clips'), '--out', str(folder / out), '--workers', '1', *map(str, more)]
    return entry.main(arguments)


def read(out):
    return pd.read_csv(out / 'distances.csv', keep_default_na=False, na_values={'distance': ['']}).set_index(SECOND)


def write_detections(path, images):
    content = {
        'info': {'format_version': '1.5'},
        'detection_categories': {'1': 'animal', '2': 'person'},
        'images': [
            {'file': name, 'frame_rate': 8, 'frames_processed': list(range(0, 32, 8)), 'detections': found}
            for name, found in images.items()
        ],
    }
    path.write_text(json.dumps(content))
