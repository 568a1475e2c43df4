"""Packages with paths out of their folder, links, bombs and damaged lists: members (.zip) and Camtrap DP."""

import hashlib
import json
import random
import stat
import zipfile
from pathlib import Path

from bench.hostile.commands import Case
from bench.hostile.damage import KINDS, damage

_READ = 'bench.hostile.packages:read_camtrap'
_OUTSIDE = ('../../outside', '/tmp/hostile_was_here', '..\\..\\outside', 'a/../../../outside', 'C:\\outside', '~/x', '')
_TABLES = ('deployments', 'media', 'observations')
_URL = 'https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/'


def make_cases(folder: Path, n: int, seed: int, port: int) -> list[Case]:
    """Writes n packages, and returns the commands that read them."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    makers = [_members_outside, _members_link, _members_bomb, _members_manifest, _members_damaged, _members_config]
    makers += [_camtrap_outside, _camtrap_link, _camtrap_bomb, _camtrap_deep, _camtrap_damaged, _camtrap_descriptor]
    made = []
    for number in range(n):
        make = makers[number % len(makers)]
        path = folder / f'{number:05d}{make.__name__}.zip'
        make(path, draw, port)
        if 'camtrap' in make.__name__:
            call = ['function', _READ, str(path)]
        else:
            call = ['unpack', str(path), '--out', str(folder / f'out_{number}' / 'deep')]
        made.append(Case(f'{make.__name__}/{path.name}', call))
    return made


def read_camtrap(path: str) -> None:
    """Reads and checks a Camtrap DP as `estimate --camtrap_package` does."""
    from chimp_jax.field.exports.camtrap import check, package

    check.check_package(package.read_package(path))


def _zip(
    path: Path, entries: dict[str, bytes], links: tuple[str, ...] = (), method: int = zipfile.ZIP_DEFLATED
) -> None:
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name or 'x')
            info.filename = name
            info.compress_type = method
            kind = stat.S_IFLNK if name in links else stat.S_IFREG
            info.external_attr = (kind | 0o777) << 16
            file.writestr(info, content)


def _members(more: dict[str, bytes], **changes) -> dict[str, bytes]:
    """Returns the entries of a package of one member, whose weights fit nothing."""
    entries = {
        'full-a4p50-f7s1/config.json': b'{"recipe": "full-a4p50-f7s1"}',
        'full-a4p50-f7s1/fold_0/member.json': b'{"recipe": "full-a4p50-f7s1", "fold": 0}',
        'full-a4p50-f7s1/fold_0/weights.safetensors': b'\x02\0\0\0\0\0\0\0{}',
        **more,
    }
    listed = {name: {'bytes': len(c), 'sha256': hashlib.sha256(c).hexdigest()} for name, c in entries.items()}
    manifest = {'format': 'chimp_jax members', 'version': 1, 'entries': listed, **changes}
    return {'manifest.json': json.dumps(manifest).encode(), **entries}


def _members_outside(path: Path, draw: random.Random, port: int) -> None:
    _zip(path, _members({draw.choice(_OUTSIDE): b'x'}))


def _members_link(path: Path, draw: random.Random, port: int) -> None:
    name = draw.choice(['full-a4p50-f7s1/clips.csv', 'full-a4p50-f7s1/config.json', 'manifest.json'])
    _zip(path, _members({'full-a4p50-f7s1/clips.csv': b'/etc/passwd'}), links=(name,))


def _members_bomb(path: Path, draw: random.Random, port: int) -> None:
    name = draw.choice(['full-a4p50-f7s1/clips.csv', 'full-a4p50-f7s1/config.json', 'manifest.json'])
    _zip(path, _members({}) | {name: bytes(draw.choice([10**6, 250_000_000]))})


def _members_manifest(path: Path, draw: random.Random, port: int) -> None:
    depth = 100_000
    wrong = [
        {'entries': []},
        {'entries': {'a': 1}},
        {'version': '1'},
        {'version': 10**400},
        {'format': None},
        {'entries': {'full-a4p50-f7s1/config.json': {'bytes': -1, 'sha256': 'x'}}},
    ]
    entries = _members({}, **draw.choice(wrong))
    if draw.random() < 0.4:
        entries['manifest.json'] = draw.choice(
            [b'[' * depth + b']' * depth, b'null', b'"x"', b'\xff', b'NaN', b'{"a":']
        )
    _zip(path, entries)


def _members_config(path: Path, draw: random.Random, port: int) -> None:
    values = [None, -1, 10**12, 1e400, 'x' * 100_000, [], {}, '__import__("os").system("id")', '../../x', True]
    fields = ['data.size_px', 'data.n_frames', 'model.backbone', 'model.lstm_units', 'recipe', 'model.dtype', 'start']
    content: dict = {'recipe': 'full-a4p50-f7s1'}
    for field in draw.sample(fields, 3):
        place = content
        *above, last = field.split('.')
        for name in above:
            place = place.setdefault(name, {})
        place[last] = draw.choice(values)
    _zip(path, _members({'full-a4p50-f7s1/config.json': json.dumps(content).encode()}), method=zipfile.ZIP_STORED)


def _members_damaged(path: Path, draw: random.Random, port: int) -> None:
    _zip(path, _members({'full-a4p50-f7s1/clips.csv': b'video_id,site,park\na.mp4,s,p\n' * 50}))
    content = path.read_bytes()
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))


def _camtrap(paths: dict[str, object] | None = None, **changes) -> dict[str, bytes]:
    tables = {
        'deployments.csv': b'deploymentID,latitude,longitude,deploymentStart,deploymentEnd\nd1,6.1,-7.2,'
        b'2024-03-01T08:00:00Z,2024-04-01T08:00:00Z\n',
        'media.csv': b'mediaID,deploymentID,timestamp,filePath,filePublic,fileMediatype\nm1,d1,'
        b'2024-03-02T23:59:58Z,a.mp4,false,video/mp4\n',
        'observations.csv': b'observationID,deploymentID,mediaID,eventStart,eventEnd,observationLevel,observationType\n'
        b'o1,d1,,2024-03-02T23:59:58Z,2024-03-03T00:00:58Z,event,animal\n',
    }
    resources = [
        {'name': name, 'path': (paths or {}).get(name, f'{name}.csv'), 'schema': f'{_URL}{name}-table-schema.json'}
        for name in _TABLES
    ]
    descriptor = {'profile': f'{_URL}camtrap-dp-profile.json', 'resources': resources, **changes}
    return {'datapackage.json': json.dumps(descriptor).encode(), **tables}


def _camtrap_outside(path: Path, draw: random.Random, port: int) -> None:
    url = f'http://127.0.0.1:{port}/deployments.csv'
    place = draw.choice([*_OUTSIDE, '/etc/passwd', '../../../../etc/passwd', url, ['/etc/passwd'], None, 5, {}])
    entries = _camtrap({draw.choice(_TABLES): place})
    _zip(path, entries | {draw.choice(_OUTSIDE): b'x'})


def _camtrap_link(path: Path, draw: random.Random, port: int) -> None:
    name = f'{draw.choice(_TABLES)}.csv'
    _zip(path, _camtrap() | {name: b'/etc/passwd'}, links=(name,))


def _camtrap_bomb(path: Path, draw: random.Random, port: int) -> None:
    row = b'd1,6.1,-7.2,2024-03-01T08:00:00Z,2024-04-01T08:00:00Z\n'
    content = draw.choice([bytes(300_000_000), row * 3_000_000, b'"' + b'x' * 200_000_000])
    _zip(path, _camtrap() | {draw.choice(['deployments.csv', 'media.csv', 'datapackage.json']): content})


def _camtrap_deep(path: Path, draw: random.Random, port: int) -> None:
    depth = draw.choice([900, 100_000])
    deep = draw.choice([b'[' * depth + b']' * depth, b'{"resources":' * depth + b'1' + b'}' * depth])
    _zip(path, _camtrap() | {'datapackage.json': deep})


def _camtrap_damaged(path: Path, draw: random.Random, port: int) -> None:
    _zip(path, _camtrap())
    content = path.read_bytes()
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))


def _camtrap_descriptor(path: Path, draw: random.Random, port: int) -> None:
    url = f'http://127.0.0.1:{port}/schema.json'
    values = [None, 5, [], {}, url, 'x' * 10**6, '../../etc/passwd', [[]], {'$ref': url}, [{'name': []}], True]
    changes = {name: draw.choice(values) for name in draw.sample(['resources', 'profile', '$schema', 'name', 'id'], 2)}
    entries = _camtrap(**changes)
    if draw.random() < 0.5:
        descriptor = json.loads(_camtrap()['datapackage.json'])
        descriptor['resources'][draw.randrange(3)][draw.choice(['schema', 'dialect', 'path', 'name'])] = draw.choice(
            values
        )
        entries['datapackage.json'] = json.dumps(descriptor).encode()
    _zip(path, entries)
