"""Writes trained members into one file for others:

    chimp-distance pack runs --out members.zip [--anonymous]

The file holds, for each finished member below RUNS, its config, the weights of its best epoch (safetensors, float32; 55
MB for the published model), its out-of-fold predictions and the digest of its folds; for each recipe the sites of the
training clips and a model card; and a manifest with the size and SHA-256 of each part. It has no optimizer and no
earlier epoch. The receiver adds the members with `chimp-distance unpack members.zip --out runs`.

The config names your folders, and the tables name your clips and sites. --anonymous replaces the names of clips, sites,
parks and animals, the same in all tables, and leaves paths out. Distances and seconds stay, and the digest of the folds
still recognises your clips for a person who has them.
"""

import argparse
from pathlib import Path

from chimp_jax.sharing.packing import pack


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance pack', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('runs', metavar='RUNS', help='folder of the members; local or gs://')
    parser.add_argument('--out', required=True, help='the file to write, such as members.zip')
    parser.add_argument('--anonymous', action='store_true', help='replaces the names of clips, sites, parks, animals')
    return parser


def run(options: argparse.Namespace) -> int:
    out = Path(options.out)
    if out.suffix != '.zip' or '://' in options.out or out.is_dir():
        raise ValueError(f'--out={options.out}: give a local file whose name ends with .zip')
    packed = pack(options.runs, out, options.anonymous)
    for folder in packed.unfinished:
        print(f'left out: {folder} is not finished')
    for network in packed.networks:
        print(
            'note: the package does not hold the network that enhanced the clips (--enhance); send its file, too. Its '
            f'SHA-256 begins with {network}'
        )
    n = len(packed.members)
    print(f'{out}: {n} member{"s" if n > 1 else ""}, {out.stat().st_size / 1e6:.1f} MB')
    return 3 if packed.unfinished else 0
