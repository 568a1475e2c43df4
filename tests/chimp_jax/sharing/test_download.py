"""Downloads from a server on the loopback: whole, continued, cut, too large, another file, a full disk."""

import json
import os
import types

import pytest
from loopback_server import CONTENT, serve

from chimp_jax.sharing.download import DownloadError, download


@pytest.fixture
def server():
    with serve() as one:
        yield one


def no_fault(start: bytes) -> str:
    return 'a web page' if start.startswith(b'<') else ''


def get(server, path, most_bytes=10**6, url=None):
    download(server.url if url is None else url, path, most_bytes, no_fault)


def refused(server, path, **given) -> str:
    """Returns the one line of a download that fails. No file appears."""
    with pytest.raises(DownloadError) as caught:
        get(server, path, **given)
    assert '\n' not in str(caught.value) and not path.exists()
    return str(caught.value)


def test_a_whole_file(server, tmp_path):
    get(server, tmp_path / 'new' / 'a.h5')
    assert (tmp_path / 'new' / 'a.h5').read_bytes() == CONTENT
    assert os.listdir(tmp_path / 'new') == ['a.h5'] and server.ranges == [None]


def test_a_cut_connection_is_continued(server, tmp_path):
    path, server.cut_after = tmp_path / 'a.h5', 100_000
    line = refused(server, path)
    assert line == f'{server.url}: the connection ended after 0.1 of 0.3 MB; run the same command again to resume'
    assert (tmp_path / 'a.h5.part').read_bytes() == CONTENT[:100_000]
    assert 'ended after 0.2 of 0.3 MB' in refused(server, path)  # cut again, 100 kB later
    server.cut_after = None
    get(server, path)
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path) == ['a.h5']
    assert server.ranges == [None, 'bytes=100000-', 'bytes=200000-'] and server.sent == len(CONTENT)


def test_the_date_is_a_mark_if_there_is_no_strong_tag(server, tmp_path):
    server.tag, server.modified, server.cut_after = 'W/"weak"', 'Mon, 01 Nov 2021 00:00:00 GMT', 100_000
    refused(server, tmp_path / 'a.h5')
    server.cut_after = None
    get(server, tmp_path / 'a.h5')
    assert server.ranges[1] == 'bytes=100000-' and (tmp_path / 'a.h5').read_bytes() == CONTENT


@pytest.mark.parametrize('change', ['no ranges', 'another content', 'no mark', 'another address', 'damaged note'])
def test_what_cannot_be_continued_starts_anew(server, tmp_path, change):
    path, server.cut_after = tmp_path / 'a.h5', 100_000
    url = server.url
    if change == 'no mark':
        server.tag = ''
    refused(server, path)
    server.cut_after = None
    if change == 'no ranges':
        server.has_ranges = False
    elif change == 'another content':
        server.content, server.tag = CONTENT[::-1], '"v2"'
    elif change == 'another address':
        url = f'{server.url}?b'
    elif change == 'damaged note':
        (tmp_path / 'a.h5.part.json').write_text('[')
    get(server, path, url=url)
    assert path.read_bytes() == server.content and os.listdir(tmp_path) == ['a.h5']


def test_a_server_that_sends_another_part_is_not_believed(server, tmp_path):
    path, server.cut_after = tmp_path / 'a.h5', 100_000
    refused(server, path)
    server.cut_after, server.range_start = None, 50
    assert 'another part than asked for; run the same command' in refused(server, path)
    get(server, path)  # from the start
    assert path.read_bytes() == CONTENT


def test_a_whole_part_of_a_killed_run_needs_no_more_bytes(server, tmp_path):
    path, server.cut_after = tmp_path / 'a.h5', 100_000
    refused(server, path)
    (tmp_path / 'a.h5.part').write_bytes(CONTENT)
    server.status, server.content_range = 416, f'bytes */{len(CONTENT)}'
    get(server, path)
    assert path.read_bytes() == CONTENT and os.listdir(tmp_path) == ['a.h5']


def test_a_part_that_does_not_fit_starts_anew(server, tmp_path):
    path, server.cut_after = tmp_path / 'a.h5', 100_000
    refused(server, path)
    server.cut_after, server.status = None, 416
    assert 'the server answers 416' in refused(server, path)  # without a part, too
    assert server.ranges == [None, 'bytes=100000-', None] and not list(tmp_path.iterdir())


