"""One page about a folder of estimates, to look through and to correct: chimp-distance report DIR"""

import argparse

from chimp_jax.commands.arguments import metres_list
from chimp_jax.field.page.page import write_report


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='chimp-distance report', description=__doc__)
    add = parser.add_argument
    add('folder', metavar='DIR', help='what chimp-distance estimate --out was given')
    add('--clips', help='folder of the clips, where they have moved')
    add('--frames', type=int, default=200, help='pictures in the page, the doubtful ones first (default: 200)')
    add('--cutpoints', type=metres_list, help='metres, such as 0,2,4,6,9,13: the bins of the histogram')
    return parser


def run(options: argparse.Namespace) -> int:
    print(write_report(options.folder, options.clips, options.frames, options.cutpoints))
    return 0
