import io

import numpy as np
import pytest
from make_clips import ffmpeg_makes, frame_number, numbered_frames, write_clip
from PIL import Image

from data_prep.decoding.container import ClipError
from data_prep.records import Record
from data_prep.workers.clip_record import ClipTask, make_records
from data_prep.workers.local import store_clip
from data_prep.workers.stored_frame import shrunk


def make(video_id, down_path, full_path, target_time_s=None, target_distance_m=None, **more):
    paths = [None if path is None else str(path) for path in (down_path, full_path)]
    return make_records(ClipTask(video_id, *paths, target_time_s, target_distance_m, **more))


def stored_numbers(record: Record) -> list[int]:
    return [frame_number(np.asarray(Image.open(io.BytesIO(jpeg)))) for jpeg in record.frame_jpeg]


def clips(tmp_path, brightness=0):
    frames = numbered_frames(30 * 8)
    full = np.maximum(frames, brightness)
    down = full[:, ::2, ::2]
    names = [('down.mp4', down), ('full.mp4', full)]
    return [write_clip(tmp_path / name, content, 8) for name, content in names]


def test_a_record_holds_the_seconds_of_the_windows(tmp_path):
    down_path, full_path = clips(tmp_path)
    records = make('x/a.mp4', down_path, full_path, [2, 20], [3.5, 8], site='s', park='p').records
    # 2 +-5 by 1 and +-10 by 2, and the same around 20, clamped to 0..29.
    near = {*range(0, 8), 8, 10, 12}
    far = {*range(15, 26), 10, 12, 14, 26, 28, 29}
    for stream, size in (('down', (24, 32)), ('full', (48, 64))):
        found = records[stream]
        assert found.frame_time_s.tolist() == sorted(near | far)
        assert stored_numbers(found) == [8 * second for second in sorted(near | far)]
        assert (found.height_px, found.width_px) == size
        assert found.target_time_s.tolist() == [2, 20]
        assert found.target_distance_m.tolist() == [3.5, 8]
        assert (found.video_id, found.site, found.park) == ('x/a.mp4', 's', 'p')
        assert (found.duration_s, found.frame_rate, found.gamma) == (30, 8, False)


