"""Checks a submission: columns, rows and order of the format, distances finite and not below 0:

python predict.py check_submission predictions.csv submission_format.csv
"""

import argparse

from chimp_jax.ensemble import results


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='predict.py check_submission',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('submission')
    parser.add_argument('submission_format')
    return parser


def run(options: argparse.Namespace) -> int:
    n_rows = results.check_submission(options.submission, options.submission_format)
    print(f'{options.submission} is a valid submission of {n_rows} rows')
    return 0
