"""An HTML page to look through the estimates and to correct them: chimp-distance report DIR"""

import argparse

from etils import epath

from chimp_jax.commands.arguments import metres_list
from chimp_jax.field.page.page import write_report
from data_prep.lock import hold


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='chimp-distance report', description=__doc__)
    add = parser.add_argument
    add('folder', metavar='DIR', help='the --out folder of chimp-distance estimate')
    add('--clips', help='folder of the clips, if they have moved')
    add('--frames', type=int, default=200, help='pictures in the page, one a clip first (default: 200)')
    add('--cutpoints', type=metres_list, help='bins in metres, such as 0,2,4,6,9,13 (default: those of the run)')
    return parser


def run(options: argparse.Namespace) -> int:
    if not epath.Path(options.folder).is_dir():
        raise ValueError(f'there is no folder {options.folder}; give the --out folder of chimp-distance estimate')
    with hold(options.folder):
        page = write_report(
            options.folder, clips_folder=options.clips, n_frames=options.frames, cutpoints=options.cutpoints
        )
    print(page)
    return 0
