"""Clips, members and results in gs:// through gcsfs, on an emulator on the loopback: the bytes of a local folder.

It requires two packages beside those of the locks: pip install gcsfs gcp-storage-emulator
"""

import os
import subprocess
import sys
import urllib.parse
import urllib.request

import jax
import pytest
import small_workers

pytest.importorskip('gcsfs', reason='requires the extra gs')
emulator = pytest.importorskip('gcp_storage_emulator.server', reason='requires gcp-storage-emulator')


@pytest.fixture
def address(data):
    """The address of an emulator with the bucket `work`, which has the clips and the members."""
    server = emulator.create_server('127.0.0.1', 0, in_memory=True, default_bucket='work')
    server.start()
    url = 'http://{}:{}'.format(*server._api._httpd.server_address[:2])
    for path in [*(data / 'runs').rglob('*'), *(data / 'clips').rglob('*')]:
        if path.is_file():
            query = urllib.parse.urlencode({'uploadType': 'media', 'name': path.relative_to(data).as_posix()})
            request = urllib.request.Request(f'{url}/upload/storage/v1/b/work/o?{query}', path.read_bytes())
            urllib.request.urlopen(request).close()
    yield url
    server.stop()


def test_estimate_gives_the_bytes_of_a_local_folder(address, here, tmp_path):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(('EPATH_', 'FSSPEC_'))}
    environment = plain | small_workers.environment(tmp_path / 'start', n_devices=jax.local_device_count())
    environment |= {'STORAGE_EMULATOR_HOST': address, 'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false'}
    start = 'import sys; from chimp_jax.commands import entry; sys.exit(entry.main(sys.argv[1:]))'
    command = [sys.executable, '-c', start, 'estimate', 'gs://work/clips', '--members=gs://work/runs']
    done = subprocess.run(
        [*command, '--out=gs://work/out', '--workers=1'], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode in (3, 4), done.stdout + done.stderr  # 4: the members are untrained
    for name in ('distances.csv', 'clips.csv'):
        path = urllib.parse.quote(f'out/{name}', safe='')
        with urllib.request.urlopen(f'{address}/storage/v1/b/work/o/{path}?alt=media') as answer:
            assert answer.read() == (here / 'estimate' / name).read_bytes(), name