def test_gamma_is_decided_on_the_down_frames_and_applied_to_full(tmp_path):
    white, dark = np.full((80, 48, 64, 3), 255, np.uint8), np.full((80, 48, 64, 3), 90, np.uint8)
    late = np.concatenate([dark[:72], white[:8]])  # white in second 9 only
    white_path = write_clip(tmp_path / 'white.mp4', late, 8)
    grey_path = write_clip(tmp_path / 'grey.mp4', dark // 90 * 200, 8)

    def means(record):
        return [np.asarray(Image.open(io.BytesIO(jpeg))).mean() for jpeg in record.frame_jpeg]

    judged = make('a', white_path, grey_path, [0, 9]).records
    assert judged['down'].gamma and judged['full'].gamma
    assert judged['full'].white_fraction == 1
    assert max(means(judged['full'])) < 60  # luma 188 -> 12, on all of its frames
    assert max(means(judged['down'])) > 250  # never corrected
    # Second 9 is stored for the window of second 4, but only targets are judged.
    not_judged = make('a', white_path, grey_path, [4]).records
    assert 9 in not_judged['down'].frame_time_s
    assert not not_judged['full'].gamma
    assert min(means(not_judged['full'])) > 190
    # The full copy's own whiteness does not count.
    assert not make('a', grey_path, white_path, [9]).records['full'].gamma


def test_without_targets_every_second_is_one(tmp_path):
    down_path, full_path = clips(tmp_path, brightness=255)
    records = make('a.mp4', down_path, full_path).records
    for found in records.values():
        assert found.frame_time_s.tolist() == found.target_time_s.tolist() == list(range(30))
        assert np.isnan(found.target_distance_m).all()
        assert found.gamma


def test_one_copy_serves_both_streams(tmp_path):
    frames = numbered_frames(16).repeat(15, axis=1).repeat(15, axis=2)  # 960 x 720
    path = write_clip(tmp_path / 'full.mp4', frames, 8)
    records = make('a.mp4', None, path, [0]).records
    assert (records['full'].height_px, records['full'].width_px) == (720, 960)
    assert (records['down'].height_px, records['down'].width_px) == (480, 640)
    assert stored_numbers(records['down']) == stored_numbers(records['full']) == [0, 8]
    only_down = make('a.mp4', path, None, [0]).records
    assert only_down['down'].width_px == only_down['full'].width_px == 960
    with pytest.raises(ValueError, match='neither'):
        make('a.mp4', None, None)


@pytest.mark.parametrize('factor', [2, 3])
def test_a_shrunk_picture_is_the_mean_of_its_pixels(factor):
    rgb = np.random.default_rng(0).integers(0, 256, (factor * 300, factor * 640, 3), dtype=np.uint8)
    found = np.asarray(shrunk(Image.fromarray(rgb)), float)
    mean = rgb.reshape(300, factor, 640, factor, 3).mean((1, 3))
    assert np.abs(found - mean).max() <= 0.6  # rounded once


@pytest.mark.parametrize(('width', 'height', 'rows'), [(1280, 721, 360), (1600, 900, 360), (5000, 3, 1)])
def test_a_picture_is_shrunk_by_a_broken_factor(width, height, rows):
    ramp = np.linspace(0, 255, width).round().astype(np.uint8)
    found = np.asarray(shrunk(Image.fromarray(np.broadcast_to(ramp[:, None], (height, width, 3)).copy())))
    assert found.shape == (rows, 640, 3)
    centres = (np.arange(640) + 0.5) * width / 640 - 0.5
    assert np.abs(found - (centres * 255 / (width - 1))[:, None]).max() <= 1.1


def test_a_target_at_the_end_keeps_its_time_and_one_past_it_is_left_out(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(24), 8)  # 3 s: the last second is 2
    made = make('a.mp4', path, path, [1, 4, 5], [1.0, 4.0, 5.0])
    found = made.records['full']
    assert found.target_time_s.tolist() == [1, 4] and found.target_distance_m.tolist() == [1, 4]
    assert found.frame_time_s.tolist() == [0, 1, 2]
    assert made.n_left_out == 1
    assert str(made.doubts['down']) == 'past the last picture in 5 s'
    assert make('a.mp4', path, path, [5, 60]).records == {}


def test_a_target_is_every_so_many_seconds(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(26 * 8), 8)
    found = make('a.mp4', None, path, every_s=12).records['full']
    assert found.target_time_s.tolist() == [0, 12, 24]
    # +-5 by 1 and +-10 by 2 around each, clamped to 0..25: only the seconds of windows.
    assert found.frame_time_s.tolist() == [*range(0, 6), 6, *range(7, 18), *range(18, 26)]


@pytest.mark.parametrize('gamma, corrected', [('auto', False), ('always', True), ('never', False)])
def test_gamma_can_be_forced(tmp_path, gamma, corrected):
    grey = write_clip(tmp_path / 'grey.mp4', np.full((8, 48, 64, 3), 200, np.uint8), 8)
    found = make('a', grey, grey, [0], gamma=gamma).records
    means = {stream: np.asarray(Image.open(io.BytesIO(found[stream].frame_jpeg[0]))).mean() for stream in found}
    assert found['full'].gamma == found['down'].gamma == corrected
    assert means['down'] > 190 and (means['full'] < 60) == corrected
    if gamma == 'never':
        white = write_clip(tmp_path / 'white.mp4', np.full((8, 48, 64, 3), 255, np.uint8), 8)
        found = make('a', white, white, [0], gamma=gamma).records['full']
        assert (found.white_fraction, found.gamma) == (1, False)


def test_only_the_full_frames_are_cut_the_old_way(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(150), 30)
    found = make('a', None, path, [1, 3], sampling='legacy_r1').records
    assert stored_numbers(found['down']) == [0, 30, 60, 90, 120]
    assert stored_numbers(found['full']) == [0, 1, 26, 56, 86, 116, 146]  # Ivanov 2021, section 3
    assert found['full'].target_time_s.tolist() == [1, 3]


def test_boxes_travel_with_their_targets(tmp_path):
    flat = write_clip(tmp_path / 'flat.mp4', numbered_frames(24), 8)  # 64 x 48 px
    turned = ffmpeg_makes(tmp_path / 'a.mp4', '-display_rotation', 90, '-i', flat, '-c', 'copy')  # 48 x 64 px
    boxes = [(12, 16, 24, 64), (0, 0, 60, 32)]
    found = make('a', None, turned, [0, 9], target_box=boxes, box_in_pixels=True).records['down']
    assert found.target_box.tolist() == [[0.25, 0.25, 0.5, 1]]  # second 9 is left out
    shares = [(0.1, 0.2, 0.3, 0.4), (np.nan,) * 4]
    found = make('a', None, turned, [0, 1], target_box=shares).records['full']
    np.testing.assert_allclose(found.target_box, shares, rtol=1e-6)
    assert np.isnan(make('a', None, turned, [0]).records['full'].target_box).all()


def test_all_boxes_are_kept_whatever_targets_are_left_out(tmp_path):
    path = write_clip(tmp_path / 'flat.mp4', numbered_frames(24), 8)  # 64 x 48 px, 3 s
    boxes = [
        (1.5, 0.25, 0.5, 0.5, 1, 1, 'b'),
        (0, 0.25, 0, 0, 0.5, 0.5, 'b'),
        (9, 0.5, 0, 0, 0.75, 1, ''),
        (0, 0.25, 0, 0, 0.25, 0.25, 'a'),
        (0, 0.75, 0, 0, 0.5, 1, 'a'),
    ]
    made = make('a', None, path, [0, 9, 0], boxes=boxes, target_animal=['a', 'x', 'b'])
    assert made.n_left_out == 1 and made.outside == ''
    for found in made.records.values():
        assert found.target_time_s.tolist() == [0, 0] and found.target_animal == ['a', 'b']
        assert found.box_time_s.tolist() == [0, 0, 0, 1.5, 9] and found.box_animal == ['a', 'a', 'b', 'b', '']
        assert found.box_confidence.tolist() == [0.75, 0.25, 0.25, 0.25, 0.5]
        assert found.box[:, 2].tolist() == [0.5, 0.25, 0.5, 1, 0.75] and found.box.dtype == np.float32
    found = make('a', None, path, [0]).records['down']
    assert found.target_animal == [''] and found.box.shape == (0, 4) and found.box_animal == []


def test_boxes_of_a_table_and_in_pixels_of_a_detector(tmp_path):
    path = write_clip(tmp_path / 'flat.mp4', numbered_frames(24), 8)  # 64 x 48 px
    share, pixels, beside = (0.25, 0, 1, 1), (16, 12, 80, 24), (70, 0, 90, 20)
    boxes = [(0, 1, *share, 'a'), (1, 0.5, *pixels, ''), (2, 0.5, *beside, '')]
    task = ClipTask(
        'a', None, str(path), [0, 1, 2], target_box=[share, pixels, beside], boxes=boxes, box_in_pixels=True
    )
    made = make_records(task)
    found = made.records['full']
    assert found.box.tolist() == [[0.25, 0, 1, 1], [0.25, 0.25, 1, 0.5]] and found.box_animal == ['a', '']
    assert found.target_box[:2].tolist() == found.box.tolist() and np.isnan(found.target_box[2]).all()
    outcome = store_clip((str(tmp_path / 'frames'), task))
    assert outcome.row['n_targets'] == 3 and outcome.problem == (
        'boxes',
        '1 boxes are outside the picture (64 x 48 px) and are left out; run the detector on this very file',
    )


def test_a_broken_copy_is_an_error_of_the_clip(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(24), 8)
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ClipError):
        make('a.mp4', path, broken, [1])
