"""Compiles the published training with the TPU compiler and writes its estimates. It needs no TPU.

    make tpu-check         # all variants -> bench/tpu_v3_8.json
    make tpu-check-quick   # the real steps on small pictures: checks that they compile for a TPU v3-8 and fit
    .venv-tpu/bin/python -m bench.tpu_check --variants f7-bfloat16

The steps are those of training (steps.train_step through parallel.map_train_step), for the devices of a described
topology. All seconds and hours are compiler estimates (bench/tpu_estimates.py), not measurements on a TPU. The exit
code is 1 if a variant does not fit into a core's memory or exceeds its limit of seconds.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

# This process only compiles: it must not look for a TPU or wait for another process that compiles.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '2'
os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.experimental import topologies  # noqa: E402

from bench.tpu_estimates import HBM_LIMIT_GIB, estimates, members_hours  # noqa: E402
from chimp_jax import optim, parallel, scoring, steps  # noqa: E402
from chimp_jax.models.distance_model import REPLICA_AXIS, DistanceModel  # noqa: E402
from configs import base, recipes  # noqa: E402

RESULT = Path(__file__).with_name('tpu_v3_8.json')


class Variant(NamedTuple):
    """One program to compile."""

    name: str
    recipe: str = 'full-a4p50-f7s1'
    dtype: str = 'bfloat16'
    batch_size: int = 96  # windows of an update, over all cores
    topology: str = 'v3:2x2'  # v3:2x2 has the 8 cores of a v3-8
    size_px: int = 512
    animals: int = 0  # slots of boxes in each frame, by the region branch; 0: published
    encode: int = 0  # frames per core of the step for validation and prediction; 0: the training step
    most_s: float = float('inf')  # limit of the seconds by cycles, slightly above the present estimate
    beside: str = ''  # the variant without regions, whose memory and cycles the line compares with


VARIANTS = (
    Variant('f7-bfloat16', most_s=0.44),
    Variant('f7-bfloat16-animals', animals=3, beside='f7-bfloat16'),
    Variant('f9-bfloat16', 'full-a1p50-f9s1'),
    Variant('encode-bfloat16', encode=scoring.frames_per_device(512)),
    Variant('encode-bfloat16-128', encode=128),  # one frame for each lane of a core
    Variant('f7-bfloat16-batch144', batch_size=144),  # 126 pictures per core, for 128 lanes
    Variant('f7-bfloat16-v3-32', batch_size=384, topology='v3:4x4'),  # 32 cores, 12 windows each as on 8
    Variant('f7-float32', dtype='float32'),
    Variant('f9-float32', 'full-a1p50-f9s1', dtype='float32'),
)
QUICK = (
    Variant('quick-f7-bfloat16', size_px=64, most_s=0.012),
    Variant('quick-encode-bfloat16', size_px=64, encode=scoring.frames_per_device(64)),
)


def lower(variant: Variant) -> jax.stages.Lowered:
    """Lowers the variant's step, mapped over the topology's cores, from shapes without data."""
    config = base.get_config(variant.recipe)
    config.model.dtype = variant.dtype
    config.model.regions = variant.animals > 0
    devices = topologies.get_topology_desc(platform='tpu', topology_name=variant.topology).devices
    n_cores, size_px = len(devices), variant.size_px
    model = DistanceModel(**config.model)
    train = config.train
    optimizer = optim.make_optimizer(train.adam_b1, train.adam_b2, train.adam_eps)
    plateau = optim.make_plateau(train.learning_rate, **train.plateau)
    state = jax.eval_shape(lambda: steps.initial_state(model, optimizer, plateau, config.seed))
    shape = jax.ShapeDtypeStruct
    if variant.encode:
        step = functools.partial(steps.encode_step, model=model)
        weights = {'params': state.params, 'batch_stats': state.batch_stats}
        frames = shape((n_cores, variant.encode, size_px, size_px, 3), jnp.uint8)
        return parallel.map_encode_step(step, devices).lower(weights, frames, shape(frames.shape[:2], bool), None)
    share = (n_cores, variant.batch_size // n_cores)
    t = config.data.n_frames
    batch = {
        'frames': shape((*share, t, size_px, size_px, 3), jnp.float32),  # augmented
        'window': shape((*share, 1, t), jnp.int32),
        'distance': shape((*share, 1), jnp.float32),
        'mask': shape((*share, 1), jnp.float32),
    }
    if variant.animals:
        batch['boxes'] = shape((*share, t, variant.animals, 5), jnp.float32)
        slots = shape((*share, 1, variant.animals), jnp.float32)
        batch |= dict.fromkeys(('belief', 'animal_distance', 'animal_mask'), slots)
    step = functools.partial(steps.train_step, model=model, optimizer=optimizer, axis_name=REPLICA_AXIS)
    return parallel.map_train_step(step, devices).lower(state, batch, shape((), jnp.float32))


def check(variant: Variant, rows: dict[str, dict]) -> dict[str, Any]:
    """Compiles a variant and returns its description with the compiler estimates, or why it does not fit.

    rows: the variants that are known, to compare with the variant `beside`.
    """
    print(f'{variant.name}: compiling', flush=True)
    began = time.monotonic()
    described = {key: value for key, value in variant._asdict().items() if key not in ('name', 'most_s', 'beside')}
    try:
        figures = estimates(lower(variant).compile())
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        figures = {'fits': False, 'why': ' '.join(str(error).split())[:300]}
    if figures['fits']:
        # For all cores together; the variants that encode use the eight cores of v3:2x2.
        done = ('ms_per_frame', 8 * variant.encode) if variant.encode else ('ms_per_window', variant.batch_size)
        figures[done[0]] = round(1000 * figures['cycles_s'] / done[1], 3)
        if rows.get(variant.beside, {}).get('fits'):
            figures['added'] = added(figures, rows[variant.beside])
    row = described | figures | {'compile_s': round(time.monotonic() - began)}
    shown = ('hbm_gib', 'moved_gb', 'floor_s', 'cycles_s', 'ms_per_window', 'ms_per_frame', 'added', 'why', 'compile_s')
    print(f'{variant.name}: ' + ', '.join(f'{key} {row[key]}' for key in shown if key in row), flush=True)
    return row


def added(figures: dict[str, Any], without: dict[str, Any]) -> dict[str, str]:
    """Returns the share by which memory and estimated cycles exceed those of the step without regions."""
    return {name: f'{figures[name] / without[name] - 1:+.1%}' for name in ('hbm_gib', 'cycles_s')}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='two small programs; writes no file')
    parser.add_argument('--variants', nargs='*', choices=[variant.name for variant in VARIANTS], help='only these')
    options = parser.parse_args()
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {'variants': {}}
    rows = {} if options.quick else known['variants']
    complaints = []
    for variant in QUICK if options.quick else VARIANTS:
        if options.variants and variant.name not in options.variants:
            continue
        row = rows[variant.name] = check(variant, rows)
        if not row['fits']:
            complaints.append(f'{variant.name} needs more than {HBM_LIMIT_GIB} GiB per core')
        if row.get('cycles_s', 0) > variant.most_s:
            complaints.append(f'{variant.name} takes {row["cycles_s"]} s by cycles, more than {variant.most_s}')
        if not options.quick:
            RESULT.write_text(json.dumps(report(rows), indent=1) + '\n')
    if complaints:
        raise SystemExit('\n'.join(complaints))


def report(rows: dict[str, dict]) -> dict[str, Any]:
    """Returns the content of the file: versions, hours of all published members if known, and the variants."""
    versions = {name: importlib.metadata.version(name) for name in ('jax', 'flax', 'libtpu')}
    hours = {}
    for dtype in ('bfloat16', 'float32'):
        step = {n_frames: rows.get(f'f{n_frames}-{dtype}', {}) for n_frames in (7, 9)}
        for kind in ('floor_s', 'cycles_s'):
            if all(kind in row for row in step.values()):
                seconds = [step[recipes.parse_recipe(recipe)['n_frames']][kind] for recipe in recipes.PUBLISHED]
                hours[f'{dtype}, {kind}'] = round(members_hours(seconds), 1)
    return {
        'note': "estimates of the TPU's compiler, no measurement: nothing was run on a TPU",
        'made_by': 'make tpu-check',
        'versions': versions,
        'hbm_limit_gib': HBM_LIMIT_GIB,
        'hours_of_60_members': hours | {'published': 120},
        'variants': rows,
    }


if __name__ == '__main__':
    main()
