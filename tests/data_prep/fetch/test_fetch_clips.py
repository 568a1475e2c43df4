"""The command against a real S3 server on the loopback: cuts, wrong content, missing objects, killed runs."""

import collections
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
import s3_server
from s3_server import ACCESS_HEADER, Relay, access_row

from data_prep import lock
from data_prep.fetch import __main__ as fetch
from data_prep.fetch import fetching, transfer

FULL = {name: random.Random(name).randbytes(300_000 + 1000 * i) for i, name in enumerate(('a.mp4', 'b.avi', 'c.mp4'))}
DOWN = {name: content[::10] for name, content in FULL.items()}


@pytest.fixture(scope='module')
def server():
    with s3_server.running() as server:
        for name in FULL:
            server.put('clips', f'train_videos/{name}', FULL[name])
            server.put('clips', f'train_videos_downsampled/{name}', DOWN[name])
        yield server


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with the table of three clips in its documented place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(transfer, 'WAITS_S', (0.01, 0.01))
    write_table([access_row(name, 'clips', FULL[name], DOWN[name]) for name in FULL])
    return tmp_path


def write_table(rows) -> None:
    with open('video_access_metadata.csv', 'w') as file:
        file.write('\n'.join([ACCESS_HEADER, *rows]) + '\n')


def run(server_or_relay, *more: str) -> int:
    return fetch.main(['--set', 'train', '--out', 'clips', '--endpoint', server_or_relay.url, *more])


def outcomes() -> dict:
    rows = pd.read_csv('clips/fetched.csv', keep_default_na=False)
    return {(row.stream, row.video_id): (row.status, row.reason) for row in rows.itertuples()}


def check_contents(folder, names=FULL) -> None:
    """Exactly these clips are there, with their bytes, and no unfinished file."""
    for stream, contents in (('full', FULL), ('down', DOWN)):
        found = {path.name: path.read_bytes() for path in (folder / 'clips' / stream).iterdir()}
        assert found == {name: contents[name] for name in names}
    assert sorted(path.name for path in (folder / 'clips').iterdir()) == ['down', 'fetched.csv', 'full']


def test_both_copies_of_all_clips(server, folder, capsys):
    assert run(server) == 0
    check_contents(folder)
    assert set(outcomes().values()) == {('fetched', '')} and len(outcomes()) == 6
    assert '6 files fetched, 0 present, 0 failed' in capsys.readouterr().out
    assert run(server) == 0
    check_contents(folder)
    assert set(outcomes().values()) == {('present', '')}


def test_the_form_of_the_issue(server, folder, monkeypatch):
    """The address of the server comes from AWS's own variable."""
    monkeypatch.setenv('AWS_ENDPOINT_URL', server.url)
    assert fetch.main(['--set', 'train', '--videos', '2', '--out', 'clips']) == 0
    check_contents(folder, ('a.mp4', 'b.avi'))
    assert fetch.main(['--set', 'train', '--out', 'clips']) == 0
    check_contents(folder)


def test_one_stream(server, folder):
    assert run(server, '--stream', 'down') == 0
    assert sorted(os.listdir('clips')) == ['down', 'fetched.csv']
    assert sorted(os.listdir('clips/down')) == sorted(FULL)


def test_a_cut_file_is_continued_from_the_byte_where_it_was_cut(server, folder):
    relay = Relay(server.address, cut_after=100_000, n_cuts=2)
    assert run(relay, '--stream', 'full', '--videos', '1', '--connections', '1') == 0
    assert (folder / 'clips/full/a.mp4').read_bytes() == FULL['a.mp4']
    starts = [int(text.removeprefix('bytes=').removesuffix('-')) for text in relay.ranges()]
    # Each answer brings at most 100,000 bytes before it is cut; nothing is asked for twice.
    assert starts[0] == 0 and 0 < starts[1] <= 100_000 and starts[1] < starts[2] <= 200_000 and len(starts) == 3


def test_a_connection_that_is_always_cut_ends_and_the_next_run_continues(server, folder, capsys):
    relay = Relay(server.address, cut_after=0, n_cuts=float('inf'))
    assert run(relay, '--stream', 'full', '--videos', '1') == 1
    assert outcomes()['full', 'a.mp4'][0] == 'failed'
    assert 'run the same command again to resume' in outcomes()['full', 'a.mp4'][1]
    assert not list((folder / 'clips/full').iterdir())
    assert run(server, '--stream', 'full', '--videos', '1') == 0
    assert (folder / 'clips/full/a.mp4').read_bytes() == FULL['a.mp4']


