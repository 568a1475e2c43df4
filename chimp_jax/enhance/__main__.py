"""Trains the network of --enhance on your own large clips: python -m chimp_jax.enhance --clips CLIPS --out detail.npz

The clips must be at least 640 px wide, and should be of the same cameras or habitats as the small ones. The command
tells PSNR on clips that it did not train on. Then use the file:

    python -m data_prep.build ... --enhance=auto,network=detail.npz

Exit code 0 if the network is better than Lanczos on these clips, 3 if it is not, 1 if the command fails.
"""

import argparse
import contextlib
import os
import sys

import numpy as np

from data_prep.archive import Archive
from data_prep.buckets import s3_paths
from data_prep.enhance.network import added_luma
from data_prep.files import failure_line, write_whole
from data_prep.progress import Progress
from data_prep.workers import stopping

LEAST_CLIPS = 4
HELD_OUT = 5  # one clip of so many is held out
SQUARES_PER_PICTURE = 40


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m chimp_jax.enhance', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--clips', nargs='+', required=True, help='folders with large clips, local, gs:// or s3://')
    add('--out', required=True, help='file of the network to write (.npz), local or gs://')
    add('--most_clips', type=int, default=300, help='clips to read, spread evenly over the folders (default: 300)')
    add('--updates', type=int, default=1000, help='updates of the network (default: 1000)')
    add('--seed', type=int, default=0, help='seed of the squares and of the network')
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        if min(options.most_clips, options.updates) < 1 or options.seed < 0:
            raise ValueError('--most_clips and --updates must be at least 1, and --seed at least 0')
        _check_place(options.out)
        s3_paths.connect([*options.clips, options.out])
        with s3_paths.as_os_errors():
            return _run(options)
    except (ValueError, OSError) as error:
        print(f'enhance failed: {failure_line(error)}', file=sys.stderr)
        return 1


def _check_place(out: str) -> None:
    """Makes the folder of the file. Raises ValueError or OSError if the file has no place."""
    if '://' in out:
        if not out.startswith('gs://'):
            raise ValueError(
                f'--out {out}: data_prep.build reads networks from local files and gs://; give one of these'
            )
        return
    if os.path.isdir(out):
        raise ValueError(f'--out {out} is a folder; give the name of a file, such as {os.path.join(out, "detail.npz")}')
    os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)


def _run(options: argparse.Namespace) -> int:
    from chimp_jax.enhance.pairs import Pairs, cut_pairs
    from chimp_jax.enhance.training import BATCH, layers_of, to_file, train_network

    train, held_out = _read_pictures(options)
    rng = np.random.default_rng([options.seed, 0])
    pairs = cut_pairs(train, SQUARES_PER_PICTURE, rng)

    def draw(rng: np.random.Generator) -> Pairs:
        chosen = rng.integers(0, len(pairs.small), BATCH)
        return Pairs(*(values[chosen] for values in pairs))

    with Progress('train', options.updates, 'updates') as progress:
        params = train_network(draw, options.updates, options.seed, lambda *_: progress.advance())
    plain_db, found_db = _psnr_db(held_out, layers_of(params), rng)
    write_whole(options.out, to_file(params))
    print(
        f'PSNR on pictures of held-out clips: {found_db:.2f} dB, Lanczos alone {plain_db:.2f} dB; wrote {options.out}'
    )
    if found_db > plain_db:
        return 0
    print('the network is not better than Lanczos; do not use it, or give more clips', file=sys.stderr)
    return 3


def _read_pictures(options: argparse.Namespace) -> tuple[list, list]:
    """Returns large pictures to train on and of held-out clips. Raises ValueError if too few clips are large."""
    from chimp_jax.enhance.pairs import LARGE_PX, large_pictures

    archive = Archive(tuple(options.clips))
    names = archive.clips()
    places = np.unique(np.linspace(0, len(names) - 1, min(len(names), options.most_clips)).round().astype(int))
    by_clip = []
    with Progress('read', len(places)) as progress:
        for place in places:
            with contextlib.suppress(LookupError):  # a clip that several folders hold
                pictures = [*large_pictures(archive.find(names[place]))]
                by_clip += [pictures] if pictures else []
            progress.advance()
    if len(by_clip) < LEAST_CLIPS:
        raise ValueError(
            f'{archive}: {len(by_clip)} clips are at least {LARGE_PX} px wide and readable; give {LEAST_CLIPS} or more'
        )
    held_out = [picture for pictures in by_clip[::HELD_OUT] for picture in pictures]
    train = [picture for k, pictures in enumerate(by_clip) if k % HELD_OUT for picture in pictures]
    return train, held_out


def _psnr_db(pictures: list, layers, rng: np.random.Generator) -> tuple[float, float]:
    """Returns the mean PSNR of luma over pictures: by Lanczos alone, and with the network."""
    from chimp_jax.enhance.pairs import make_pair

    plain, found = [], []
    for picture in pictures:
        small, enlarged, large = make_pair(picture, rng)
        plain.append(np.square(enlarged - large).mean())
        found.append(np.square(np.clip(enlarged + added_luma(small, layers), 0, 1) - large).mean())
    return tuple(float(np.mean(-10 * np.log10(np.maximum(errors, 1e-12)))) for errors in (plain, found))


if __name__ == '__main__':
    raise SystemExit(stopping.run('enhance', main))
