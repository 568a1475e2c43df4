"""Small members and their packages, for tests of sharing."""

import hashlib
import json
import zipfile

import flax.traverse_util
import numpy as np
import pytest
import small

from chimp_jax import checkpoint
from chimp_jax.ensemble.prediction_tables import BOX
from chimp_jax.sharing import model_shapes
from chimp_jax.sharing.unpacking import unpack

RECIPES = ('full-a1p50-f7s1', 'down-a1p50-f9s2')
PLACE = f'{RECIPES[0]}/fold_0'


def write_member(folder, recipe, fold, rng) -> None:
    """Writes a member that was validated on three clips with four targets each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_shapes, 'DistanceModel', small.model)
        shapes = model_shapes.weight_shapes({})
    flat = {
        name: rng.normal(0, 0.1, shape).astype(np.float32) ** (2 if 'var' in name else 1)
        for name, shape in shapes.items()
    }
    checkpoint.save_weights(folder / 'checkpoints', 1, flax.traverse_util.unflatten_dict(flat, sep='/'))
    rows = [(f'clip {clip}.mp4', time, 1.0 + clip + time) for clip in range(fold, 6, 2) for time in (0, 2, 4, 6)]
    lines = [f'{clip},{time},{metres},{metres + rng.normal():.4f},,,,\n' for clip, time, metres in rows]
    (folder / 'oof.csv').write_text(''.join([f'video_id,time,distance,prediction,{",".join(BOX)}\n', *lines]))
    about = {'recipe': recipe, 'fold': fold, 'best_epoch': 1, 'val_mae': rng.uniform(1, 2), 'folds_sha256': 'ab' * 32}
    (folder / 'member.json').write_text(json.dumps(about))
    start = {'time': '2026-01-02T03:04:05+00:00', 'git': None, 'versions': {'jax': '0.10.2'}, 'devices': 8}
    start |= {'device_kind': 'TPU v3', 'command': '/home/alice/train.py --config.data.records=/home/alice/data'}
    (folder / 'run.json').write_text(json.dumps([start]))


def entries_of(path) -> dict[str, bytes]:
    """Returns the entries of one member."""
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if name.startswith(f'{RECIPES[0]}/') and 'fold_1' not in name]
        return {name: file.read(name) for name in names}


def listed(entries: dict[str, bytes]) -> dict[str, bytes]:
    """Returns the entries with a manifest that lists them."""
    about = {
        name: {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}
        for name, content in entries.items()
        if name != 'manifest.json'
    }
    manifest = {'format': 'chimp_jax members', 'version': 1, 'entries': about}
    return entries | {'manifest.json': json.dumps(manifest).encode()}


def write_zip(path, entries, stored=lambda name: True) -> None:
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            file.writestr(info, content, zipfile.ZIP_STORED if stored(name) else zipfile.ZIP_DEFLATED)


def refused(path, tmp_path) -> str:
    """Returns the one line with which a package is refused. Nothing is written anywhere."""
    out = tmp_path / 'out' / 'runs'
    before = sorted(tmp_path.rglob('*'))
    with pytest.raises(ValueError) as caught:
        unpack(path, out)
    assert '\n' not in str(caught.value) and str(path) in str(caught.value)
    assert sorted(tmp_path.rglob('*')) == before
    return str(caught.value)


def changed_json(entries, name, **changes):
    return entries | {name: json.dumps(json.loads(entries[name]) | changes).encode()}
