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


@pytest.fixture(scope='module')
def gate(server):
    gate = s3_server.Gate(server.address)
    yield gate
    gate.close()


@pytest.fixture
def bucket(server, gate, data, monkeypatch):
    """s3://work with members and clips, and the settings of a user who may write it."""
    settings = {
        'AWS_ENDPOINT_URL': gate.url,
        'AWS_MAX_ATTEMPTS': '1',
        'AWS_ACCESS_KEY_ID': 'key',
        'AWS_SECRET_ACCESS_KEY': 'secret',
    }
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


@pytest.mark.slow
def test_an_expired_credential_a_full_bucket_and_the_bytes_of_a_local_folder(bucket, gate, here, capsys):
    out = bucket / 'out'
    expired, full = (403, 'ExpiredToken'), (507, 'StorageFull')

    def fails(refusal: tuple[int, str], methods: tuple[str, ...], n_batches: int) -> str:
        """The output of a run that is refused after so many batches."""
        done = []

        def refuse(method: str, path: str):
            if len(done) == n_batches and method in methods:
                return refusal
            if method == 'PUT' and path.endswith('.clips.json'):
                done.append(path)
            return None

        gate.refuse = refuse
        capsys.readouterr()
        assert estimate(bucket / 'runs', bucket / 'clips', out) == 1
        gate.refuse = lambda method, path: None
        (out / 'running.lock').unlink(missing_ok=True)  # of this process, which lives on; it could not remove the file
        return capsys.readouterr().err

    def saved() -> dict[str, tuple]:
        return {str(path): s3_paths.object_version(str(path)) for path in (out / 'work').glob('*/*.clips.json')}

    told = fails(expired, ('GET', 'HEAD', 'PUT', 'DELETE', 'POST'), 1)
    assert told.startswith('estimate failed: ') and '(ExpiredToken)' in told and told.count('\n') == 1
    first = saved()
    assert len(first) == 1
    told = fails(full, ('PUT',), 1)
    assert told.startswith('estimate failed: s3://work/out/work/') and '(StorageFull)' in told and told.count('\n') == 1
    second = saved()
    assert len(second) == 2 and first.items() <= second.items()
    assert estimate(bucket / 'runs', bucket / 'clips', out) == 3
    for name in ('distances.csv', 'clips.csv'):
        assert (out / name).read_bytes() == (here / 'estimate' / name).read_bytes(), name
    assert len(saved()) == 4 and second.items() <= saved().items()
    assert not (out / 'running.lock').exists()


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
