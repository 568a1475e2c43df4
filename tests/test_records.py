import io
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from make_clips import frame_number, numbered_frames, write_clip
from PIL import Image

from data_prep import decode, frame_store
from data_prep.clip_record import make_records
from data_prep.records import Record, read_dataset, read_records, split_sizes, write_records


def test_workers_and_prediction_on_clips_import_no_tensorflow():
    code = 'import sys, data_prep.frame_store; print({"tensorflow", "jax"} & set(sys.modules))'
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, '-c', code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == 'set()'


def record(video_id='a/b.mp4', n_frames=3, **changes) -> Record:
    jpegs = []
    for number in range(n_frames):
        jpeg = io.BytesIO()
        Image.fromarray(np.full((8, 16, 3), 40 * number, np.uint8)).save(jpeg, 'JPEG')
        jpegs.append(jpeg.getvalue())
    values = {
        'video_id': video_id,
        'frame_jpeg': jpegs,
        'frame_time_s': np.arange(n_frames, dtype=np.int32) * 2,
        'target_time_s': np.array([4, 0], np.int32),
        'target_distance_m': np.array([13.5, np.nan], np.float32),
        'site': 'Ngogo ü',
        'park': '',
        'duration_s': 60.25,
        'height_px': 8,
        'width_px': 16,
        'frame_rate': 29.97,
        'white_fraction': 0.25,
        'gamma': True,
    }
    return Record(**values | changes)


def assert_same(found: Record, expected: Record) -> None:
    for field in fields(Record):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert type(one) is type(other), field.name
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other)
        elif isinstance(other, float):
            assert one == pytest.approx(other, rel=1e-6), field.name
        else:
            assert one == other, field.name


def test_frame_store_gives_back_what_it_got(tmp_path):
    for expected in (record(), record('none.mp4', n_frames=0)):
        frame_store.store(tmp_path, {'down': expected})
        assert_same(frame_store.load(tmp_path, 'down', expected.video_id), expected)


def test_a_clip_is_stored_when_both_streams_are(tmp_path):
    frame_store.store(tmp_path, {'down': record()})
    assert not frame_store.is_stored(tmp_path, 'a/b.mp4')
    frame_store.store(tmp_path, {'full': record()})
    assert frame_store.is_stored(tmp_path, 'a/b.mp4')
    assert not [path for path in tmp_path.rglob('*') if path.suffix == '.tmp']


def test_names_in_the_frame_store_do_not_collide():
    names = ['a/b.mp4', 'a_b.mp4', 'c/b.mp4', 'B.mp4', 'b.mp4', 'b.avi', 'é.mp4', 'è.mp4']
    names += ['x' * 300 + '1.mp4', 'x' * 300 + '2.mp4']
    paths = {frame_store.frame_path('frames', 'down', name) for name in names}
    assert len(paths) == len(names)
    assert {str(path.parent) for path in paths} == {'frames/down'}
    assert max(len(path.name) for path in paths) < 120


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    directory = tmp_path_factory.mktemp('data')
    records = [record(f'{name}.mp4', n_frames=n) for n, name in enumerate('abcdef', 1)]
    splits = {'train': lambda: iter(records[:4]), 'test': lambda: iter(records[4:])}
    sizes = write_records(splits, directory, 'down')
    assert sizes == {'train': 4, 'test': 2}
    return directory, records


def test_records_written_and_read_back(written):
    directory, records = written
    for split, expected in (('train', records[:4]), ('test', records[4:])):
        found = {record.video_id: record for record in read_records(directory, 'down', split)}
        assert len(found) == len(expected)
        for one in expected:
            assert_same(found[one.video_id], one)


def test_frames_stay_encoded_and_the_order_is_fixed(written):
    import tensorflow as tf

    directory, records = written
    data = read_dataset(directory, 'down', 'train')
    assert data.element_spec['frame_jpeg'].dtype == tf.string
    assert set(data.element_spec) == {field.name for field in fields(Record)}
    orders = [[x['video_id'] for x in data.as_numpy_iterator()] for _ in range(2)]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [b'a.mp4', b'b.mp4', b'c.mp4', b'd.mp4']


