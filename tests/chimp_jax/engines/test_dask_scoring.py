"""Scoring on a cluster of Dask with two worker processes: the bytes of one machine. Run it with make test-beam."""

import pytest
import small_workers
from run_estimate import estimate

pytest.importorskip('apache_beam', reason='Apache Beam is not installed; run make test-beam')
distributed = pytest.importorskip('distributed', reason='Dask is not installed; run make test-beam')
pytestmark = pytest.mark.usefixtures('small_processes')


def test_a_worker_killed_in_the_middle_and_the_bytes_of_one_machine(data, check_same, tmp_path, monkeypatch):
    monkeypatch.setenv(small_workers.KILL, str(tmp_path / 'killed'))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = f'--dask_client_address={cluster.scheduler_address}'
        assert estimate(data / 'runs', data / 'clips', tmp_path / 'dask', '--runner=DaskRunner', address) == 3
        distributed.default_client().close()  # of DaskRunner: it would look for the cluster after its end
    assert (tmp_path / 'killed').exists()
    check_same(tmp_path / 'dask')
