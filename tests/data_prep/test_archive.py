import os
import unicodedata

import pytest

from data_prep.archive import Archive, Names, local_copy, path_fault, plain_name, size_bytes


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_clips_of_any_name(tmp_path):
    names = [
        'a.MP4',
        'A b/IMG_0001.avi',
        'c/IMG_0001.AVI',
        'v1.2.mov',
        'forêt.mkv',
        'x.m4v',
        'x.WMV',
        'x.mpg',
        'x.Ts',
        'x.asf',
        'IMG_0001.JPG',
        'c/p.jpeg',
        'c/p.Png',
        *(f'more/x{suffix}' for suffix in '.flv .WEBM .3gp .MTS .m2ts .MOD .vob .ogv .h264 .DivX'.split()),
    ]
    touch(tmp_path, *names, 'notes.txt', 'x.tif', 'x.THM', 'c/._IMG_0001.AVI', '._p.jpg', 'noext')
    archive = Archive([tmp_path])
    assert archive.clips() == sorted(names)
    assert archive.find('c/IMG_0001.AVI') == str(tmp_path / 'c/IMG_0001.AVI')
    assert archive.find('IMG_0001.AVI') is None
    assert archive.near('C/img_0001.avi') == 'c/IMG_0001.AVI'
    assert archive.photos() == ['IMG_0001.JPG', 'c/p.Png', 'c/p.jpeg'] and archive.find('c/p.Png')
    assert archive.notes() == [f'{tmp_path} holds 3 photos and 20 videos; both are read as clips']


def test_photos_alone_need_no_note(tmp_path):
    touch(tmp_path, 'a.jpg', 'b.png')
    assert Archive([tmp_path]).photos() == ['a.jpg', 'b.png'] and not Archive([tmp_path]).notes()


def test_pictures_that_a_run_or_a_system_keeps_are_no_photos(tmp_path):
    name = '0123456789abcdef0123'
    own = [f'out/work/looks/{name}/{name}.png', f'work/looks/{name}/{name}.png', 'a/.thumbnails/normal/1.png']
    touch(tmp_path, *own, 'work/looks/1.png', f'work/looks/{name}/IMG_1.png')
    assert Archive([tmp_path]).clips() == ['work/looks/0123456789abcdef0123/IMG_1.png', 'work/looks/1.png']


def test_folders_of_the_system_are_passed_over(tmp_path, remote):
    hidden = ['$RECYCLE.BIN/S-1/a.mp4', 'x/@eaDir/a.mp4', 'System Volume Information/a.mp4', '.Trashes/501/a.mp4']
    hidden += ['.Trash-1000/files/a.mp4', 'lost+found/a.mp4']
    shown = ['recycle/a.mp4', 'x/eaDir/a.mp4']
    for root in (tmp_path / 'card', remote / 'bucket' / 'card'):
        touch(root, *hidden, *shown, 'Thumbs.db', '.DS_Store', 'x/desktop.ini')
    for root in (tmp_path / 'card', 'gs://bucket/card'):
        archive = Archive([root])
        assert archive.clips() == shown and not archive.other_files()
        assert archive.find(hidden[0]) is None


def test_files_that_may_be_videos(tmp_path):
    touch(
        tmp_path, 'a.mp4', 'IMG_1.jpg', 'IMG_1.THM', 'notes.TXT', 'md.json', '.hidden', '._a.xyz', 's/video', 's/b.dat'
    )
    assert Archive([tmp_path]).other_files() == {
        's/b.dat': str(tmp_path / 's/b.dat'),
        's/video': str(tmp_path / 's/video'),
    }


def test_accented_letters_in_two_forms(tmp_path):
    whole, parts = (unicodedata.normalize(form, 'forêt.mp4') for form in ('NFC', 'NFD'))
    assert whole != parts
    touch(tmp_path, parts)
    assert Archive([tmp_path]).find(whole) == str(tmp_path / parts)


def test_names_of_tables_and_tools(tmp_path):
    parts, whole = unicodedata.normalize('NFD', 'Forêt/é.mp4'), unicodedata.normalize('NFC', 'Forêt/é.mp4')
    mixed = parts[:5] + whole[4:]
    assert len({parts, whole, mixed}) == 3 and unicodedata.normalize('NFC', mixed) == whole
    archive = Archive([touch(tmp_path, parts, 'a b.mp4')])
    root = unicodedata.normalize('NFC', str(tmp_path))
    for name in (parts, whole, mixed, f'./{whole}', whole.replace('/', '\\'), f' {whole} ', f'{root}/{whole}'):
        assert archive.video_id_of(name) == parts, name
    assert archive.video_id_of('.\\gone\\c.mp4') == 'gone/c.mp4'
    assert parts in archive and whole not in archive
    assert archive.find(mixed) == str(tmp_path / parts) and archive.notes() == []


