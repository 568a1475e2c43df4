"""Measures `data_prep.build --enhance` on simulated clips of low resolution: python -m bench.low_resolution

Renders 112 clips of 38 sites at 640 x 360, makes small copies as old cameras compressed (MPEG-4 and MJPEG at a coarse
quantizer), and prints PSNR and SSIM of the pictures against the rendering, for several steps of enhancement: over the
whole picture, and within the animal's box. Pictures are enlarged bilinearly to the rendering's size, as the model
does. Then trains the network of chimp_jax.enhance on other simulated clips, prepares the records and runs the ablation
of configs/ablations_enhance.py. Run the same command again to resume.
"""

import argparse
import dataclasses
import functools
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from configs.ablations_enhance import VARIANTS
from data_prep import simulate
from data_prep.decoding import exposure
from data_prep.decoding.decode import decode_seconds
from data_prep.enhance.clip import make_enhancer
from data_prep.enhance.spec import parse_enhancement
from data_prep.files import put_in_place
from data_prep.simulator import tables
from data_prep.simulator.plan import SIZES, plan_clips

FOLDER = Path('demo/low_resolution')
LARGE_PX = (640, 360)
N_OTHER_SITES = 12  # whose clips the network learns from
QUANTIZER = {'mpeg4': '12', 'mjpeg': '14'}  # of ffmpeg's -q:v, 2 to 31; visible blocks
SPECS = (
    'off',
    'deblock',
    'denoise',
    'fuse',
    'upscale',
    'upscale,sharpen',
    'deblock,fuse',
    'deblock,fuse,upscale',
    'deblock,fuse,upscale,sharpen',
    'deblock,denoise,fuse,upscale,sharpen',
)


def render(folder: Path, seed: int, n_sites: int | None, workers: int) -> None:
    """Writes FOLDER/full, FOLDER/down and the tables: clips at LARGE_PX. n_sites: of the first ones; None: all."""
    plans = [
        dataclasses.replace(plan, width_px=LARGE_PX[0], height_px=LARGE_PX[1])
        for plan in plan_clips(seed, 'easy', SIZES['sites'])
        if n_sites is None or plan.site_index < n_sites
    ]
    folder.mkdir(parents=True, exist_ok=True)
    by_site = {}
    for plan in plans:
        by_site.setdefault(plan.site_index, []).append(plan)
    seen = {}
    with ProcessPoolExecutor(workers) as pool:
        for part in pool.map(simulate.render_job, [(job, str(folder)) for job in by_site.values()]):
            seen |= part
    tables.claim_folder(folder, {'seed': seed, 'width_px': LARGE_PX[0]})
    tables.write_tables(folder, plans, {name: found.sightings for name, found in seen.items()})


def shrink_clip(source: Path, target: Path, width_px: int) -> None:
    """Writes a copy of a clip of this width, compressed as an old camera did. A copy that exists is kept."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f'{target.name}.{os.getpid()}.part')
    with av.open(str(source)) as clip, av.open(str(part), 'w', format=source.suffix[1:]) as copy:
        stream = clip.streams.video[0]
        codec = 'mjpeg' if stream.codec_context.name == 'mjpeg' else 'mpeg4'
        level = QUANTIZER[codec]
        made = copy.add_stream(codec, rate=stream.average_rate, options={'qmin': level, 'qmax': level, 'g': '60'})
        made.width, made.height = width_px, stream.height * width_px // stream.width // 2 * 2
        made.pix_fmt = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
        made.codec_context.thread_count = 1
        for number, frame in enumerate(clip.decode(stream)):
            small = frame.reformat(made.width, made.height, made.pix_fmt, interpolation='AREA')
            small.pts, small.time_base = number, 1 / stream.average_rate
            copy.mux(made.encode(small))
        copy.mux(made.encode(None))
    put_in_place(part, target)


def psnr_db(picture: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(picture.astype(float) - reference).mean()))


def ssim(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns the structural similarity of two grey pictures for each pixel (Wang et al. 2004: sigma 1.5, 11 x 11)."""
    blur = functools.partial(gaussian_filter, sigma=1.5, truncate=3.5)
    a, b = picture.astype(float), reference.astype(float)
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, both = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def measure_clip(task: tuple[str, str, str, pd.DataFrame]) -> list[dict]:
    """Returns a row for each labelled second of a clip: its PSNR and SSIM, whole and within the animal's box.

    task: specification, small clip, large clip, the clip's rows of the metadata tables.
    """
    spec, small, large, rows = task
    seconds = rows['time'].tolist()
    _, reference = decode_seconds(large, seconds)
    if exposure.clip_is_overexposed(exposure.white_fraction(rgb) for rgb in reference.values()):
        return []  # white in both copies
    enhancement = parse_enhancement(spec)
    if enhancement is None:
        _, found = decode_seconds(small, seconds)
    else:
        enhancer = make_enhancer(small, lambda last_s: range(last_s + 1), enhancement, gamma=False)
        _, found = decode_seconds(
            small, seconds, convert=lambda rgb, _: enhancer.improve(rgb), filters=enhancer.filters
        )
    measured = []
    for row in rows.itertuples():
        if row.time not in found or row.time not in reference:
            continue
        picture = np.asarray(Image.fromarray(found[row.time]).resize(LARGE_PX, Image.Resampling.BILINEAR))
        truth = reference[row.time]
        similar = ssim(*(np.asarray(Image.fromarray(one).convert('L')) for one in (picture, truth)))
        line = {'psnr': psnr_db(picture, truth), 'ssim': similar.mean()}
        if not np.isnan(row.x1):
            x1, x2 = (round(x * LARGE_PX[0]) for x in (row.x1, row.x2))
            y1, y2 = (round(y * LARGE_PX[1]) for y in (row.y1, row.y2))
            box = (slice(y1, max(y2, y1 + 2)), slice(x1, max(x2, x1 + 2)))
            line |= {'box_psnr': psnr_db(picture[box], truth[box]), 'box_ssim': similar[box].mean()}
        measured.append(line)
    return measured


