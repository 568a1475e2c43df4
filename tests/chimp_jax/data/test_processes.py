"""Several processes of one run share a folder, and only the first one writes into it and tidies it."""

import jax
import pytest

from chimp_jax.data import processes


@pytest.mark.parametrize('process,left', [(0, ['member.json']), (1, ['member.json', 'member.json.0123456789ab.tmp'])])
def test_only_the_process_that_writes_removes_unfinished_files(tmp_path, monkeypatch, process, left):
    """Another process may come here while the first one is writing its last file."""
    monkeypatch.setattr(jax, 'process_index', lambda: process)
    for name in ('member.json', 'member.json.0123456789ab.tmp'):
        (tmp_path / name).write_text('{}')
    processes.clean_shared(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == left
