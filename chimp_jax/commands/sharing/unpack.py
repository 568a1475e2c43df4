"""Adds the members of a package to yours:

    chimp-distance unpack members.zip --out runs

The package is a file of `chimp-distance pack`. Nothing in it is executed. The command checks the list of its parts,
their sizes, their SHA-256 and their content before it writes the first file. A member that is there already stays; if
it differs from the package's, nothing is written. Run the same command again to resume after an interruption.
"""

import argparse

from chimp_jax.sharing.unpacking import unpack


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance unpack', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('package', metavar='PACKAGE', help='the file of chimp-distance pack')
    parser.add_argument('--out', required=True, help='folder of the members')
    return parser


def run(options: argparse.Namespace) -> int:
    unpacked = unpack(options.package, options.out)
    for name in unpacked.there:
        print(f'{options.out}/{name}: there already')
    for name in unpacked.new:
        print(f'{options.out}/{name}: unpacked')
    return 0
