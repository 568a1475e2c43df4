"""The animals of snapshot moments, by hand."""

import pandas as pd
import pytest

from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful
from chimp_jax.field.exports.observed import observe
from chimp_jax.field.exports.rows import checked_rows
from chimp_jax.field.exports.snapshots import find_snapshots
from data_prep.inputs.looked_at import detector_looks, table_looks

SITE = pd.Series({'A/x.mp4': 'A'})
# Frames at 0, 1, 1.97, 2.5, 4 s; animal 1 in those at 0, 1.97, 2.5 and 4 s, animal 2 in those at 1.97 and 4 s.
SEEN_S = {'1': [0, 1.97, 2.5, 4], '2': [1.97, 4], '3': [2.5]}
LOOKS = {'A/x.mp4': detector_looks([0, 1, 1.97, 2.5, 4], [t for times in SEEN_S.values() for t in times])}


def rows(*given):
    """(time, animal, distance) of one clip."""
    table = pd.DataFrame(given, columns=['time', 'animal', 'distance']).assign(video_id='A/x.mp4')
    table[['distance_lower', 'distance_upper']] = 1.0
    return checked_rows(table, ())


def boxes(seen_s=SEEN_S):
    pairs = [(animal, time_s) for animal, times in seen_s.items() for time_s in times]
    return pd.DataFrame(pairs, columns=['animal', 'time_s']).assign(video_id='A/x.mp4')


def seen(table, looks=LOOKS):
    keys = set(zip(table['video_id'], table['time'], strict=True))
    return find_snapshots(looks, {'A/x.mp4': 5.0}, keys, SITE, 2)


TABLE = rows((0, '1', 1.0), (1, '1', 1.5), (1, '2', 7.0), (2, '1', 2.0), (2, '3', 9.0), (4, '1', 3.0), (4, '2', 8.0))


def test_the_frame_of_a_moment_tells_which_animals_are_in_view():
    # Moment 2 has the frame at 1.97 s with the animals 1 and 2. Animal 1 has a row at 2 s. Animal 2 has none there, so
    # its row is that of second 1. Animal 3 is in the second 2, but not in the frame.
    found = observe(seen(TABLE).seen(), TABLE, boxes())
    assert found.rows[['time', 'animal', 'distance', 'station']].values.tolist() == [
        [0, '1', 1.0, 'A'],
        [2, '1', 2.0, 'A'],
        [1, '2', 7.0, 'A'],
        [4, '1', 3.0, 'A'],
        [4, '2', 8.0, 'A'],
    ]
    assert found.unused == {'between snapshot moments': 1, 'not in the frame of the moment': 1}
    assert found.n_shared == 0


def test_without_boxes_all_animals_of_the_second_count():
    found = observe(seen(TABLE).seen(), TABLE)
    assert found.rows[['time', 'animal']].values.tolist() == [[0, '1'], [2, '1'], [2, '3'], [4, '1'], [4, '2']]
    assert found.unused == {'between snapshot moments': 2, 'not in the frame of the moment': 0}


def test_an_animal_of_the_frame_without_a_row_has_no_distance():
    table = TABLE[TABLE['animal'] != '2']
    found = observe(seen(table).seen(), table, boxes()).rows
    missing = found[found['distance'].isna()]
    assert missing[['time', 'animal']].values.tolist() == [[2, '2'], [4, '2']]


@pytest.mark.parametrize(('n_boxes', 'n_shared'), [(1, 0), (2, 1)])
def test_one_distance_for_several_animals_is_counted(n_boxes, n_shared):
    table = rows((2, '', 3.0))
    moments = find_snapshots({'A/x.mp4': detector_looks([0, 2, 4], [2] * n_boxes)}, {'A/x.mp4': 5.0}, None, SITE, 2)
    found = observe(moments.seen(), table, boxes({'1': [2], '2': [2]}))
    assert found.rows[['time', 'animal', 'distance']].values.tolist() == [[2, '', 3.0]] and found.n_shared == n_shared


def test_no_moment_has_an_animal():
    table = rows((1, '1', 3.0))
    moments = find_snapshots({'A/x.mp4': table_looks([], [], last_s=5)}, {'A/x.mp4': 5.0}, set(), SITE, 2)
    found = observe(moments.seen(), table, boxes())
    assert found.rows.empty and found.unused['between snapshot moments'] == 1


def test_the_flat_file_has_a_row_for_each_animal_and_moment(tmp_path):
    deployments = {'station': ['A'], 'region': 'n', 'area_km2': 1.0, 'active_seconds': 100.0, 'row': 'd.csv:2'}
    options = [pd.DataFrame(deployments), 2, 42, tmp_path]
    counts = write_distance([TABLE], seen(TABLE), *options, boxes=boxes())
    table = pd.read_csv(tmp_path / 'distance_flatfile.csv')
    assert table[['object', 'distance', 'time', 'Effort']].values.tolist() == [
        [1, 1, 0, 50], [2, 2, 2, 50], [3, 7, 1, 50], [4, 3, 4, 50], [5, 8, 4, 50]
    ]  # fmt: skip
    assert counts['observations'] == 5 and counts['moments']['with an animal'] == 3
    assert counts['moments']['with several animals'] == 0 and not is_doubtful(counts)
    line = describe_export('distance', counts, tmp_path)
    assert '1 distances are of animals that are elsewhere in the second of a snapshot moment' in line
    # A table of whole seconds: moments 2 and 4 have two animals each, but one distance.
    whole = TABLE.drop_duplicates(['time']).drop(columns='animal')
    counts = write_distance([whole], seen(whole), *options, boxes=boxes())
    assert counts['observations'] == 3 and counts['moments']['with several animals'] == 2 and is_doubtful(counts)
    assert '2 snapshot moments have several animals but one distance' in describe_export('distance', counts, tmp_path)
