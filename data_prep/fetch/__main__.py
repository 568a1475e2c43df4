"""The command that fetches the challenge's clips from their public bucket.

    python -m data_prep.fetch --set train --videos 20 --out clips

The table of the clips' addresses and checksums is part of the winners' repository (MIT licence): download
video_access_metadata.csv from the folder MATLAB_Bonus/Data/Tables of

    https://github.com/drivendataorg/deep-chimpact-winners

into the working folder, or give its path with --table. The same folder has the labels and the other tables for
data_prep.build. The clips may not be redistributed.

OUT gets full/ (the original clips), down/ (their downsampled copies) and fetched.csv (a row for each file: fetched,
present, failed or left, with the reason). A file gets its name when its SHA-1 is that of the table. No account is
required. Another S3 server is given with --endpoint or AWS_ENDPOINT_URL. Requires the extra s3: pip install '.[s3]'.

Exit code 0 if all files are there, 3 if some failed, 1 if the command fails. Run the same command again to resume.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from data_prep.buckets.objects import Unreachable
from data_prep.buckets.s3_paths import require_s3
from data_prep.fetch.access_table import BUCKETS, SETS, STREAMS_OF, count_text, read_wanted
from data_prep.fetch.fetching import TABLE, FetchRequest, FileOutcome, fetch_files
from data_prep.files import RESUME, failure_line
from data_prep.workers import stopping

_ACCESS_TABLE = 'video_access_metadata.csv'
_DOWNLOAD = (
    f'download {_ACCESS_TABLE} from https://github.com/drivendataorg/deep-chimpact-winners (MATLAB_Bonus/Data/Tables) '
    'and give its path with --table'
)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m data_prep.fetch', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--set', dest='set_name', required=True, choices=SETS, help='the clips with labels, or those of the test set')
    add('--out', required=True, help='folder of the clips, local')
    add('--table', default=_ACCESS_TABLE, help=f'table of addresses and checksums (default: {_ACCESS_TABLE})')
    add('--stream', choices=sorted(STREAMS_OF), default='both', help='which copies of the clips (default: both)')
    add('--videos', type=int, help='only the first so many clips of the table')
    add('--labels', help='only the clips that this table names (column video_id)')
    add('--bucket', choices=list(BUCKETS), default='us', help='where the bucket is; all hold the same (default: us)')
    add('--connections', type=int, default=FetchRequest.connections, help='files at once (default: 8)')
    add('--endpoint', help='address of another S3 server, such as http://localhost:9000')
    return parser


def run(options: argparse.Namespace) -> int:
    require_s3('data_prep.fetch')
    for flag, value in (('--videos', options.videos), ('--connections', options.connections)):
        if value is not None and value < 1:
            raise ValueError(f'{flag} must be at least 1; got {value}')
    if '://' in options.out:
        raise ValueError(f'--out {options.out}: clips are fetched to a local folder; give one')
    if not Path(options.table).is_file():
        raise ValueError(f'there is no table {options.table}; {_DOWNLOAD}')
    files, notes = read_wanted(
        options.table, options.set_name, options.stream, options.videos, options.labels, options.bucket
    )
    for note in notes:
        print(f'note: {note}')
    print(f'{count_text(files)} files of the set {options.set_name}, {options.connections} at once', flush=True)
    outcomes = fetch_files(FetchRequest(tuple(files), options.out, options.endpoint, options.connections))
    return _report(outcomes, options.out)


def _report(outcomes: list[FileOutcome], out: str) -> int:
    """Prints the counts and the first failure. Returns the exit code."""
    counts = Counter(outcome.status for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == 'failed']
    print(f'{counts["fetched"]} files fetched, {counts["present"]} present, {len(failed)} failed; see {out}/{TABLE}')
    if failed:
        print(f'the first failure, {failed[0].video_id!r}: {failed[0].reason}', file=sys.stderr)
    return 0 if not failed else 3 if len(failed) < len(outcomes) else 1


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        return run(options)
    except ValueError as error:
        print(f'fetch failed: {failure_line(error)}', file=sys.stderr)
    except Unreachable as error:
        remedy = 'check the network, the proxy and --endpoint, and run the same command again to resume'
        print(f'fetch failed: {failure_line(error)}; {remedy}', file=sys.stderr)
    except OSError as error:
        print(f'fetch failed: {failure_line(error)}; {RESUME}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    raise SystemExit(stopping.run('fetch', main))
