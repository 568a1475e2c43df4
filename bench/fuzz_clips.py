"""Checks with thousands of damaged clips that the build survives and writes a row for each file.

    python -m bench.fuzz_clips --clips FOLDER --n 1000

FOLDER contains undamaged clips; clips of the demo's simulator are added. Each damaged file is a copy that is truncated,
bit-flipped, overwritten with zeros, spliced with another clip, or emptied.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.archive import is_clip, is_photo
from data_prep.inputs.tables import read_table
from data_prep.records import read_records

KINDS = ('truncated', 'bits flipped', 'zeroed', 'spliced', 'empty')
_SEEN_DIFFERENCE = 12.0  # a larger mean absolute difference of channel values means another picture


def damage(kind: str, content: bytes, other: bytes, draw: random.Random) -> bytes:
    """Returns a damaged copy of a clip's content. other: the clip to splice with."""
    start = draw.randrange(len(content))
    if kind == 'truncated':
        return content[:start]
    if kind == 'empty':
        return b''
    if kind == 'spliced':
        return content[:start] + other[draw.randrange(len(other)) :]
    damaged = bytearray(content)
    if kind == 'zeroed':
        end = min(len(content), start + draw.randrange(1, max(2, len(content) // 3)))
        damaged[start:end] = bytes(end - start)
    else:
        for _ in range(draw.choice([1, 10, 100, 1000])):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
    return bytes(damaged)


def make_files(sound: list[Path], folder: Path, n: int, seed: int) -> dict[str, tuple[str, Path]]:
    """Writes n damaged files below `folder` and returns {video_id: (kind, the undamaged clip)}."""
    draw = random.Random(seed)
    made = {}
    for number in range(n):
        # All empty files are the same, so only one in fifty is empty.
        kind = 'empty' if number % 50 == 0 else draw.choice(KINDS[:-1])
        source, other = draw.choice(sound), draw.choice(sound)
        name = f'{kind}/{number:04d}{source.suffix}'
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(damage(kind, source.read_bytes(), other.read_bytes(), draw))
        made[name] = kind, source
    return made


def build(clips: Path, out: Path, workers: int) -> tuple[int, str, float]:
    """Builds records and returns the exit code, the printed text and the seconds."""
    command = [sys.executable, '-m', 'data_prep.build', f'--clips_full={clips}', f'--out={out}', f'--workers={workers}']
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout, time.monotonic() - began


def frames(record) -> dict[int, np.ndarray]:
    """Returns the decoded frames of a record by second."""
    pictures = [np.asarray(Image.open(io.BytesIO(jpeg)).convert('RGB'), np.int16) for jpeg in record.frame_jpeg]
    return dict(zip(record.frame_time_s.tolist(), pictures, strict=True))


def changed_seconds(record, sound) -> set[int]:
    """Returns the seconds whose pictures differ from those of the undamaged clip."""
    expected = frames(sound)
    return {
        second
        for second, picture in frames(record).items()
        if second not in expected
        or picture.shape != expected[second].shape
        or abs(picture - expected[second]).mean() > _SEEN_DIFFERENCE
    }


def survey(made: dict[str, tuple[str, Path]], sound_out: Path, out: Path) -> dict:
    """Counts the files, and the kept targets whose pictures differ from the undamaged clip."""
    clips = read_table(out / 'clips.csv', ['video_id', 'doubtful']).set_index('video_id')
    problems = read_table(out / 'problems.csv', ['video_id', 'reason']).set_index('video_id')
    without_row = [name for name in made if name not in clips.index and name not in problems.index]
    sound = {Path(record.video_id).name: record for record in read_records(sound_out, 'full', 'test')}
    counts = Counter(what='')
    for record in read_records(out, 'full', 'test'):
        kind, source = made[record.video_id]
        kept = set(record.target_time_s.tolist())
        other = changed_seconds(record, sound[source.name])
        doubted = record.video_id in problems.index or clips.loc[record.video_id, 'doubtful'] != ''
        counts['targets kept'] += len(kept)
        counts['targets kept with another picture than the undamaged clip'] += len(other & kept)
        counts[f'{kind}: decoded, ' + ('doubted' if doubted else 'not doubted')] += 1
        counts[f'{kind}: not doubted, with such a target'] += bool(other & kept) and not doubted
    del counts['what']
    reasons = problems['reason'].str.replace(r'[\d.]+', 'N', regex=True).str.slice(0, 50)
    return {
        'files': len(made),
        'files without a row': without_row,
        'with a record': len(clips),
        'with a problem': len(problems),
        'counts': dict(sorted(counts.items())),
        'reasons': reasons.value_counts().head(12).to_dict(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clips', type=Path, nargs='*', default=[], help='folders of undamaged clips')
    parser.add_argument('--n', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--workers', type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        simulate = [sys.executable, '-m', 'data_prep.simulate', '--size=quick', f'--out={scratch}/simulated']
        subprocess.run(simulate, check=True, stdout=subprocess.DEVNULL)
        folders = [*options.clips, scratch / 'simulated' / 'down']
        files = [path for folder in folders for path in folder.rglob('*')]
        sound = sorted(path for path in files if is_clip(path.name) and not is_photo(path.name))
        (scratch / 'sound').mkdir()
        for path in sound:
            (scratch / 'sound' / path.name).write_bytes(path.read_bytes())
        made = make_files(sound, scratch / 'damaged', options.n, options.seed)
        build(scratch / 'sound', scratch / 'sound_out', options.workers)
        code, printed, seconds = build(scratch / 'damaged', scratch / 'out', options.workers)
        print(printed[-600:])
        if code != 3 or 'Traceback' in printed:
            raise SystemExit(f'the build ended with exit code {code}')
        result = {'seed': options.seed, 'seconds': round(seconds, 1)}
        result |= survey(made, scratch / 'sound_out', scratch / 'out')
    print(json.dumps(result, indent=2))
    if result['files without a row']:
        raise SystemExit('some files have no row')


if __name__ == '__main__':
    main()
