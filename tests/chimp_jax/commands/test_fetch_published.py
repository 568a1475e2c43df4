"""`fetch published` from a server on the loopback, with a stand-in of the same layout that Keras has made."""

import hashlib
import json
import re

import h5py
import keras_small
import pytest
import small
from loopback_server import serve

from chimp_jax import members
from chimp_jax.commands import entry
from chimp_jax.sharing import model_shapes, published

PLACE = 'full-a4p50-f7s1/fold_0'


def legacy_file(path, seed: int, units: int = 8) -> bytes:
    from keras.src.legacy.saving import legacy_h5_format  # TensorFlow 2's format; Keras 3's public API only reads it

    with h5py.File(path, 'w') as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, keras_small.whole_model(seed=seed, units=units))
    return path.read_bytes()


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    return legacy_file(tmp_path_factory.mktemp('keras') / 'a.h5', seed=0)


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    monkeypatch.setattr(model_shapes, 'DistanceModel', small.model)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    with serve() as one:
        one.content = content
        yield one


@pytest.fixture
def fetch(server, tmp_path):
    def run(*more, out=tmp_path / 'runs'):
        return entry.main(['fetch', 'published', '--url', server.url, '--out', str(out), *more])

    return run


def failure(capsys) -> str:
    """Returns the one line that a failed command printed."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('fetch failed: ')
    return line


def cached(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / 'cache').rglob('*') if path.is_file())


def test_the_published_member_is_fetched_once_and_imported(fetch, server, content, tmp_path, capsys):
    assert fetch() == 0
    digest = hashlib.sha256(content).hexdigest()
    assert f'SHA-256 {digest}' in capsys.readouterr().out
    (member,) = members.find_members(tmp_path / 'runs')
    assert member.name == PLACE and member.config.data.folds == 'published'
    told = json.loads((member.folder / 'member.json').read_text())
    assert (told['val_mae'], told['weights_sha256']) == (1.3361, digest)
    provenance = json.loads((member.folder / 'provenance.json').read_text())
    assert (provenance['file'], provenance['source']) == ('model-best-f0-e026-1.3361-2.3612.h5', server.url)
    assert fetch() == 0
    assert 'there already' in capsys.readouterr().out and len(server.ranges) == 1
    assert fetch(out=tmp_path / 'other') == 0 and len(server.ranges) == 1  # imported again from the cache


def test_the_address_is_that_of_the_authors_notebook(server, tmp_path, monkeypatch, capsys):
    # deep-chimpact-winners, 3rd Place/notebook/demo.ipynb, names it with dl=0 for `curl -L`
    assert published.URL == 'https://www.dropbox.com/s/r4zbpbjwu2x9mwj/model-best-f0-e026-1.3361-2.3612.h5?dl=1'
    monkeypatch.setattr(published, 'URL', server.url)
    monkeypatch.chdir(tmp_path)
    assert entry.main(['fetch', 'published']) == 0
    assert (tmp_path / 'runs' / PLACE / 'member.json').exists()
    assert re.fullmatch(rf'.*h5: from {server.url}, 0.3 MB', capsys.readouterr().out.splitlines()[-4])


def test_a_cut_connection_is_continued(fetch, server, content, tmp_path, capsys):
    server.cut_after = 100_000
    assert fetch() == 1
    assert 'the connection ended after 0.1 of 0.3 MB; run the same command again to resume' in failure(capsys)
    assert not (tmp_path / 'runs').exists()
    server.cut_after = None
    assert fetch() == 0
    assert server.ranges == [None, 'bytes=100000-'] and server.sent == len(content)


def test_a_web_page_in_its_place(fetch, server, tmp_path, capsys):
    server.content = b'<!DOCTYPE html><html>Sign in</html>'
    assert fetch() == 1
    assert 'gives a web page, not the weights; give the address of the file itself with --url' in failure(capsys)
    assert cached(tmp_path) == [] and not (tmp_path / 'runs').exists()


def test_a_wrong_file_is_not_kept(fetch, server, content, tmp_path, capsys):
    server.content = legacy_file(tmp_path / 'wrong.h5', seed=0, units=9)
    assert fetch() == 1
    assert 'does not fit the model: 4 of another shape: params/dense/kernel (9, 6), not (8, 6)' in failure(capsys)
    server.content = content[:-1000]  # an HDF5 file that ends too early, sent whole
    assert fetch() == 1
    assert 'is not a readable HDF5 file' in failure(capsys)
    assert cached(tmp_path) == [] and not list((tmp_path / 'runs').rglob('member.json'))
    server.content = content
    assert fetch() == 0


def test_a_wrong_hash(fetch, content, tmp_path, capsys):
    digest = hashlib.sha256(content).hexdigest()
    assert fetch('--sha256', '0' * 64) == 1
    line = failure(capsys)
    assert f'the file has SHA-256 {digest}, not {"0" * 64}, and is deleted' in line and '--sha256' in line
    assert cached(tmp_path) == [] and not (tmp_path / 'runs').exists()
    assert fetch('--sha256', digest.upper()) == 0
    assert fetch('--sha256', '0' * 64) == 1  # the file in the cache is checked, too
    assert fetch('--sha256', 'abc') == 1
    assert '--sha256=abc is no SHA-256; give 64 digits' in capsys.readouterr().err.splitlines()[-1]


def test_a_file_in_the_cache_that_has_changed_is_fetched_again(fetch, server, content, tmp_path):
    assert fetch() == 0
    (path,) = (tmp_path / 'cache').rglob('*.h5')
    path.write_bytes(content[:-1])
    assert fetch() == 0 and len(server.ranges) == 2 and path.read_bytes() == content


def test_another_file_never_replaces_the_member(fetch, server, tmp_path, capsys):
    assert fetch() == 0
    server.content = legacy_file(tmp_path / 'other.h5', seed=1)
    capsys.readouterr()
    assert entry.main(['fetch', 'published', '--url', f'{server.url}?2', '--out', str(tmp_path / 'runs')]) == 1
    assert 'fold_0 was imported from another file, and' in failure(capsys)


def test_a_file_of_the_user_needs_no_network(server, tmp_path, capsys):
    legacy_file(tmp_path / 'mine.h5', seed=0)
    arguments = ['fetch', 'published', '--out', str(tmp_path / 'runs'), '--file', str(tmp_path / 'mine.h5')]
    assert entry.main(arguments) == 0 and server.ranges == []
    assert (tmp_path / 'runs' / PLACE / 'member.json').exists()
    assert entry.main([*arguments, '--url', server.url]) == 1
    assert '--file uses no network; leave --url and --sha256 out' in failure(capsys)


@pytest.mark.parametrize('flag', ['--url', '--sha256', '--out'])
def test_flags_of_the_published_member_are_refused_for_the_detector(capsys, flag):
    assert entry.main(['fetch', 'detector', flag, 'x']) == 1
    assert f'{flag} is for fetch published; leave it out' in failure(capsys)


def test_no_network(fetch, tmp_path, capsys):
    arguments = ['fetch', 'published', '--url', 'http://127.0.0.1:9/x.h5', '--out', str(tmp_path / 'runs')]
    assert entry.main(arguments) == 1
    assert 'http://127.0.0.1:9/x.h5 cannot be reached: ' in failure(capsys)
