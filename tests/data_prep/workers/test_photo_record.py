import io

import numpy as np
import pytest
from make_clips import SHARED_CLIPS, frame_number, numbered_frames, write_clip
from make_photos import write_photo
from PIL import Image

from data_prep.decoding.container import ClipError
from data_prep.decoding.decode import decode_seconds
from data_prep.inputs.headers import Copies
from data_prep.inputs.photos import read_bursts
from data_prep.windows import window_positions
from data_prep.workers import frame_store, local
from data_prep.workers.clip_record import ClipTask, make_records

RECIPES = [(7, 1), (9, 2), (11, 1), (11, 2)]  # frames and step in seconds of published windows


def rgb_of(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def write_burst(folder, frames, suffix='.png', **options):
    """Writes frames as photos 1 s apart. Returns their tasks in order."""
    names = [f'{number:02d}{suffix}' for number in range(len(frames))]
    for number, (name, rgb) in enumerate(zip(names, frames, strict=True)):
        write_photo(folder / name, rgb, f'2024:03:01 08:00:{number:02d}', **options)
    return tasks_of(folder, names)


def tasks_of(folder, names, **options):
    mates = read_bursts({name: Copies(None, str(folder / name)) for name in names}, 2).mates
    return [ClipTask(name, None, str(folder / name), mates=mates.get(name, ()), **options) for name in names]


def window(record, n_frames, step_s, target=0):
    """Returns the pictures of the window of a target."""
    (places,) = window_positions(record.frame_time_s, record.target_time_s[target : target + 1], n_frames, step_s)
    return [rgb_of(record.frame_jpeg[place]) for place in places]


@pytest.mark.parametrize('n_seconds', [1, 3, 30])
def test_a_burst_has_the_windows_of_the_clip_of_its_photos(tmp_path, n_seconds):
    frames = numbered_frames(n_seconds)
    clip = write_clip(tmp_path / 'x.mkv', frames, 1, 'ffv1', 'yuv444p')
    tasks = write_burst(tmp_path / 'photos', frames)
    of_clip = make_records(ClipTask('x.mkv', None, str(clip))).records
    for second, task in enumerate(tasks):
        of_photo = make_records(task).records
        for stream in ('down', 'full'):
            for n_frames, step_s in RECIPES:
                expected = window(of_clip[stream], n_frames, step_s, second)
                found = window(of_photo[stream], n_frames, step_s)
                assert [frame_number(rgb) for rgb in found] == [
                    min(max(0, second + offset * step_s), n_seconds - 1)
                    for offset in range(-(n_frames // 2), n_frames // 2 + 1)
                ]
                differences = np.abs(np.array(found, int) - np.array(expected, int))
                assert differences.mean() < 2 and differences.max() < 40  # JPEG, and the clip's chroma and luma


@pytest.mark.skipif(not SHARED_CLIPS.exists(), reason='../shared/data is absent')
def test_a_burst_from_a_real_clip(tmp_path):
    path = SHARED_CLIPS / 'chimp.mp4'
    _, frames = decode_seconds(path, range(4, 9))
    tasks = write_burst(tmp_path, frames.values(), '.jpg', quality=97)
    (record,) = [make_records(task).records['full'] for task in tasks[2:3]]
    of_clip = make_records(ClipTask('x', None, str(path), target_time_s=[6])).records['full']
    differences = np.abs(np.array(window(record, 5, 1), int) - np.array(window(of_clip, 5, 1), int))
    assert differences.mean() < 3
    others = np.abs(np.array(window(record, 5, 1), int) - np.array(window(of_clip, 5, 1)[::-1], int))
    assert others.mean() > 2 * differences.mean()  # the order counts


def test_the_fields_of_a_photo(tmp_path):
    write_photo(tmp_path / 'a.jpg', numbered_frames(1, 600, 800)[0], orientation=6, quality=95)
    box = [(0.0, 150.0, 300.0, 400.0)]
    task = ClipTask('a.jpg', None, str(tmp_path / 'a.jpg'), [0], [7.5], box, box_in_pixels=True, site='s')
    made = make_records(task)
    down, full = made.records['down'], made.records['full']
    assert (full.height_px, full.width_px, full.duration_s, full.frame_rate) == (800, 600, 0, 0)
    assert full.target_time_s.tolist() == full.frame_time_s.tolist() == [0] and full.target_distance_m[0] == 7.5
    np.testing.assert_allclose(full.target_box, [[0, 150 / 800, 300 / 600, 400 / 800]])
    assert full.site == 's' and not made.n_left_out and not str(made.doubts['full'])
    assert rgb_of(down.frame_jpeg[0]).shape == (800, 600, 3)
    assert rgb_of(full.frame_jpeg[0])[0, 0].tolist() == pytest.approx([60, 60, 60], abs=3)  # the ramp begins on top


def test_a_large_photo_is_kept_as_it_is_and_scaled_once(tmp_path):
    (task,) = write_burst(tmp_path, numbered_frames(1, 960, 1280), '.jpg', quality=95)
    made = make_records(task).records
    # from the first table on byte for byte
    assert made['full'].frame_jpeg[0][20:] in (tmp_path / '00.jpg').read_bytes()
    assert rgb_of(made['down'].frame_jpeg[0]).shape == (480, 640, 3)
    np.testing.assert_array_equal(rgb_of(made['full'].frame_jpeg[0]), rgb_of((tmp_path / '00.jpg').read_bytes()))


def test_the_next_photo_stands_for_one_that_cannot_be_read(tmp_path):
    tasks = write_burst(tmp_path, numbered_frames(6))
    for number in (1, 4, 5):
        (tmp_path / f'{number:02d}.png').write_bytes(b'')
    made = make_records(tasks[2])
    assert [frame_number(rgb) for rgb in window(made.records['full'], 7, 1)] == [0, 0, 2, 2, 3, 3, 3]
    assert made.records['full'].frame_time_s.tolist() == [-2, -1, 0, 1, 2, 3]
    assert str(made.doubts['full']) == 'no picture of its own in -1 2 to 3 s'
    assert made.records['full'].target_time_s.tolist() == [0]
    with pytest.raises(ClipError, match='the file is empty'):
        make_records(tasks[1])


def test_an_overexposed_photo_is_corrected_with_its_window(tmp_path):
    white = np.full((48, 64, 3), 255, np.uint8)
    white[:24] = np.linspace(100, 240, 64, dtype=np.uint8)[:, None]
    dark = np.full((48, 64, 3), 90, np.uint8)
    first, second = write_burst(tmp_path, [white, dark])
    made = make_records(first).records
    assert made['full'].gamma and made['full'].white_fraction == pytest.approx(0.5, abs=0.01)
    # 90 is video luma 93, and 256 * (93 / 255) ** 10 < 1
    assert rgb_of(made['full'].frame_jpeg[1]).max() <= 3
    assert rgb_of(made['down'].frame_jpeg[1]).mean() == pytest.approx(90, abs=2)
    assert not make_records(second).records['full'].gamma  # each photo is judged by itself
    assert make_records(second._replace(gamma='always')).records['full'].gamma


def test_two_copies_of_each_photo(tmp_path):
    frames = numbered_frames(2, 96, 128)
    for number, rgb in enumerate(frames):
        write_photo(tmp_path / 'full' / f'{number}.jpg', rgb, '2024:03:01 08:00:00')
        write_photo(tmp_path / 'down' / f'{number}.jpg', rgb[::2, ::2])
    both = {f'{n}.jpg': Copies(*(str(tmp_path / kind / f'{n}.jpg') for kind in ('down', 'full'))) for n in (0, 1)}
    task = ClipTask('0.jpg', *both['0.jpg'], mates=read_bursts(both, 2).mates['0.jpg'])
    made = make_records(task).records
    for stream, shape in (('down', (48, 64, 3)), ('full', (96, 128, 3))):
        pictures = window(made[stream], 3, 1)
        assert {rgb.shape for rgb in pictures} == {shape}
        assert [frame_number(rgb) for rgb in pictures] == [0, 0, 1]
    assert task.paths() == [*both['0.jpg'], *both['1.jpg']]


def test_a_stored_photo_is_valid_until_a_photo_of_its_window_changes(tmp_path):
    tasks = write_burst(tmp_path / 'photos', numbered_frames(3))
    outcome = local.store_clip((str(tmp_path / 'frames'), tasks[0]))
    assert outcome.problem is None and local.still_valid(outcome, tasks[0])
    record = frame_store.load(tmp_path / 'frames', 'full', '00.png')
    assert [frame_number(rgb_of(jpeg)) for jpeg in record.frame_jpeg] == [0, 1, 2]
    write_photo(tmp_path / 'photos' / '02.png', numbered_frames(4)[3], '2024:03:01 08:00:02')
    assert not local.still_valid(outcome, tasks[0])


def test_damaged_exif_data_are_told(tmp_path):
    (task,) = write_burst(tmp_path, numbered_frames(1), '.jpg')
    path = tmp_path / '00.jpg'
    path.write_bytes(path.read_bytes().replace(b'Exif\0\0MM', b'Exif\0\0XX').replace(b'Exif\0\0II', b'Exif\0\0XX'))
    outcome = local.store_clip((str(tmp_path / 'frames'), task))
    assert outcome.row and outcome.problem[1].startswith('its EXIF data cannot be read')
