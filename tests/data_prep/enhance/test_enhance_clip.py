import io
import json

import numpy as np
import pandas as pd
import pytest
from make_clips import write_clip
from PIL import Image

from data_prep import build
from data_prep.decoding.decode import decode_seconds
from data_prep.enhance.spec import parse_enhancement
from data_prep.job import Job, result_options
from data_prep.workers.clip_record import ClipTask, make_records
from data_prep.workers.local import store_clip


def noisy_clip(path, n_seconds=12, height_px=48, width_px=64, codec='libx264', **more):
    """Writes a clip of one grey slope with fresh noise in each of 4 pictures a second."""
    rng = np.random.default_rng(0)
    slope = np.linspace(60, 180, width_px)[None, None, :, None]
    frames = slope + rng.normal(0, 6, (4 * n_seconds, height_px, width_px, 1))
    frames = np.repeat(np.clip(np.rint(frames), 0, 255).astype(np.uint8), 3, axis=3)
    return write_clip(path, frames, 4, codec, **more)


def pictures(record):
    return [np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in record.frame_jpeg]


def records(path, enhance, down_path=None, **more):
    return make_records(
        ClipTask('a.mp4', None if down_path is None else str(down_path), str(path), enhance=enhance, **more)
    )


def test_only_the_full_stream_of_a_small_clip_is_enhanced(tmp_path):
    path = noisy_clip(tmp_path / 'a.mp4', options={'crf': '1'})
    plain = records(path, None)
    assert plain.enhanced is None
    found = records(path, parse_enhancement('auto,to=128'))
    assert found.enhanced == 'deblock,fuse,upscale,below=640,to=128'
    assert found.records['down'].frame_jpeg == plain.records['down'].frame_jpeg
    full = found.records['full']
    assert (full.height_px, full.width_px) == (96, 128)
    assert full.frame_time_s.tolist() == plain.records['full'].frame_time_s.tolist()
    fused = pictures(records(path, parse_enhancement('fuse')).records['full'])
    before = pictures(plain.records['full'])
    slope = np.linspace(60, 180, 64)[None, :, None]
    # 12 frames with independent noise: a third of the noise, 6 / sqrt(12), is left.
    assert (fused[3] - slope).std() < 0.5 * (before[3] - slope).std()


def test_a_clip_that_is_large_enough_is_left_alone(tmp_path):
    path = noisy_clip(tmp_path / 'a.mp4', 2)
    plain, found = records(path, None), records(path, parse_enhancement('auto,below=64'))
    assert found.enhanced == ''
    assert found.records['full'].frame_jpeg == plain.records['full'].frame_jpeg
    # The full copy decides, not the downsampled one.
    small = noisy_clip(tmp_path / 'small.mp4', 2, 24, 32)
    assert records(path, parse_enhancement('auto,below=64'), small).enhanced == ''
    assert records(path, parse_enhancement('auto,below=65'), small).enhanced != ''


def test_equal_enhanced_frames_are_no_repeated_pictures(tmp_path):
    path = noisy_clip(tmp_path / 'a.mp4', options={'crf': '1'})
    made = records(path, parse_enhancement('fuse'))
    assert str(made.doubts['full']) == str(records(path, None).doubts['full']) == ''


def test_the_cameras_own_pictures_are_enhanced_too(tmp_path):
    """The pictures of an MJPEG clip are stored as they are, unless they are changed."""
    path = noisy_clip(tmp_path / 'a.avi', 8, codec='mjpeg', pix_fmt='yuvj420p')
    found = make_records(ClipTask('a.avi', None, str(path), enhance=parse_enhancement('deblock')))
    plain = make_records(ClipTask('a.avi', None, str(path)))
    assert found.records['full'].frame_jpeg != plain.records['full'].frame_jpeg
    assert found.records['down'].frame_jpeg == plain.records['down'].frame_jpeg


def test_deblocking_lowers_the_steps_at_blocks(tmp_path):
    """Blocks of 8 x 8 px whose means differ by a few levels, as coarse quantizers leave them."""
    blocks = np.random.default_rng(0).integers(100, 112, (6, 8)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
    frames = np.repeat(np.broadcast_to(blocks[None, ..., None], (8, 48, 64, 1)), 3, axis=3)
    path = write_clip(tmp_path / 'a.mp4', frames, 4, options={'crf': '1'})
    enhancement = parse_enhancement('deblock')
    (before,) = decode_seconds(path, [0])[1].values()
    after = pictures(records(path, enhancement).records['full'])[0]

    def steps(picture):
        return np.abs(np.diff(picture.astype(float).mean(axis=2), axis=1)[:, 7::8]).mean()

    assert steps(after) < 0.7 * steps(before)


@pytest.mark.parametrize(('enhance', 'expected'), [('off', None), ('auto', True), ('auto,below=64', '')])
def test_clips_csv_tells_what_was_done(tmp_path, enhance, expected):
    path = noisy_clip(tmp_path / 'a.mp4', 2)
    task = ClipTask('a.mp4', None, str(path), enhance=parse_enhancement(enhance))
    row = store_clip((str(tmp_path / 'frames'), task)).row
    if expected is None:
        assert 'enhanced' not in row
    else:
        assert row['enhanced'] == (str(task.enhance) if expected else '')


def test_the_whole_command(tmp_path, capsys):
    noisy_clip(tmp_path / 'clips/a.mp4', 2)
    noisy_clip(tmp_path / 'clips/b.mp4', 2, 24, 32)
    arguments = ['--clips_full', str(tmp_path / 'clips'), '--workers=1', f'--out={tmp_path}/data']
    assert build.main([*arguments, '--enhance=fuse,upscale,below=64,to=96']) == 0
    options = json.loads((tmp_path / 'data/options.json').read_text())
    assert options['enhance'] == 'fuse,upscale,below=64,to=96'
    clips = pd.read_csv(tmp_path / 'data/clips.csv', index_col='video_id', keep_default_na=False)
    assert clips['enhanced'].to_dict() == {'a.mp4': '', 'b.mp4': 'fuse,upscale,below=64,to=96'}
    assert clips['width_px'].to_dict() == {'a.mp4': 64, 'b.mp4': 96}
    capsys.readouterr()
    assert build.main([*arguments, '--enhance=fuse']) == 1
    error = capsys.readouterr().err
    assert 'was begun with other options (enhance: fuse,upscale,below=64,to=96 before, fuse,below=640' in error
    assert build.main([*arguments, '--enhance=sharp']) == 1
    assert "--enhance: 'sharp' is no step" in capsys.readouterr().err
    # Without the flag nothing is asked, and nothing is noted.
    assert 'enhance' not in result_options(Job(out='x', clips_full=(str(tmp_path / 'clips'),)))
