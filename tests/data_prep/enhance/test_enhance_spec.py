import hashlib

import numpy as np
import pytest

from data_prep.enhance.spec import AUTO_STEPS, Enhancement, parse_enhancement


def test_texts_by_hand(tmp_path):
    assert parse_enhancement('off') is None
    assert parse_enhancement('auto') == Enhancement(AUTO_STEPS, 640, 640)
    # The order of the text does not count.
    assert parse_enhancement('sharpen, deblock ,below=480,to=512') == Enhancement(('deblock', 'sharpen'), 480, 512)
    file = tmp_path / 'n.npz'
    np.savez(file, kernel_0=np.zeros((3, 3, 1, 4)), bias_0=np.zeros(4))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    found = parse_enhancement(f'fuse,network={file}')
    assert found == Enhancement(('fuse', 'upscale'), 640, 640, str(file), digest)
    # The text is kept in options.json: another file is another text, wherever it lies.
    assert str(found) == f'fuse,upscale,network={digest[:12]},below=640,to=640'


def test_640_px_is_not_below_640_px():
    enhancement = parse_enhancement('auto')
    assert enhancement.applies_to(639) and not enhancement.applies_to(640)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'no step'),
        ('sharpness', "'sharpness' is no step"),
        ('below=480', 'no step'),
        ('auto,below=0', 'below=0 must be a width'),
        ('auto,to=', "'to=' is no step"),
        ('auto,network=/no/file.npz', '/no/file.npz does not exist'),
        ('auto,off', "'off' is no step"),
        ('auto,to=4097', 'to=4097 must be a width of 10 to 4096 px'),
        ('auto,below=640,below=320', 'gives below twice'),
        ('auto,network=http://host/n.npz', 'http://host/n.npz must be a local file or at gs://'),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(ValueError, match=message):
        parse_enhancement(text)


@pytest.mark.parametrize(
    'arrays',
    [
        {},
        {'kernel_0': np.zeros((3, 3, 1, 8)), 'bias_0': np.zeros(8)},  # not four outputs
        {'kernel_0': np.zeros((3, 3, 3, 4)), 'bias_0': np.zeros(4)},  # colour
        {'kernel_0': np.full((3, 3, 1, 4), np.nan), 'bias_0': np.zeros(4)},
        {'kernel_0': np.zeros((5, 5, 1, 4)), 'bias_0': np.zeros(4)},
    ],
)
def test_a_file_that_is_no_network(tmp_path, arrays):
    np.savez(tmp_path / 'n.npz', **arrays)
    with pytest.raises(ValueError, match='is no network'):
        parse_enhancement(f'auto,network={tmp_path / "n.npz"}')
    (tmp_path / 'n.npz').write_text('text')
    with pytest.raises(ValueError, match='is no network'):
        parse_enhancement(f'auto,network={tmp_path / "n.npz"}')