def test_files_that_differ_only_in_the_form_of_letters_are_two_clips_and_a_note(tmp_path):
    parts, whole = unicodedata.normalize('NFD', 'é.mp4'), unicodedata.normalize('NFC', 'é.mp4')
    archive = Archive([touch(tmp_path, parts, whole, 'x.mp4')])
    if len(archive.clips()) < 3:
        pytest.skip('this file system takes the two names for one')
    assert archive.video_id_of(parts) == parts and archive.video_id_of(whole) == whole
    assert archive.video_id_of(f'./{whole}') == whole
    assert archive.find(parts) == str(tmp_path / parts) and archive.find(whole) == str(tmp_path / whole)
    (note,) = archive.notes()
    assert note.startswith("'e\\u0301.mp4' and '\\xe9.mp4' look alike") and 'different clips' in note


def test_a_name_that_two_files_could_mean_is_neither():
    first, second = 'e\u0301\xe9', '\xe9e\u0301'  # neither is composed
    names = Names([first, second])
    assert names.video_id_of(first) == first and names.video_id_of('\xe9\xe9') == '\xe9\xe9'
    assert names.alike() == [[first, second]]


@pytest.mark.parametrize(
    ('name', 'plain'),
    [
        ('./a', 'a'),
        ('.\\a\\.\\b', 'a/b'),
        ('a//b', 'a/b'),
        ('a./b', 'a./b'),
        ('../a', '../a'),
        ('a/.b', 'a/.b'),
        ('gs://x/./a', 'gs://x/a'),
        ('\\\\h\\s', '/h/s'),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def test_several_roots(tmp_path):
    first, second = touch(tmp_path / '1', 'a.mp4', 's/b.mp4'), touch(tmp_path / '2', 'c.mp4', 's/b.mp4')
    archive = Archive([first, second])
    assert archive.clips() == ['a.mp4', 'c.mp4', 's/b.mp4']
    assert archive.find('c.mp4') == str(second / 'c.mp4')
    with pytest.raises(LookupError, match='is in .*1 and in .*2; give their common parent'):
        archive.find('s/b.mp4')
    with pytest.raises(ValueError, match='there is no folder .*3'):
        Archive([first, tmp_path / '3'])


def test_links_are_followed_without_circles(tmp_path):
    touch(tmp_path / 'disk', 'x.mp4', 'deep/y.mp4')
    root = touch(tmp_path / 'root', 'z.mp4')
    os.symlink(tmp_path / 'disk', root / 'disk')
    os.symlink(root, tmp_path / 'disk' / 'deep' / 'back')
    assert Archive([root]).clips() == ['disk/deep/y.mp4', 'disk/x.mp4', 'z.mp4']


def test_paths_of_other_tools(tmp_path, monkeypatch):
    touch(tmp_path / 'clips', 's/a.mp4')
    monkeypatch.chdir(tmp_path)
    archive = Archive(['clips'])
    for path in ('s/a.mp4', 'clips/s/a.mp4', str(tmp_path / 'clips/s/a.mp4')):
        assert archive.video_id_of(path) == 's/a.mp4'
    assert archive.video_id_of('/elsewhere/s/a.mp4') == '/elsewhere/s/a.mp4'


@pytest.mark.parametrize(
    'video_id',
    [
        '',
        '../a.mp4',
        'x/../../a.mp4',
        '/etc/a.mp4',
        'C:\\a.mp4',
        '..\\a.mp4',
        '\\\\h\\s\\a',
        'a\0.mp4',
        'a\n.mp4',
        'a\r.mp4',
        'a\u2028.mp4',
        'a\x85.mp4',
        'a\x1b[2J.mp4',
        'caf\udce9.mp4',
    ],
)
def test_invalid_paths(video_id):
    assert path_fault(video_id)


def test_odd_but_valid_paths():
    signs = ('\u202f', '\xa0', '\u200d', '\xad', '\u200b', '\u3000', '\ue000', '\U0001f412')
    for name in (
        *(f'19.12.24{sign}13.57.mp4' for sign in signs),
        'a..b.mp4',
        'ü/ a.mp4',
        '...mp4',
        'it\'s; "x",y.mp4',
        '猩.avi',
    ):
        assert path_fault(name) is None


def test_a_remote_clip_is_copied_and_deleted_afterwards(tmp_path, remote):
    touch(remote, 'bucket/clips/s/a.mp4')
    archive = Archive(['gs://bucket/clips'])
    assert archive.clips() == ['s/a.mp4']
    path = archive.find('s/a.mp4')
    assert path == 'gs://bucket/clips/s/a.mp4' and size_bytes(path) == 20
    with local_copy(path) as copy:
        assert open(copy).read() == 'bucket/clips/s/a.mp4'
    assert not os.path.exists(copy)
    with local_copy(str(tmp_path)) as same, local_copy(None) as nothing:
        assert (same, nothing) == (str(tmp_path), None)


def test_names_that_a_spreadsheet_runs_are_told(tmp_path):
    (tmp_path / '=cmd').mkdir()
    for name in ('=cmd/a.mp4', '@sum.mp4', 'b-1.mp4', 'c/=d.mp4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (note,) = Archive([tmp_path]).notes()
    assert note.startswith("2 names begin like a formula, which a spreadsheet runs, the first: '=cmd/a.mp4'; rename")
