"""Errors of the estimates, if some distances are known: chimp-distance evaluate DIR --truth labels.csv"""

import argparse

from etils import epath

from chimp_jax.commands.arguments import metres_list
from chimp_jax.field import evaluate, status


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='chimp-distance evaluate', description=__doc__)
    add = parser.add_argument
    add('folder', metavar='DIR', help='the --out folder of chimp-distance estimate')
    add('--truth', required=True, help='CSV with the columns video_id, time, distance')
    add('--cutpoints', type=metres_list, default=evaluate.CUTPOINTS_M, help='metres, such as 0,2,4,6,9,13')
    return parser


def run(options: argparse.Namespace) -> int:
    folder = epath.Path(options.folder)
    if not folder.is_dir():
        raise ValueError(f'there is no folder {folder}; give the --out folder of chimp-distance estimate')
    found = evaluate.write_evaluation(folder / status.DISTANCES, options.truth, options.cutpoints, folder)
    return 3 if found.unknown or found.unclear else 0
