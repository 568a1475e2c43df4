"""Clips and tables at s3://, on a real S3 server on the loopback."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import s3_server
from make_clips import numbered_frames, write_clip

from data_prep import build
from data_prep.buckets import s3_paths

TABLE = 'video_id,time,distance,site\nsite 1/a.mp4,0,3.0,x\nsite 1/a.mp4,2,4.0,x\nb.avi,1,5.0,y\ngone.mp4,1,5.0,y\n'


@pytest.fixture(scope='module')
def server():
    with s3_server.running() as server:
        yield server


@pytest.fixture
def local(tmp_path):
    """Two clips, a clip in a folder of the system, and a table, as files."""
    clips = tmp_path / 'local' / 'clips'
    write_clip(clips / 'site 1' / 'a.mp4', numbered_frames(40), 8)
    write_clip(clips / 'b.avi', numbered_frames(24), 8, codec='mpeg4')
    write_clip(clips / '@eaDir' / 'c.mp4', numbered_frames(8), 8)
    (tmp_path / 'local' / 'labels.csv').write_text(TABLE)
    return tmp_path / 'local'


def upload(server, folder: Path, bucket: str, public: bool = True) -> None:
    for path in folder.rglob('*'):
        if path.is_file():
            server.put(bucket, path.relative_to(folder).as_posix(), path.read_bytes(), public)
    server.put(bucket, 'clips/', b'')  # as the web page of S3 marks a folder


def run(module: str, endpoint: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs a command as a user without AWS settings does."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(('AWS_', 'EPATH_', 'FSSPEC_'))}
    plain |= {
        'PYTHONPATH': os.pathsep.join(sys.path),
        'AWS_EC2_METADATA_DISABLED': 'true',
        'AWS_ENDPOINT_URL': endpoint,
    }
    plain |= {'AWS_SHARED_CREDENTIALS_FILE': '/none', 'AWS_CONFIG_FILE': '/none'}
    command = [sys.executable, '-m', module, *arguments]
    return subprocess.run(command, env=plain | environment, capture_output=True, text=True, timeout=600)


def contents(folder: Path) -> dict[str, bytes]:
    """All files whose content does not depend on the place of the clips and tables."""
    files = [path for path in folder.rglob('*') if path.is_file()]
    placed = ('options.json', 'files.json', 'dataset.json')
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in placed}


def build_flags(root: str, out: Path) -> list[str]:
    tables = f'{root}/labels.csv'
    return ['--clips_full', f'{root}/clips', '--tables', tables, '--out', str(out), '--workers=1', '--n_folds=2']


@pytest.mark.slow
def test_a_build_of_a_public_bucket_equals_that_of_local_files(server, local, tmp_path):
    upload(server, local, 'public')
    here, there = tmp_path / 'here', tmp_path / 'there'
    assert build.main(build_flags(str(local), here)) == 3  # gone.mp4
    done = run('data_prep.build', server.url, *build_flags('s3://public', there))
    assert done.returncode == 3, done.stdout + done.stderr
    assert done.stderr == ''
    known, found = contents(here), contents(there)
    known = {name: content.replace(str(local).encode(), b's3://public') for name, content in known.items()}
    assert found == known and any('.tfrecord' in name for name in known)
    # Another clip of the same size: only its ETag and its time tell.
    content = (local / 'clips' / 'b.avi').read_bytes()
    server.put('public', 'clips/b.avi', content[:-1] + bytes([content[-1] ^ 1]))
    changed = run('data_prep.build', server.url, *build_flags('s3://public', there))
    assert '1 clips have changed since' in changed.stdout and 'b.avi' in changed.stdout


def test_a_private_clip_is_read_with_credentials(server, local, tmp_path):
    server.put('private', 'clips/b.avi', (local / 'clips' / 'b.avi').read_bytes(), public=False)
    flags = ['s3://private/clips/b.avi', '--out', str(tmp_path / 'picture.png')]
    refused = run('data_prep.inspect_clip', server.url, *flags)
    assert refused.returncode == 1
    assert refused.stderr.startswith('inspect failed: s3://private/clips/b.avi: S3: ')
    assert refused.stderr.endswith('(403) when calling the HeadObject operation: Forbidden\n')
    keys = {'AWS_ACCESS_KEY_ID': 'key', 'AWS_SECRET_ACCESS_KEY': 'secret'}
    done = run('data_prep.inspect_clip', server.url, *flags, **keys)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'picture.png').stat().st_size > 1000


def test_failures_are_one_line(server, tmp_path):
    flags = build_flags('s3://nowhere', tmp_path / 'out')
    missing = run('data_prep.build', server.url, *flags)
    assert missing.returncode == 1
    assert missing.stderr == 'build failed: s3://nowhere/labels.csv does not exist; correct --tables or --detections\n'
    silent = run('data_prep.build', 'http://127.0.0.1:9', *flags)
    assert silent.returncode == 1 and silent.stderr.count('\n') == 1
    assert silent.stderr.startswith('build failed: S3: Could not connect to the endpoint URL: "http://127.0.0.1:9/')
    assert 'check the network and AWS_ENDPOINT_URL; correct this and run the same command again' in silent.stderr


def test_records_are_not_written_to_s3(capsys):
    assert build.main(['--clips_full', 'clips', '--out', 's3://bucket/out']) == 1
    assert capsys.readouterr().err == (
        'build failed: --out s3://bucket/out: TensorFlow cannot write records to S3; give a local folder or gs://\n'
    )


def test_paths_of_the_web_are_refused(tmp_path, capsys):
    assert build.main(['--clips_full', 'http://host/clips', '--out', str(tmp_path / 'out')]) == 1
    assert capsys.readouterr().err == (
        'build failed: paths at http:// cannot be read; give a local path, gs:// or s3://\n'
    )
    with pytest.raises(KeyError), s3_paths.as_os_errors():
        raise KeyError('another')


@pytest.mark.parametrize('absent', ['s3fs', 'gcsfs'])
def test_missing_packages(monkeypatch, absent):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if name == absent else find(name))
    paths = ['s3://a/b', 'gs://c/d']
    message = {
        's3fs': "s3://a/b requires s3fs; install the extra s3: pip install '.[s3]'",
        'gcsfs': 'gs:// and s3:// in one command require gcsfs',
    }
    with pytest.raises(ValueError, match=message[absent].replace('[', r'\[')):
        s3_paths.connect(paths)
    before = dict(os.environ)
    s3_paths.connect(['clips', None], records='out')  # needs nothing
    assert dict(os.environ) == before
