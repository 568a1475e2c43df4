"""Clips, members and results in S3, on a real S3 server on the loopback: the bytes of a local folder."""

import os
from pathlib import Path

import pytest
import s3_server
from etils import epath
from run_estimate import estimate

from data_prep.buckets import s3_paths

pytestmark = pytest.mark.usefixtures('small_processes')


@pytest.fixture(scope='module')
def server():
    with s3_server.running() as server:
        yield server


@pytest.fixture
def bucket(server, data, monkeypatch):
    """s3://work with members and clips, and the settings of a user who may write it."""
    settings = {'AWS_ENDPOINT_URL': server.url, 'AWS_ACCESS_KEY_ID': 'key', 'AWS_SECRET_ACCESS_KEY': 'secret'}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    upload(server, data / 'runs', 'runs')
    upload(server, data / 'clips', 'clips')
    s3_paths.connect(['s3://work'])
    return epath.Path('s3://work')


def upload(server, folder: Path, name: str) -> None:
    for path in folder.rglob('*'):
        if path.is_file():
            server.put('work', f'{name}/{path.relative_to(folder).as_posix()}', path.read_bytes(), public=False)


def test_estimate_gives_the_bytes_of_a_local_folder_and_resumes(bucket, here, capsys):
    out = bucket / 'out'
    assert estimate(bucket / 'runs', bucket / 'clips', out) == 3
    for name in ('distances.csv', 'clips.csv'):
        assert (out / name).read_bytes() == (here / 'estimate' / name).read_bytes(), name
    assert not (out / 'running.lock').exists()
    lost, *kept = sorted((out / 'work').glob('*/*.clips.json'))
    lost.unlink()
    before = [s3_paths.object_version(str(path)) for path in kept]
    capsys.readouterr()
    assert estimate(bucket / 'runs', bucket / 'clips', out) == 3
    assert [s3_paths.object_version(str(path)) for path in kept] == before and lost.exists()


def test_score_gives_the_bytes_of_a_local_folder(bucket, here, data):
    from chimp_jax.commands import entry

    flags = [f'--members={bucket}/runs', f'--records={data}', '--weights=mean', '--details']
    assert entry.main(['score', *flags, f'--out={bucket}/scores.csv']) == 0
    assert (bucket / 'scores.csv').read_bytes() == (here / 'scores.csv').read_bytes()


def test_records_in_s3_are_refused_in_a_line(bucket, capsys):
    from chimp_jax.commands import entry

    flags = [f'--members={bucket}/runs', f'--records={bucket}/records', f'--out={bucket}/other.csv']
    assert entry.main(['score', *flags]) == 1
    error = capsys.readouterr().err
    assert 'TensorFlow cannot read records in S3; copy the folder' in error and error.count('\n') == 1
    assert os.environ['EPATH_USE_TF'] == 'false'
