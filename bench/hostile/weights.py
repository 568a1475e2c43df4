"""Weights files that run code, lie in other files, or claim what they do not hold."""

import io
import json
import pickle
import random
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np

from bench.hostile.commands import Case
from bench.hostile.damage import KINDS, damage

_READ = 'bench.hostile.weights:read'


def make_cases(folder: Path, n: int, seed: int, port: int) -> list[Case]:
    """Writes n files, and returns the commands that read them."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {
        '.h5': [_lambda, _external_link, _external_array, _virtual, _huge, _deep, _texts, _damaged_h5, _named, _circle],
        '.keras': [_keras_bomb, _keras_outside, _damaged_keras, _deep_config],
        '.pth': [_torch_other, _torch_zip_other, _torch_large, _damaged_torch, _torch_deep],
        '.safetensors': [_overlapping, _long_header, _wrong_header, _damaged_safetensors, _deep_header],
    }
    made = []
    for number in range(n):
        suffix = draw.choice(sorted(kinds))
        make = draw.choice(kinds[suffix])
        path = folder / f'{number:05d}{make.__name__}{suffix}'
        make(path, draw, port)
        if suffix in ('.h5', '.keras'):
            call = [
                'import',
                str(path),
                '--recipe',
                'full-a4p50-f7s1',
                '--fold',
                '0',
                '--out',
                f'{folder}/out_{number}',
            ]
        elif suffix == '.pth' and draw.random() < 0.5:
            call = ['fetch', 'detector', '--file', str(path)]
        else:
            call = ['function', _READ, str(path)]
        made.append(Case(f'{make.__name__}/{path.name}', call))
    return made


def read(path: str) -> None:
    """Reads a file as the starting weights of a training are read."""
    from chimp_jax.models import weight_files

    content = Path(path).read_bytes()
    if path.endswith('.safetensors'):
        weight_files.read_safetensors(content, path)
    else:
        weight_files.read_zip_torch(content, 'model', path)


class _Runs:
    """An object whose unpickling runs a program."""

    def __init__(self, port: int):
        self._port = port

    def __reduce__(self):
        import os

        return os.system, (f'touch /tmp/hostile_was_here; curl http://127.0.0.1:{self._port}',)


def _sound_h5(path: Path) -> bytes:
    with h5py.File(path, 'w') as file:
        for layer in range(4):
            group = file.create_group(f'layer_{layer}/layer_{layer}')
            group['kernel:0'] = np.random.default_rng(layer).normal(size=(8, 16)).astype('f4')
            group['bias:0'] = np.zeros(16, 'f4')
    return path.read_bytes()


def _lambda(path: Path, draw: random.Random, port: int) -> None:
    code = f'import os\nos.system("curl http://127.0.0.1:{port}")'
    config = {'class_name': 'Lambda', 'config': {'function': [code, None, None], 'function_type': 'lambda'}}
    _sound_h5(path)
    with h5py.File(path, 'a') as file:
        text = json.dumps({'class_name': 'Functional', 'config': {'layers': [config] * draw.randrange(1, 9)}})
        file.attrs['model_config'] = text


def _external_link(path: Path, draw: random.Random, port: int) -> None:
    _sound_h5(path)
    other = draw.choice(['/etc/passwd', '../other.h5', '/dev/zero', str(path), '/proc/self/mem'])
    with h5py.File(path, 'a') as file:
        file[draw.choice(['a', 'layer_0/linked', 'layer_9/kernel:0'])] = h5py.ExternalLink(other, '/layer_0')


def _external_array(path: Path, draw: random.Random, port: int) -> None:
    with h5py.File(path, 'w') as file:
        other = draw.choice(['/etc/passwd', '/dev/zero', '../x'])
        file.create_dataset('layer/layer/kernel:0', (100,), 'u1', external=[(other, 0, 100)])


def _virtual(path: Path, draw: random.Random, port: int) -> None:
    layout = h5py.VirtualLayout((100,), 'f4')
    layout[:] = h5py.VirtualSource(draw.choice(['/etc/passwd', '.', str(path)]), 'x', (100,))
    with h5py.File(path, 'w') as file:
        file.create_virtual_dataset('layer/kernel:0', layout)


def _huge(path: Path, draw: random.Random, port: int) -> None:
    shape = draw.choice([(1 << 40,), (1 << 20, 1 << 20), (1 << 29,), (70_000, 70_000)])
    with h5py.File(path, 'w') as file:
        compression = draw.choice(['gzip', None])
        file.create_dataset('a/a/kernel:0', shape, 'f4', chunks=(1024,) * len(shape), compression=compression)


def _deep(path: Path, draw: random.Random, port: int) -> None:
    with h5py.File(path, 'w') as file:
        group = file
        for _ in range(draw.choice([100, 3000])):
            group = group.create_group('g')
        group['kernel:0'] = np.zeros(3, 'f4')


def _texts(path: Path, draw: random.Random, port: int) -> None:
    with h5py.File(path, 'w') as file:
        kind = draw.choice([h5py.string_dtype(), h5py.ref_dtype, np.dtype([('a', 'f4')]), h5py.vlen_dtype('f4'), 'c8'])
        file.create_dataset('layer/layer/kernel:0', (5,), kind)


def _named(path: Path, draw: random.Random, port: int) -> None:
    name = draw.choice(['..', '\x1b[31mred', 'a\nb', '\u202e', 'x' * 60_000, '<script>', "'; drop"])
    with h5py.File(path, 'w') as file:
        file.create_dataset(f'{name}/{name}/kernel:0'.replace('..', 'dots'), data=np.zeros(3, 'f4'))
        file['dots' if name == '..' else name].attrs['name'] = name[:1000]


def _circle(path: Path, draw: random.Random, port: int) -> None:
    _sound_h5(path)
    with h5py.File(path, 'a') as file:
        file['layer_0/self'] = h5py.SoftLink('/layer_0')
        file['hard'] = file['layer_0']
        file['layer_0/up'] = file['/']


def _damaged_h5(path: Path, draw: random.Random, port: int) -> None:
    content = _sound_h5(path)
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))


def _sound_keras(path: Path, config: bytes = b'{}') -> bytes:
    weights = _sound_h5(path)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('config.json', config)
        file.writestr('model.weights.h5', weights)
        file.writestr('metadata.json', '{}')
    return path.read_bytes()


def _keras_bomb(path: Path, draw: random.Random, port: int) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr('config.json', '{}')
        with file.open('model.weights.h5', 'w', force_zip64=True) as entry:
            for _ in range(draw.choice([64, 300])):
                entry.write(bytes(1 << 22))


def _keras_outside(path: Path, draw: random.Random, port: int) -> None:
    _sound_keras(path)
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr(draw.choice(['../../outside.txt', '/tmp/hostile_was_here', 'model.weights.h5']), 'x')


def _deep_config(path: Path, draw: random.Random, port: int) -> None:
    depth = draw.choice([900, 100_000])
    _sound_keras(path, b'{"a":' * depth + b'1' + b'}' * depth)


def _damaged_keras(path: Path, draw: random.Random, port: int) -> None:
    content = _sound_keras(path)
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))


def _zipped(path: Path, description: bytes, numbers: bytes = bytes(64)) -> bytes:
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('archive/data.pkl', description)
        file.writestr('archive/data/0', numbers)
    return path.read_bytes()


def _torch_other(path: Path, draw: random.Random, port: int) -> None:
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001) + pickle.dumps(_Runs(port)))


def _torch_zip_other(path: Path, draw: random.Random, port: int) -> None:
    what = draw.choice([_Runs(port), [_Runs(port)], {'model': _Runs(port)}, io.StringIO('x'), print, Path('/x')])
    try:
        _zipped(path, pickle.dumps(what, protocol=draw.choice([0, 2, 4])))
    except TypeError:
        _zipped(path, b'cposix\nsystem\n(S"id"\ntR.')


def _torch_large(path: Path, draw: random.Random, port: int) -> None:
    rows = draw.choice([10**6, 10**12, 10**30, -1])
    pickled = b'\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n'
    pickled += b'((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQK\x00'
    pickled += pickle.dumps((rows,), 2)[2:-1] + pickle.dumps((draw.choice([0, 1]),), 2)[2:-1] + b'\x89}tRss.'
    _zipped(path, pickled)


def _torch_deep(path: Path, draw: random.Random, port: int) -> None:
    depth = draw.choice([1000, 500_000])
    _zipped(path, draw.choice([b'(' * depth + b'l' * depth, b'\x80\x02' + b']' * depth + b'a' * (depth - 1)]) + b'.')


def _damaged_torch(path: Path, draw: random.Random, port: int) -> None:
    _torch_large(path, draw, port)
    content = path.read_bytes()
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))


def _with_header(path: Path, header: bytes, n_bytes: int | None = None) -> bytes:
    path.write_bytes(struct.pack('<Q', len(header) if n_bytes is None else n_bytes) + header + bytes(256))
    return path.read_bytes()


def _tensor(start: int, end: int, shape=(16,), dtype='F32') -> dict:
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [start, end]}


def _overlapping(path: Path, draw: random.Random, port: int) -> None:
    pairs = draw.choice([((0, 64), (0, 64)), ((0, 64), (32, 96)), ((64, 0), (0, 64)), ((0, 1 << 62), (0, 64))])
    _with_header(path, json.dumps({name: _tensor(*pair) for name, pair in zip('ab', pairs, strict=True)}).encode())


def _long_header(path: Path, draw: random.Random, port: int) -> None:
    _with_header(path, b'{}', draw.choice([1 << 62, (1 << 64) - 1, 1 << 31, 300]))


def _wrong_header(path: Path, draw: random.Random, port: int) -> None:
    shapes = [(1 << 62, 4), (-1,), (0,), ('x',), (1e9,)]
    header = {'a': _tensor(0, 64, draw.choice(shapes), draw.choice(['F32', 'F8_E4M3', 'BOOL', 'X', 'I64']))}
    _with_header(path, json.dumps(header).encode())


def _deep_header(path: Path, draw: random.Random, port: int) -> None:
    depth = draw.choice([500, 100_000])
    _with_header(path, b'{"a":' * depth + b'1' + b'}' * depth)


def _damaged_safetensors(path: Path, draw: random.Random, port: int) -> None:
    content = _with_header(path, json.dumps({'a': _tensor(0, 64), 'b': _tensor(64, 128)}).encode())
    path.write_bytes(damage(draw.choice(KINDS), content, content, draw))
