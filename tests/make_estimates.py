"""Writes folders like those of `chimp-distance estimate`, for tests of the page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = (
    'video_id,time,distance,distance_lower,distance_upper,spread,members,flags,status,bbox_x,bbox_y,bbox_width,bbox_height'
).split(',')
CLIP_COLUMNS = 'video_id,status,reason,seconds,duration_s,site,gamma,white_fraction'.split(',')


def write_estimates(folder, rows: list[dict], clips: list[dict], summary=None, options=None) -> Path:
    """Writes the folder and returns its path. By default members is 10, status is ok, and other cells are empty.

    The table has the column animal if a row has it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{'members': 10, 'flags': '', 'status': 'ok'} | row for row in rows]
    columns = [*COLUMNS[:2], 'animal', *COLUMNS[2:]] if any('animal' in row for row in rows) else COLUMNS
    pd.DataFrame(rows, columns=columns).to_csv(folder / 'distances.csv', index=False)
    clips = [{'status': 'ok', 'reason': ''} | clip for clip in clips]
    pd.DataFrame(clips, columns=CLIP_COLUMNS).to_csv(folder / 'clips.csv', index=False)
    (folder / 'summary.json').write_text(json.dumps({'device': 'cpu', 'coverage': 0.9} | (summary or {})))
    (folder / 'options.json').write_text(json.dumps(options or {}))
    return folder


def walks(seconds_by_clip: dict[str, int], seed: int = 0, boxes: bool = False) -> list[dict]:
    """Returns rows of walking animals, with intervals and spread; some have a flag, a correction or no distance."""
    random = np.random.default_rng(seed)
    rows = []
    for video_id, n in seconds_by_clip.items():
        path_m = np.clip(random.gamma(3, 2.5) + np.cumsum(random.normal(0, 0.5, n)), 0.6, 30)
        for time, distance in enumerate(path_m):
            width = distance * random.uniform(0.2, 0.5)
            row = {'video_id': video_id, 'time': time, 'distance': distance, 'spread': width / 2.2}
            row |= {'distance_lower': max(0, distance - width), 'distance_upper': distance + width * 1.3}
            chance = random.uniform()
            if chance < 0.03:
                row = {'video_id': video_id, 'time': time, 'status': 'the picture is damaged'}
            elif chance < 0.06:
                row |= {'status': 'corrected', 'distance_lower': np.nan, 'distance_upper': np.nan}
            elif chance < 0.13:
                row |= {'flags': 'wide_spread'}
            elif chance < 0.15:
                row |= {'flags': 'outside_training dark'}
            if boxes:
                row |= {'bbox_x': 0.3, 'bbox_y': 0.35, 'bbox_width': 0.25, 'bbox_height': 0.4}
            rows.append(row)
    return rows