def test_plain_tf_data_reads_them(written):
    import tensorflow as tf

    directory, _ = written
    files = tf.io.gfile.glob(str(directory / 'chimp_records/down/1.0.0/*test.tfrecord*'))
    examples = [tf.train.Example.FromString(raw.numpy()).features.feature for raw in tf.data.TFRecordDataset(files)]
    ids = sorted(example['video_id'].bytes_list.value[0] for example in examples)
    assert ids == [b'e.mp4', b'f.mp4']
    frames = [len(example['frame_jpeg'].bytes_list.value) for example in examples]
    assert sorted(frames) == [5, 6]


def test_an_empty_split_is_left_out(tmp_path):
    write_records({'train': lambda: iter([record()]), 'test': lambda: iter([])}, tmp_path, 'full')
    assert split_sizes(tmp_path, 'full') == {'train': 1}
    with pytest.raises(ValueError, match="no split 'test'; it has train"):
        read_dataset(tmp_path, 'full', 'test')
    with pytest.raises(ValueError, match='stands already'):
        write_records({'train': lambda: iter([record()])}, tmp_path, 'full')


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="no clip gave a record for the stream 'down'"):
        write_records({'train': lambda: iter([])}, tmp_path, 'down')
    with pytest.raises(ValueError, match=r'is not there; make it with python -m data_prep.build'):
        read_dataset(tmp_path, 'down', 'train')
    with pytest.raises(ValueError, match="no stream 'up'; there are down, full"):
        read_dataset(tmp_path, 'up', 'train')


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
    records = make_records('x/a.mp4', down_path, full_path, [2, 20], [3.5, 8], 's', 'p')
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

    judged = make_records('a', white_path, grey_path, [0, 9])
    assert judged['down'].gamma and judged['full'].gamma
    assert judged['full'].white_fraction == 1
    assert max(means(judged['full'])) < 60  # luma 188 -> 12, on all of its frames
    assert max(means(judged['down'])) > 250  # never corrected
    # Second 9 is stored for the window of second 4, but only targets are judged.
    not_judged = make_records('a', white_path, grey_path, [4])
    assert 9 in not_judged['down'].frame_time_s
    assert not not_judged['full'].gamma
    assert min(means(not_judged['full'])) > 190
    # The full copy's own whiteness does not count.
    assert not make_records('a', grey_path, white_path, [9])['full'].gamma


def test_without_targets_every_second_is_one(tmp_path):
    down_path, full_path = clips(tmp_path, brightness=255)
    records = make_records('a.mp4', down_path, full_path)
    for found in records.values():
        assert found.frame_time_s.tolist() == found.target_time_s.tolist() == list(range(30))
        assert np.isnan(found.target_distance_m).all()
        assert found.gamma


def test_one_copy_serves_both_streams(tmp_path):
    frames = numbered_frames(16).repeat(15, axis=1).repeat(15, axis=2)  # 960 x 720
    path = write_clip(tmp_path / 'full.mp4', frames, 8)
    records = make_records('a.mp4', None, path, [0])
    assert (records['full'].height_px, records['full'].width_px) == (720, 960)
    assert (records['down'].height_px, records['down'].width_px) == (480, 640)
    assert stored_numbers(records['down']) == stored_numbers(records['full']) == [0, 8]
    only_down = make_records('a.mp4', path, None, [0])
    assert only_down['down'].width_px == only_down['full'].width_px == 960
    with pytest.raises(ValueError, match='neither'):
        make_records('a.mp4')


def test_a_target_past_the_end_keeps_its_time(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(24), 8)
    found = make_records('a.mp4', path, path, [1, 60])['full']
    assert found.target_time_s.tolist() == [1, 60]
    assert found.frame_time_s.tolist() == [0, 1, 2]


def test_a_broken_copy_is_an_error_of_the_clip(tmp_path):
    path = write_clip(tmp_path / 'a.mp4', numbered_frames(24), 8)
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(path.read_bytes()[:300])
    with pytest.raises(decode.ClipError):
        make_records('a.mp4', path, broken, [1])