@pytest.mark.parametrize('chunked', [False, True])
def test_without_a_length(server, tmp_path, chunked):
    server.has_length, server.chunked = False, chunked
    get(server, tmp_path / 'a.h5')
    assert (tmp_path / 'a.h5').read_bytes() == CONTENT
    if chunked:  # else nobody can see that the connection was cut
        server.cut_after = 100_000
        assert 'the connection ended after 0.1 MB; run' in refused(server, tmp_path / 'b.h5')


def test_a_web_page_in_its_place(server, tmp_path):
    server.content = b'<!DOCTYPE html>' + b' ' * 1000
    line = refused(server, tmp_path / 'a.h5')
    assert line.startswith(f'{server.url} gives a web page, not the weights; give the address of the file itself')
    assert '--url' in line and 'dl=1' in line and not list(tmp_path.iterdir())


def test_files_that_are_too_large(server, tmp_path):
    assert 'has 0 MB, and at most 0 MB are expected' in refused(server, tmp_path / 'a.h5', most_bytes=255_999)
    assert server.sent <= len(CONTENT) and not list(tmp_path.iterdir())
    server.has_length = False
    assert 'gives more than the 0 MB' in refused(server, tmp_path / 'a.h5', most_bytes=255_999)
    assert not list(tmp_path.iterdir())
    get(server, tmp_path / 'a.h5', most_bytes=256_000)


def test_a_full_disk(server, tmp_path):
    """/dev/full behaves as a file on a full disk: every write fails."""
    (tmp_path / 'a.h5.part').symlink_to('/dev/full')
    path = tmp_path / 'a.h5'
    real = os.unlink
    with pytest.MonkeyPatch.context() as patch:  # a new part would be an ordinary file
        patch.setattr(os, 'unlink', lambda name, **more: None if str(name).endswith('.part') else real(name, **more))
        line = refused(server, path)
    assert line.startswith(
        f'{path}.part cannot be written: No space left on device; free some space or set XDG_CACHE_HOME'
    )


def test_too_little_space_is_found_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr('shutil.disk_usage', lambda folder: types.SimpleNamespace(free=1000))
    line = refused(server, tmp_path / 'a.h5')
    assert '0 MB are free and 0 MB are required' in line and not list(tmp_path.iterdir())


@pytest.mark.parametrize('code', [403, 404, 500])
def test_an_error_of_the_server(server, tmp_path, code):
    server.status = code
    assert f'{server.url}: the server answers {code} ' in refused(server, tmp_path / 'a.h5')


def test_addresses_that_are_none(server, tmp_path):
    for url in ('file:///etc/passwd', 'ftp://127.0.0.1/x', 'model.h5', 'https://', ''):
        assert f'{url} is no address of a file' in refused(server, tmp_path / 'a.h5', url=url)
    for url in ('http://127.0.0.1:9/x', 'http://[::1', 'http://127.0.0.1:99999/', 'http://127.0.0.1/a b'):
        line = refused(server, tmp_path / 'a.h5', url=url)
        assert 'cannot be reached' in line or 'gives no readable answer' in line


@pytest.mark.parametrize('location', ['file:///etc/hostname', 'ftp://127.0.0.1:9/x'])
def test_a_redirection_never_leaves_http(server, tmp_path, location):
    server.status, server.location = 302, location
    refused(server, tmp_path / 'a.h5')


def test_the_progress_has_a_time_left(server, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('data_prep.progress.SECONDS_BETWEEN_LINES', 0.0)
    server.content = CONTENT * 20  # 5 MB
    get(server, tmp_path / 'a.h5', most_bytes=10**7)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith('fetch: 2 of 5 MB') and 'left' in line for line in lines), lines
    assert lines[-1].startswith('fetch: 5 of 5 MB') and 'done in' in lines[-1]


def test_the_note_of_a_part_holds_address_and_mark_only(server, tmp_path):
    server.cut_after = 100_000
    refused(server, tmp_path / 'a.h5')
    assert json.loads((tmp_path / 'a.h5.part.json').read_text()) == {'url': server.url, 'mark': '"v1"'}
