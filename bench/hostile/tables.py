"""Tables and JSON files that are too deep, too large, or no tables: labels, detections, known distances, targets."""

import json
import random
import zipfile
from pathlib import Path

from bench.hostile.commands import Case
from bench.hostile.damage import KINDS, damage

_DEPTH = 100_000
_CELL = 2_000_000_000  # bytes; the file is sparse where its content is zeros
_NAMES = ('=cmd|"/C calc"!A0', '../../etc/passwd', '/etc/passwd', '\x00', 'a\nb', '<img src=x onerror=alert(1)>', "';x")
_NUMBERS = ('1e999', 'nan', '-inf', '9' * 5000, '0x10', '٣', '1_000', '=1+1', '1e-400', '--1', '', '１')


def make_cases(folder: Path, n: int, seed: int, port: int) -> list[Case]:
    """Writes n tables and JSON files, and returns the commands that read them."""
    draw = random.Random(seed)
    clips = folder / 'clips'
    clips.mkdir(parents=True, exist_ok=True)
    (clips / 'a.mp4').write_bytes(b'no clip')
    makers = [_labels, _damaged_labels, _wide, _long_cell, _not_text, _detections, _deep, _damaged_detections, _excel]
    made = []
    for number in range(n):
        make = _huge_cell if number == 0 else makers[number % len(makers)]
        path = (
            folder
            / f'{number:05d}{make.__name__}{".json" if make in (_detections, _deep, _damaged_detections) else ".csv"}'
        )
        path = make(path, draw) or path
        flag = '--detections' if path.suffix == '.json' else '--tables'
        call = ['build', f'{flag}={path}', f'--clips_full={clips}', f'--out={folder}/out_{number}', '--memory=4GB']
        if flag == '--tables' and number % 3 == 1:
            call = ['function', 'data_prep.inputs.tables:read_table', str(path), ['video_id', 'time', 'distance']]
        made.append(Case(f'{make.__name__}/{path.name}', call))
    return made


def _labels(path: Path, draw: random.Random) -> None:
    rows = ['video_id,time,distance,site']
    for _ in range(draw.randrange(1, 30)):
        cells = draw.choice([_NAMES, ('a.mp4',)]), _NUMBERS + ('1',), _NUMBERS + ('2.5',), _NAMES
        rows.append(','.join('"' + draw.choice(some).replace('"', '""') + '"' for some in cells))
    path.write_bytes('\n'.join(rows).encode(errors='surrogatepass'))


def _damaged_labels(path: Path, draw: random.Random) -> None:
    content = b'video_id,time,distance,site\n' + b'a.mp4,1,2.5,s\n' * 200
    path.write_bytes(damage(draw.choice(KINDS), content, b'\xff\xfe\0"' * 50, draw))


def _wide(path: Path, draw: random.Random) -> None:
    n = draw.choice([1000, 200_000])
    path.write_text(','.join(f'c{i}' for i in range(n)) + '\n' + ',' * (n - 1) + '\n')


def _long_cell(path: Path, draw: random.Random) -> None:
    quote = draw.choice(['"', ''])
    path.write_text(f'video_id,time,distance,site\n{quote}{"x" * draw.choice([131_073, 30_000_000])}')


def _huge_cell(path: Path, draw: random.Random) -> None:
    with path.open('wb') as file:
        file.write(b'video_id,time,distance,site\n"')
        file.truncate(_CELL)


def _not_text(path: Path, draw: random.Random) -> None:
    kinds = [
        b'\x89PNG\r\n\x1a\n' + bytes(500),
        b'\xff\xfev\0i\0',
        bytes(10**6),
        b'PK\x03\x04' + bytes(99),
        b'\r' * 10**6,
    ]
    path.write_bytes(draw.choice([*kinds, b'"' * 10**6, b'sep=;\n' * 1000, b'\xef\xbb\xbf' * 1000]))


def _excel(path: Path, draw: random.Random) -> Path:
    path = path.with_suffix('.xlsx')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('[Content_Types].xml', '<Types/>')
        file.writestr('xl/worksheets/sheet1.xml', b'\0' * draw.choice([100, 10**8]))
    return path


def _deep(path: Path, draw: random.Random) -> None:
    opening, closing = draw.choice([('[', ']'), ('{"images":', '}'), ('{"images":[', ']}')])
    path.write_text(opening * _DEPTH + draw.choice(['', '1']) + closing * draw.choice([_DEPTH, 0]))


def _detections(path: Path, draw: random.Random) -> None:
    values = [None, -1, 1e308, 10**400, 'x', [], {}, True, '\ud800', [[]], 10**9]

    def value(usual):
        return usual if draw.random() < 0.7 else draw.choice(values)

    found = [
        {'category': value('1'), 'conf': value(0.9), 'bbox': value([0.1, 0.1, 0.5, 0.5]), 'frame_number': value(3)}
        for _ in range(draw.randrange(4))
    ]
    image = {
        'file': value('a.mp4'),
        'frame_rate': value(10.0),
        'detections': value(found),
        'frames_processed': value([3]),
    }
    content = {
        'images': value([value(image)] * draw.randrange(1, 4)),
        'detection_categories': value({'1': value('animal')}),
        'info': value({'format_version': value('1.5'), 'detector_metadata': value({})}),
    }
    path.write_text(json.dumps(content))


def _damaged_detections(path: Path, draw: random.Random) -> None:
    _detections(path, draw)
    content = path.read_bytes()
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))