def measure_pictures(folder: Path, specs: list[str], width_px: int, workers: int) -> None:
    """Prints the means of psnr, ssim, box_psnr and box_ssim for each specification, without the overexposed clips."""
    metadata = pd.read_csv(folder / 'large' / 'train_metadata.csv')
    small, large = folder / f'small{width_px}', folder / 'large/full'
    with ProcessPoolExecutor(workers) as pool:
        for spec in specs:
            tasks = [(spec, str(small / name), str(large / name), rows) for name, rows in metadata.groupby('video_id')]
            rows = pd.DataFrame([row for part in pool.map(measure_clip, tasks) for row in part])
            values = '  '.join(f'{name} {value:.3f}' for name, value in rows.mean().items())
            print(f'{width_px} px  {spec:40s} {values}  ({len(rows)} pictures)', flush=True)


def run_module(*arguments: str) -> None:
    print('$ python -m', *arguments, flush=True)
    code = subprocess.run([sys.executable, '-m', *arguments], check=False).returncode
    if code:
        raise SystemExit(f'low_resolution: the command above ended with exit code {code}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--width', type=int, default=320, help='width of the small clips, px')
    parser.add_argument('--pictures_only', action='store_true', help='measure pictures and train no members')
    parser.add_argument('--spec', nargs='+', default=list(SPECS), help='specifications of --enhance to measure')
    parser.add_argument('--only', nargs='+', default=[*VARIANTS], choices=VARIANTS, help='variants to train')
    parser.add_argument('--workers', type=int, default=os.cpu_count())
    args = parser.parse_args()
    out, width = FOLDER, args.width
    render(out / 'large', 0, None, args.workers)
    names = sorted(path.name for path in (out / 'large/full').iterdir())
    with ProcessPoolExecutor(args.workers) as pool:
        copies = [(out / 'large/full' / name, out / f'small{width}' / name, width) for name in names]
        list(pool.map(shrink_clip, *zip(*copies, strict=True)))
    measure_pictures(out, args.spec, width, args.workers)
    if args.pictures_only:
        return
    network = out / 'detail.npz'
    render(out / 'other', 1, N_OTHER_SITES, args.workers)
    if not network.exists():
        run_module('chimp_jax.enhance', '--clips', f'{out}/other/full', f'--out={network}')
    measure_pictures(out, [f'auto,network={network}'], width, args.workers)
    small = f'{out}/small{width}'
    records = {  # of each variant
        'base': ('data', small),
        'enhance': ('data-enhance-auto', small, '--enhance=auto'),
        'network': ('data-network', small, f'--enhance=auto,network={network}'),
        'large': ('data-large', f'{out}/large/full'),
    }
    for variant in ('base', *args.only):
        name, clips, *more = records[variant]
        tables = [f'--tables={out}/large', '--clips_full', clips, f'--out={out}/{name}', '--n_folds=2']
        run_module('data_prep.build', *tables, f'--workers={args.workers}', *more)
    only = f'--only={",".join(args.only)}'
    run_module('chimp_jax.ablate', '--config=configs/ablations_enhance.py', f'--workdir={out}/runs', only)


if __name__ == '__main__':
    main()