def test_a_part_of_an_earlier_run_is_used_and_a_damaged_one_is_not(server, folder, monkeypatch):
    for start, expected in ((FULL['a.mp4'][:200_000], ['bytes=200000-']), (b'x' * 1000, ['bytes=1000-', 'bytes=0-'])):
        part = begun(server)
        part.write_bytes(start)
        relay = Relay(server.address, cut_after=0, n_cuts=0)
        assert run(relay, '--stream', 'full', '--videos', '1') == 0
        assert relay.ranges() == expected
        assert (folder / 'clips/full/a.mp4').read_bytes() == FULL['a.mp4']
        shutil.rmtree('clips')


def begun(server) -> Path:
    """Returns the path of the unfinished first file, after a run that got none of its bytes."""
    assert run(Relay(server.address, cut_after=0, n_cuts=float('inf')), '--stream', 'full', '--videos', '1') == 1
    (part,) = Path('clips/parts').iterdir()
    return part


def test_after_kill_9_the_same_command_continues(server, folder):
    gate = threading.Event()
    relay = Relay(server.address, cut_after=150_000, n_cuts=1, gate=gate)
    command = [sys.executable, '-m', 'data_prep.fetch', '--set=train', '--out=clips', '--stream=full', '--videos=1']
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path), 'AWS_ENDPOINT_URL': relay.url}
    process = subprocess.Popen(command, env=environment)
    while not (parts := [part for part in Path('clips').glob('parts/*') if part.stat().st_size]):
        assert process.poll() is None
    process.kill()
    process.wait()
    have = parts[0].stat().st_size
    gate.set()
    assert 0 < have <= 150_000 and not list(Path('clips/full').iterdir())
    subprocess.run(command, env=environment, check=True, timeout=600)
    assert (folder / 'clips/full/a.mp4').read_bytes() == FULL['a.mp4']
    assert relay.ranges() == ['bytes=0-', f'bytes={have}-']


def test_a_wrong_checksum_never_gets_the_name(server, folder, capsys):
    write_table(
        [access_row('a.mp4', 'clips', FULL['b.avi'], DOWN['a.mp4']), access_row('c.mp4', 'clips', *both('c.mp4'))]
    )
    assert run(server) == 3
    assert collections.Counter(status for status, _ in outcomes().values()) == {'fetched': 3, 'failed': 1}
    reason = outcomes()['full', 'a.mp4'][1]
    assert 's3://clips/train_videos/a.mp4: the SHA-1 of its 300000 bytes is' in reason
    assert os.listdir('clips/full') == ['c.mp4'] and not os.path.exists('clips/parts')
    assert "the first failure, 'a.mp4': s3://clips/train_videos/a.mp4" in capsys.readouterr().err


def both(name: str) -> tuple[bytes, bytes]:
    return FULL[name], DOWN[name]


def test_missing_and_private_objects_have_a_row_each(server, folder):
    server.put('clips', 'train_videos/private.mp4', b'secret', public=False)
    server.put('clips', 'train_videos/empty.mp4', b'')
    names = ('private.mp4', 'absent.mp4', 'empty.mp4')
    rows = [access_row(name, 'clips', b'', b'') for name in names]
    rows.append(access_row('other.mp4', 'nowhere', b'', b''))
    write_table([*rows, access_row('a.mp4', 'clips', *both('a.mp4'))])
    assert run(server, '--stream', 'full') == 3
    found = outcomes()
    assert found['full', 'private.mp4'][1].startswith('s3://clips/train_videos/private.mp4 is missing or not public')
    assert found['full', 'absent.mp4'][1].startswith('s3://clips/train_videos/absent.mp4 does not exist; correct')
    assert found['full', 'other.mp4'][1].startswith('s3://nowhere/train_videos/other.mp4 does not exist; correct')
    assert sorted(os.listdir('clips/full')) == ['a.mp4', 'empty.mp4']


