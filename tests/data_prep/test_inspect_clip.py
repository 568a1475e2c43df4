import numpy as np
import pytest
from make_clips import write_clip
from matplotlib.figure import Figure
from PIL import Image

from data_prep import inspect_clip


@pytest.fixture(scope='module')
def late_white(tmp_path_factory):
    """Grey for 2 s, then 30 % of each picture white: 3 s at 8 pictures a second."""
    frames = np.full((24, 40, 80, 3), 200, np.uint8)
    frames[16:, :, :24] = 255
    return write_clip(tmp_path_factory.mktemp('clip') / 'late white.mp4', frames, 8)


def test_the_decision_is_that_of_data_preparation(late_white):
    found = inspect_clip.inspect_clip(str(late_white), 0)
    assert found.white_fraction == 0 and found.overexposed
    assert {second: round(fraction, 1) for second, fraction in found.judged.items()} == {0: 0.0, 1: 0.0, 2: 0.3}
    # Luma 188 of 16..235 (RGB 200) becomes 12 by the published table, which is black.
    assert abs(found.standard.astype(int) - 200).max() <= 3 and found.corrected.max() <= 12


def test_picture_and_one_line(late_white, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert inspect_clip.main([str(late_white), '--second=12']) == 0
    printed = capsys.readouterr().out
    assert 'has no second 12; the picture shows its last second' in printed
    assert 'overexposed, gamma correction: the whitest of 3 seconds has 30' in printed
    with Image.open('late white-second-12.png') as picture:
        assert picture.size == (1200, 800)
        assert len(picture.convert('L').getcolors(256)) > 50


def test_it_is_told_whether_a_clip_is_enhanced(late_white, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(inspect_clip, 'draw', lambda *_: Figure())
    Image.new('RGB', (80, 40)).save(tmp_path / 'photo.jpg')
    for path, spec, line in (
        (late_white, 'upscale,to=160', 'enhanced: 80 px wide'),
        (late_white, 'upscale,below=80', 'not enhanced: 80 px wide, not below 80 px'),
        (tmp_path / 'photo.jpg', 'upscale', 'not enhanced: photos stay as they are'),
    ):
        assert inspect_clip.main([str(path), f'--enhance={spec}', f'--out={tmp_path}/out.png']) == 0
        assert capsys.readouterr().out.splitlines()[0] == line


def test_mistakes_are_one_line(tmp_path, late_white, capsys):
    (tmp_path / 'x.mp4').write_bytes(b'nothing')
    for arguments in ([str(tmp_path / 'x.mp4')], ['nowhere.mp4'], [str(late_white), f'--out={tmp_path}/no/folder.png']):
        assert inspect_clip.main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith('inspect failed: ') and error.count('\n') == 1
