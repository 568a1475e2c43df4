"""Records with spliced and truncated JPEGs, as a disk or a stranger may give them: prediction tells the clip."""

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from bench.hostile.commands import Case, run_cases
from bench.hostile.damage import KINDS, damage
from bench.hostile.sandbox import ROOT, Sandbox
from data_prep.records import Record, write_records

RECIPE = 'full-a2p50-f7s1'
_PER_SET = 10


def write_members(sandbox: Sandbox) -> Path:
    """Returns the folder of a member with random weights that reads small frames."""
    runs = sandbox.folder.parent / 'runs'  # of all suites
    command = [sys.executable, '-m', 'bench.random_members', f'--runs={runs}', '--recipes', RECIPE, '--size_px=32']
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return runs


def run_records(sandbox: Sandbox, n: int, seed: int) -> dict:
    """Scores data sets of ten records each, which hold damaged JPEGs. Returns counts and faults."""
    draw = random.Random(seed)
    runs, cases = write_members(sandbox), []
    for number in range(max(1, n // _PER_SET)):
        folder = sandbox.folder / f'records_{number}'
        made = {f'{k}.mp4': _record(f'{k}.mp4', draw, damaged=k % 3 == 0) for k in range(_PER_SET)}
        for stream in ('down', 'full'):
            write_records({'test': [*made]}, made.__getitem__, folder, stream)
        out = f'{folder}/predictions.csv'
        call = ['score', '--members', str(runs), '--records', str(folder), '--out', out, '--weights', 'mean']
        cases.append(Case(f'records_{number}', [*call, '--details']))
    rows = run_cases(sandbox, cases)
    codes = [row['code'] for row in rows]
    return {
        'files': len(cases) * _PER_SET,
        'refused data sets': codes.count(1),
        'scored data sets': codes.count(0) + codes.count(3),
        'reasons': sorted({row['printed'].strip()[-200:] for row in rows if row['code'] == 1})[:5],
        'faults': [f'{row["name"]}: {fault}' for row in rows for fault in row['faults']],
    }


def _jpeg(draw: random.Random, size_px: int = 64) -> bytes:
    picture = np.random.default_rng(draw.randrange(1 << 30)).integers(0, 255, (8, 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(picture).resize((size_px, size_px)).save(content, 'JPEG')
    return content.getvalue()


def _record(name: str, draw: random.Random, damaged: bool) -> Record:
    jpegs = [_jpeg(draw) for _ in range(4)]
    if damaged:
        place = draw.randrange(4)
        jpegs[place] = draw.choice(
            [
                damage(draw.choice(KINDS), jpegs[place], jpegs[0], draw),
                b'',
                jpegs[place][: len(jpegs[place]) // 2],
                _claims_large(jpegs[place]),
                b'GIF89a' + bytes(100),
            ]
        )
    empty = np.zeros((0, 4), np.float32)
    return Record(
        video_id=name,
        frame_jpeg=jpegs,
        frame_time_s=np.arange(4, dtype=np.int32),
        target_time_s=np.arange(4, dtype=np.int32),
        target_distance_m=np.full(4, np.nan, np.float32),
        target_box=np.full((4, 4), np.nan, np.float32),
        target_animal=[''] * 4,
        box_time_s=empty[:, 0],
        box=empty,
        box_confidence=empty[:, 0],
        box_animal=[],
        site='',
        park='',
        duration_s=4.0,
        height_px=64,
        width_px=64,
        frame_rate=1.0,
        white_fraction=0.0,
        gamma=False,
    )


def _claims_large(jpeg: bytes) -> bytes:
    """Returns a JPEG whose header claims 65,500 x 65,500 pixels."""
    place = jpeg.index(b'\xff\xc0') + 5
    return jpeg[:place] + b'\xff\xdc\xff\xdc' + jpeg[place + 4 :]
