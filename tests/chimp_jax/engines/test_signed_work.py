"""Work travels between the processes of a run as pickles. Only what the run has signed is read."""

import hashlib
import hmac
import itertools
import pickle

import pytest

from chimp_jax.engines import processes
from data_prep.workers.guard import WorkerError


def run(folder, key: bytes) -> processes._Run:
    return processes._Run(folder, 1, 2, itertools.count(), key, set())


def test_a_signature_is_the_hmac_of_the_content(tmp_path):
    one = run(tmp_path, b'k' * 32)
    signed = one.sign(b'work')
    assert signed == hmac.new(b'k' * 32, b'work', hashlib.sha256).digest() + b'work'
    assert one.checked(signed) == b'work'


@pytest.mark.parametrize('change', [lambda signed: signed[:-1] + b'x', lambda signed: signed[32:], lambda signed: b''])
def test_work_of_others_is_not_unpickled(tmp_path, monkeypatch, change):
    monkeypatch.setattr(processes, '_run', run(tmp_path, b'k' * 32))
    (tmp_path / '0.work').write_bytes(change(run(tmp_path, b'k' * 32).sign(pickle.dumps((None, [[], []])))))
    monkeypatch.setattr(pickle, 'loads', None)  # would fail if it were called
    with pytest.raises(WorkerError, match='was not written by this run; delete the folder'):
        processes._help()
    (tmp_path / '1.work').write_bytes(run(tmp_path, b'other' * 7).sign(b''))
    with pytest.raises(WorkerError, match='was not written by this run'):
        processes._help()