def test_no_server(folder, capsys):
    with socket.create_server(('127.0.0.1', 0)) as closed:
        port = closed.getsockname()[1]
    assert fetch.main(['--set=train', '--out=clips', f'--endpoint=http://127.0.0.1:{port}']) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and 'Could not connect' in lines[0] and 'check the network' in lines[0]
    assert set(outcomes().values()) == {('left', 'the run ended before')}


def test_too_little_space_is_refused_before_the_download(server, folder, capsys, monkeypatch):
    usage = shutil._ntuple_diskusage(0, 0, 400_000)
    monkeypatch.setattr(fetching.shutil, 'disk_usage', lambda _: usage)
    relay = Relay(server.address, cut_after=0, n_cuts=0)
    assert run(relay, '--stream', 'full') == 1
    assert 'clips has 0 MB of free space, and 1 MB are required; free some' in capsys.readouterr().err
    assert relay.ranges() == []
    assert run(relay, '--stream', 'full', '--videos', '1') == 0  # 300,000 bytes


def test_a_disk_that_fills_up_ends_the_run_in_one_line(server, folder):
    """No file may become longer than 200,000 bytes, as on a full disk."""
    limit = f'import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, {resource.RLIM_INFINITY}))'
    script = f'{limit}; from data_prep.fetch.__main__ import main; sys.exit(main())'
    done = subprocess.run(
        [sys.executable, '-c', script, '--set=train', '--out=clips', '--stream=full', f'--endpoint={server.url}'],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('fetch failed: clips/parts/') and done.stderr.count('\n') == 1
    assert done.stderr.endswith('File too large; correct this and run the same command again to resume\n')
    assert {status for status, _ in outcomes().values()} == {'left'}
    assert run(server) == 0
    check_contents(folder)


def test_two_runs_in_one_folder(server, folder, capsys):
    with lock.hold('clips'):
        assert run(server) == 1
    error = capsys.readouterr().err
    assert error.startswith('fetch failed: another run works in clips') and 'wait until it has ended' in error
    assert not os.path.exists('clips/full')


def test_a_file_of_the_user_is_never_replaced(server, folder):
    Path('clips/full').mkdir(parents=True)
    Path('clips/full/a.mp4').write_bytes(b'mine')
    assert run(server) == 3
    assert Path('clips/full/a.mp4').read_bytes() == b'mine'
    assert outcomes()['full', 'a.mp4'] == (
        'failed',
        'clips/full/a.mp4 is there with another content; delete or move it and run again',
    )


def test_nothing_is_written_outside_the_folder(server, folder):
    outside = folder / 'outside'
    outside.mkdir()
    Path('clips/full').mkdir(parents=True)
    os.symlink(outside, 'clips/full/link')
    good = access_row('a.mp4', 'clips', *both('a.mp4'))
    names = ('../a.mp4', str(outside / 'a.mp4'), 'link/a.mp4', 'b' * 300 + '.mp4', 'x.mp4/../../../a.mp4')
    write_table([good, *(good.replace('a.mp4', name, 1) for name in names)])
    assert run(server, '--stream', 'full') == 3
    assert sorted(outcomes()) == sorted(('full', name) for name in ('a.mp4', *names))
    assert [status for status, _ in outcomes().values()] == ['fetched'] + 5 * ['failed']
    assert 'a link leads out of clips/full' in outcomes()['full', 'link/a.mp4'][1]
    assert sorted(os.listdir('clips')) == ['fetched.csv', 'full'] and not list(outside.iterdir())
    assert sorted(os.listdir(folder)) == ['clips', 'outside', 'video_access_metadata.csv']


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (
            ['--table=none.csv'],
            'there is no table none.csv; download video_access_metadata.csv from https://github.com/',
        ),
        (['--videos=0'], '--videos must be at least 1; got 0'),
        (['--connections=0'], '--connections must be at least 1; got 0'),
        (['--endpoint=localhost'], "--endpoint 'localhost' is not an address; write http://HOST:PORT"),
        (['--out=s3://clips/x'], '--out s3://clips/x: clips are fetched to a local folder; give one'),
    ],
)
def test_refusals(folder, capsys, flags, message):
    assert fetch.main(['--set=train', '--out=clips', *flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith('fetch failed: ' + message) and error.count('\n') == 1
