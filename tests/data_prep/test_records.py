import dataclasses
import io
import resource
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.records import Record, read_dataset, read_records, split_sizes, write_records
from data_prep.workers import frame_store
from data_prep.workers.frame_store import Outcome


def test_workers_and_prediction_on_clips_import_no_tensorflow():
    code = 'import sys, data_prep.workers.local; print({"tensorflow", "jax"} & set(sys.modules))'
    root = Path(__file__).resolve().parents[2]
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
        'target_box': np.array([[0.25, 0.5, 0.75, 1], [np.nan] * 4], np.float32),
        'target_animal': ['Kim é', ''],
        'box_time_s': np.array([0, 0.5, 4], np.float32),
        'box': np.array([[0, 0, 1, 1], [0.5, 0.25, 0.75, 1], [0.25, 0.5, 0.75, 1]], np.float32),
        'box_confidence': np.array([0.5, 0.25, 1], np.float32),
        'box_animal': ['', 'Kim é', 'Kim é'],
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


NO_BOXES = {
    'box_time_s': np.zeros(0, np.float32),
    'box': np.zeros((0, 4), np.float32),
    'box_confidence': np.zeros(0, np.float32),
    'box_animal': [],
}


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


def test_frame_store_returns_the_stored_records(tmp_path):
    for expected in (record('a/b.mp4', **NO_BOXES), record('none.mp4', n_frames=0)):
        row = frame_store.clip_row(expected, 'damaged pictures in 3 s')
        outcome = Outcome(expected.video_id, row, ('damage', 'why'))
        frame_store.store(tmp_path, outcome, {'down': expected, 'full': expected})
        assert_same(frame_store.load(tmp_path, 'down', expected.video_id), expected)
        stored = frame_store.read_outcomes(tmp_path)[expected.video_id]
        assert (stored.row, tuple(stored.problem)) == (outcome.row, outcome.problem)
    assert row['n_frames'] == 0 and row['n_targets'] == 2 and row['site'] == 'Ngogo ü'
    assert row['n_animals'] == 1 and row['n_boxes'] == 3  # Kim, and a target without a name
    assert not [path for path in tmp_path.rglob('*') if path.suffix == '.tmp']


def test_a_clip_is_done_when_its_outcome_exists(tmp_path, monkeypatch):
    def killed(path, content):
        if 'outcome' in str(path):
            raise KeyboardInterrupt
        real(path, content)

    real = frame_store.write_whole
    monkeypatch.setattr(frame_store, 'write_whole', killed)
    with pytest.raises(KeyboardInterrupt):
        frame_store.store(tmp_path, Outcome('a/b.mp4', {}, None), {'down': record(), 'full': record()})
    assert len(list(tmp_path.rglob('*.npz'))) == 2
    assert frame_store.read_outcomes(tmp_path) == {}


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
    records[1] = dataclasses.replace(records[1], **NO_BOXES)
    ids = [record.video_id for record in records]
    load = dict(zip(ids, records, strict=True)).__getitem__
    sizes = write_records({'train': ids[:4], 'test': ids[4:]}, load, directory, 'down')
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
    assert set(data.element_spec) == {field.name for field in fields(Record)} - {'sound'}  # only with --audio
    orders = [[x['video_id'] for x in data.as_numpy_iterator()] for _ in range(2)]
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [b'a.mp4', b'b.mp4', b'c.mp4', b'd.mp4']


def test_plain_tf_data_reads_them(written):
    import tensorflow as tf

    directory, _ = written
    files = tf.io.gfile.glob(str(directory / 'chimp_records/down/*/*test.tfrecord*'))
    examples = [tf.train.Example.FromString(raw.numpy()).features.feature for raw in tf.data.TFRecordDataset(files)]
    ids = sorted(example['video_id'].bytes_list.value[0] for example in examples)
    assert ids == [b'e.mp4', b'f.mp4']
    boxes = [example['target_box'].float_list.value[:4] for example in examples]
    assert boxes == [[0.25, 0.5, 0.75, 1]] * 2
    frames = [len(example['frame_jpeg'].bytes_list.value) for example in examples]
    assert sorted(frames) == [5, 6]


def test_an_empty_split_is_left_out(tmp_path):
    write_records({'train': ['a'], 'test': []}, record, tmp_path, 'full')
    assert split_sizes(tmp_path, 'full') == {'train': 1}
    with pytest.raises(ValueError, match="no split 'test'; it has train"):
        read_dataset(tmp_path, 'full', 'test')
    with pytest.raises(ValueError, match='exists already'):
        write_records({'train': ['a']}, record, tmp_path, 'full')


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match="no clip gave a record for the stream 'down'"):
        write_records({'train': []}, record, tmp_path, 'down')
    with pytest.raises(ValueError, match=r'is missing; make it with python -m data_prep.build'):
        read_dataset(tmp_path, 'down', 'train')
    old = tmp_path / 'chimp_records' / 'down' / '1.1.0'
    old.mkdir(parents=True)
    with pytest.raises(
        ValueError, match=r'down holds records of version 1\.1\.0, but 1\.2\.0 is needed; prepare the data'
    ):
        split_sizes(tmp_path, 'down')
    with pytest.raises(ValueError, match="no stream 'up'; there are down, full"):
        read_dataset(tmp_path, 'up', 'train')


def test_a_full_disk_is_an_error_of_the_machine(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files cannot grow beyond 1 KB, and the record is larger: this looks like a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="records of the stream 'full' cannot be written"):
            write_records({'train': ['a']}, lambda _: record(n_frames=6), tmp_path, 'full')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_ranges_of_records_together_are_all_records(tmp_path):
    records = {f'{i}.mp4': record(f'{i}.mp4', 1 + i) for i in range(5)}
    write_records({'train': list(records)}, records.__getitem__, tmp_path, 'full')

    def read(*part):
        return [
            example['video_id'].decode()
            for example in read_dataset(tmp_path, 'full', 'train', *part).as_numpy_iterator()
        ]

    whole = [one.video_id for one in read_records(tmp_path, 'full', 'train')]
    assert set(whole) == set(records)
    assert read(0, 2) == whole[:2] and read(2, 4) == whole[2:4] and read(4) == whole[4:]
    assert read(3, 3) == read(5, 5) == []
