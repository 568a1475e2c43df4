"""Checks a submission: the format's columns and rows in its order, and finite distances of 0 or more.

chimp-distance check_submission predictions.csv submission_format.csv
"""

import argparse

from chimp_jax.ensemble import results


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance check_submission',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('submission', help='CSV to check')
    parser.add_argument('submission_format', help='CSV with the rows that a submission must have')
    return parser


def run(options: argparse.Namespace) -> int:
    n_rows = results.check_submission(options.submission, options.submission_format)
    print(f'{options.submission} is a valid submission of {n_rows} rows')
    return 0
