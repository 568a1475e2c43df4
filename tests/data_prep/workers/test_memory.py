"""The limit of the memory: sizes, control groups of Linux, shares of workers, and a worker that outgrows its share."""

import os

import pytest

from data_prep.workers import guard, memory
from data_prep.workers.guard import WorkerDied


@pytest.fixture(autouse=True)
def unlimited():
    yield
    memory.limit_to(None)


def grow(n_bytes: int):
    """Runs in a worker."""
    content = b'x' * n_bytes
    return len(content), os.getpid()


def test_sizes():
    for text, expected in [
        ('4GB', 4_000_000_000),
        ('2.5 gb', 2_500_000_000),
        ('2GiB', 2 << 30),
        ('1500MB', 1_500_000_000),
        ('1600000KB', 1_600_000_000),
        ('0.002TB', 2_000_000_000),
    ]:
        memory.limit_to(text)
        assert memory.limit_bytes() == expected


@pytest.mark.parametrize('text', ['4', 'GB', '0%', '101%', '-4GB', '4TBB', '1e9', '4GB; rm', '500MB', '0GB', ''])
def test_other_texts_are_refused_by_name(text):
    with pytest.raises(ValueError, match='--memory='):
        memory.limit_to(text)


def test_too_little_and_more_than_the_computer_has_are_told_apart():
    with pytest.raises(ValueError, match='too little; give at least 1.5GB'):
        memory.limit_to('1KB')
    with pytest.raises(ValueError, match='too little; give at least 2GB'):
        memory.limit_to('1.9GB', least_bytes=2_000_000_000)
    with pytest.raises(ValueError, match='more than the .* of this computer'):
        memory.limit_to('999TB')


def test_by_default_the_limit_is_four_fifths_of_what_is_available(monkeypatch):
    monkeypatch.setattr(memory, 'available_bytes', lambda: 10_000_000_000)
    memory.limit_to(None)
    assert memory.limit_bytes() == 8_000_000_000
    memory.limit_to('50%')
    assert memory.limit_bytes() == 5_000_000_000


def test_a_small_memory_has_fewer_workers_and_half_of_it_is_theirs():
    memory.limit_to('4GB')
    assert memory.worker_shares(2) == (2, 1_000_000_000)
    assert memory.worker_shares(16) == (4, 500_000_000)
    memory.limit_to('1.5GB')
    assert memory.worker_shares(16) == (1, 750_000_000)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace('__', '.')).write_text(content)


def test_control_groups_of_version_2(tmp_path):
    """The group of the job allows 3 GB, of which 1 GB is in use, 0.4 GB of it cached files; above it is no limit."""
    root, inner = tmp_path / 'fs', tmp_path / 'fs/slurm/job'
    write(root, memory__stat='inactive_file 0\n')
    write(root / 'slurm', memory__max='max\n', memory__current='5\n', memory__stat='inactive_file 0\n')
    stat = 'anon 600000000\ninactive_file 400000000\n'
    write(inner, memory__max='3000000000\n', memory__current='1000000000\n', memory__stat=stat)
    (tmp_path / 'cgroup').write_text('0::/slurm/job\n')
    assert memory._group_headroom(tmp_path / 'cgroup', root) == [2_400_000_000]


def test_control_groups_of_version_1(tmp_path):
    """In a container, the path of the group is that of the host, and the files lie at the top."""
    files = {'memory__limit_in_bytes': '2000000000', 'memory__usage_in_bytes': '2500000000'}
    write(tmp_path / 'fs/memory', **files, memory__stat='inactive_file 1\ntotal_inactive_file 100\n')
    (tmp_path / 'cgroup').write_text('5:cpu,cpuacct:/docker/1\n4:memory:/docker/1\n')
    assert memory._group_headroom(tmp_path / 'cgroup', tmp_path / 'fs') == [0]
    assert memory._group_headroom(tmp_path / 'missing', tmp_path / 'fs') == []


def test_a_worker_that_outgrows_its_share_is_ended_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(memory, 'worker_shares', lambda n: (min(n, 2), 250_000_000))
    sizes = [1000, 1_000_000_000, 2000]
    found = dict(guard.run_guarded('test_memory:grow', sizes, 2, lambda _: 600.0))
    reason = 'its worker process took more than 0.2 GB, its share of --memory (give more), twice'
    assert found[1_000_000_000] == WorkerDied(reason, crashed=True)
    assert found[1000][0] == 1000 and found[2000][0] == 2000


def test_a_task_that_outgrew_its_share_beside_others_has_the_shares_of_all_alone(monkeypatch):
    monkeypatch.setattr(memory, 'worker_shares', lambda n: (n, 250_000_000 if n > 1 else 2_000_000_000))
    found = dict(guard.run_guarded('test_memory:grow', [400_000_000], 2, lambda _: 600.0))
    assert found[400_000_000][0] == 400_000_000
