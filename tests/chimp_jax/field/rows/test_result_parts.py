"""A result in parts tells the same as distances.csv, and a damaged one is refused in one line."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.dataset
import pytest
from make_estimates import walks, write_estimates

from chimp_jax.commands import entry
from chimp_jax.field.evaluate import write_evaluation
from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.snapshots import find_snapshots
from chimp_jax.field.exports.zamba import write_zamba
from chimp_jax.field.page.distance_counts import count_distances
from chimp_jax.field.page.page import write_report
from chimp_jax.field.rows import write
from chimp_jax.field.rows.counts import RowCounts
from chimp_jax.field.rows.read import open_rows
from chimp_jax.field.rows.write import remove_rows, written_rows
from data_prep.inputs.looked_at import table_looks

NAMES = [f's{i % 3}/{i:02d}.mp4' for i in range(12)]
CLIPS = [{'video_id': name, 'site': name[:2], 'duration_s': 9.0} for name in NAMES]


@pytest.fixture
def small_parts(monkeypatch):
    """A table with more than 20 rows is in parts of about 16."""
    monkeypatch.setattr(write, 'CSV_ROWS', 20)
    monkeypatch.setattr(write, 'PART_ROWS', 16)


def table() -> pd.DataFrame:
    """108 rows of 12 clips. Some have a flag, a correction or no distance."""
    rows = pd.DataFrame(walks(dict.fromkeys(NAMES, 9), boxes=True))
    rows.loc[(rows['status'] == 'corrected') & ~rows['video_id'].isin(NAMES[:4]), 'status'] = 'ok'
    rows = rows.assign(animal='', members=4, flags=rows['flags'].fillna(''), status=rows['status'].fillna('ok'))
    return rows.sort_values(['video_id', 'time'], ignore_index=True).round(4)


def pieces(rows: pd.DataFrame) -> list[pd.DataFrame]:
    return [part for _, part in rows.groupby('video_id')]


def in_parts(folder, rows: pd.DataFrame, **more):
    """Writes the folder of an estimate whose distances are in parts."""
    write_estimates(folder, [], CLIPS, **more)
    with written_rows(folder, 'distances', pieces(rows)) as stored:
        pass
    assert not (folder / 'distances.csv').exists()
    return stored


def test_a_small_table_is_the_csv_file_of_pandas(tmp_path):
    rows = table()
    rows.loc[3, 'status'] = 'the file, "a"\nis damaged'
    with written_rows(tmp_path, 'distances', pieces(rows)) as stored:
        pd.testing.assert_frame_equal(pd.concat(stored, ignore_index=True), rows, check_dtype=False)
    assert (tmp_path / 'distances.csv').read_bytes() == rows.to_csv(index=False).encode()
    assert os.listdir(tmp_path) == ['distances.csv'] and open_rows(tmp_path, 'distances') is None


def test_a_large_table_is_one_dataset_of_parquet_files(tmp_path, small_parts):
    rows = table()
    stored = in_parts(tmp_path, rows)
    # Clips of 9 rows: two fill a part of 16.
    assert [part.rows for part in stored.parts] == [18] * 6
    names = [f'part-{number:05d}.parquet' for number in range(6)]
    assert sorted(os.listdir(tmp_path / 'distances')) == ['_parts.json', *names]
    read = pyarrow.dataset.dataset(tmp_path / 'distances').to_table().to_pandas()
    pd.testing.assert_frame_equal(read, rows, check_dtype=False)
    again = open_rows(tmp_path, 'distances')
    assert pd.concat(again.pieces(['time', 'none']))['time'].tolist() == rows['time'].tolist()
    found = again.of_clips(['s1/04.mp4', 's2/11.mp4', 'gone'], ['video_id', 'time'])
    assert found['video_id'].value_counts().to_dict() == {'s1/04.mp4': 9, 's2/11.mp4': 9}


def test_the_other_form_of_an_earlier_run_goes(tmp_path, small_parts):
    in_parts(tmp_path, table())
    with written_rows(tmp_path, 'distances', [table()[:9]]):
        pass
    assert (tmp_path / 'distances.csv').exists() and not (tmp_path / 'distances').exists()
    in_parts(tmp_path, table())
    remove_rows(tmp_path, 'distances')
    assert not (tmp_path / 'distances').exists()


def test_clips_in_two_pieces_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r's0/00.mp4 comes after s0/00.mp4; sort'):
        with written_rows(tmp_path, 'distances', [table()[:4], table()[4:9]]):
            pass


KILLED = """
import os, sys
import pandas as pd
from etils import epath
from chimp_jax.field.rows import write
write.CSV_ROWS, write.PART_ROWS, left = 20, 16, [int(sys.argv[3])]
def dying(call):
    def wrapped(*arguments, **named):
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1
        return call(*arguments, **named)
    return wrapped
for name in ('replace', 'unlink'):
    kind = type(epath.Path('x'))
    setattr(kind, name, dying(getattr(kind, name)))
rows = pd.read_pickle(sys.argv[1])
with write.written_rows(sys.argv[2], 'distances', [part for _, part in rows.groupby('video_id')]):
    pass
"""


@pytest.mark.parametrize('place', [3, 10, 17])  # among the 6 new parts; while the old table goes; while they get names
def test_a_killed_run_leaves_a_whole_table_or_none_and_resumes(tmp_path, small_parts, place):
    expected = {path.name: path.read_bytes() for path in _files(in_parts(tmp_path / 'whole', table()).folder)}
    table().to_pickle(tmp_path / 'rows.pickle')
    in_parts(tmp_path / 'out', table().assign(distance=1.0))
    command = [sys.executable, '-c', KILLED, str(tmp_path / 'rows.pickle'), str(tmp_path / 'out'), str(place)]
    assert subprocess.run(command, timeout=600).returncode == 9
    left = open_rows(tmp_path / 'out', 'distances')
    assert left is None or set(pd.concat(left)['distance']) == {1.0}
    in_parts(tmp_path / 'out', table())
    assert {path.name: path.read_bytes() for path in _files(tmp_path / 'out' / 'distances')} == expected


def _files(folder) -> list:
    return sorted(folder.iterdir())


@pytest.mark.parametrize(
    ('harm', 'match'),
    [
        (lambda folder: (folder / 'part-00002.parquet').unlink(), r'part-00002.parquet cannot be read \(No such'),
        (lambda folder: os.truncate(folder / 'part-00002.parquet', 99), r'part-00002.parquet is cut off: it has 99 of'),
        (
            lambda folder: (folder / 'part-00002.parquet').write_bytes((folder / 'part-00003.parquet').read_bytes()),
            r'part-00002.parquet is (damaged or of another run|cut off)',
        ),
        (lambda folder: (folder / '_parts.json').write_text('{"rows": 3}'), r'_parts.json is damaged; run the same'),
        (lambda folder: (folder.parent / 'distances.csv').write_text('x'), r'of two runs; delete the older one'),
    ],
)
def test_damaged_parts_are_refused_in_one_line(tmp_path, small_parts, capsys, harm, match):
    in_parts(tmp_path, table())
    harm(tmp_path / 'distances')
    with pytest.raises(ValueError, match=match):
        for _ in open_rows(tmp_path, 'distances'):
            pass
    assert entry.main(['report', str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1 and not (tmp_path / 'report.html').exists()


def test_a_report_of_parts_has_the_counts_of_all_rows(tmp_path, small_parts):
    rows = table()
    (tmp_path / 'csv').mkdir()
    write_estimates(tmp_path / 'csv', rows.to_dict('records'), CLIPS)
    in_parts(tmp_path / 'parts', rows)
    in_csv, parts = (write_report(tmp_path / name).read_text() for name in ('csv', 'parts'))
    assert in_csv == parts  # every clip has a card
    some = write_report(tmp_path / 'parts', n_frames=4).read_text()
    data = json.loads(some.partition('id="data">')[2].partition('</script>')[0])
    drawn = {clip['n'] for clip in data['clips']}
    given = set(rows.loc[rows['status'] == 'corrected', 'video_id'])
    assert given < drawn < set(NAMES) and len(drawn) <= 4 + len(given)
    assert f'{12 - len(drawn)} more clips are not drawn' in some and 'Not all clips are drawn' not in parts
    cards = write_report(tmp_path / 'csv', n_frames=4).read_text()
    for start, end in (('<dl class="tiles">', '</dl>'), ('<section id="check"', '</section>')):
        of_all, of_parts = (text.partition(start)[2].partition(end)[0] for text in (cards, some))
        assert of_all == of_parts and len(of_all) > 300


def test_an_evaluation_of_parts_has_the_same_figures(tmp_path, small_parts, capsys):
    rows = table()
    truth = rows[rows['status'] == 'ok'].iloc[::7].assign(distance=lambda part: part['distance'] + 0.5)
    truth[['video_id', 'time', 'distance']].to_csv(tmp_path / 'truth.csv', index=False)
    write_estimates(tmp_path / 'csv', rows.to_dict('records'), CLIPS)
    in_parts(tmp_path / 'parts', rows)
    found = [write_evaluation(tmp_path / name / 'distances.csv', tmp_path / 'truth.csv') for name in ('csv', 'parts')]
    screen = capsys.readouterr().out
    assert screen[: len(screen) // 2] == screen[len(screen) // 2 :] and 'bias' in screen
    pd.testing.assert_frame_equal(found[0].table, found[1].table)
    pd.testing.assert_frame_equal(found[0].detection, found[1].detection)
    assert found[1].table['bias'][0] == pytest.approx(-0.5)
    assert found[1].n_others == 108 - len(truth) == len(found[0].left_out['estimated, but not known'])


def test_exports_of_parts_have_the_same_bytes(tmp_path, small_parts):
    rows = table()
    durations = dict.fromkeys(['r/00.mp4', *NAMES, 't/99.mp4'], 11.0)
    site = pd.Series({name: name[:2] for name in NAMES})
    looked_at = {name: table_looks(range(9), [], last_s=8) for name in NAMES}
    snapshots = find_snapshots(looked_at, dict.fromkeys(NAMES, 8.5), None, site, 2)
    stations = {'station': ['s2', 's0', 's1'], 'region': 'all', 'area_km2': 1.0, 'active_seconds': 1e4, 'row': 'd:2'}
    with written_rows(tmp_path, 'distances', pieces(rows)) as stored:
        for name, given in (('whole', [rows]), ('parts', stored)):
            counts = write_zamba(given, tmp_path / name / 'zamba.csv', durations)
            assert counts == {
                'rows': 14 * 11,
                'with a distance': rows['distance'].notna().sum(),
                'empty': counts['empty'],
            }
            write_distance(given, snapshots, pd.DataFrame(stations), 2, 42, tmp_path / name, [0, 5, 40])
    for name in ('zamba.csv', 'distance_flatfile.csv', 'distance.R'):
        assert (tmp_path / 'whole' / name).read_bytes() == (tmp_path / 'parts' / name).read_bytes()
    flat = pd.read_csv(tmp_path / 'parts' / 'distance_flatfile.csv')
    assert flat['Sample.Label'].unique().tolist() == ['s2', 's0', 's1']
    assert flat['object'].tolist() == list(range(1, len(flat) + 1))


def test_counts_add_up_over_pieces():
    rows = table().assign(flags=lambda part: np.where(part['time'] == 0, 'dark wide_spread', part['flags']))
    rows.loc[:8, 'status'] = 'known distance'  # the first clip
    whole, parts = RowCounts([rows]), RowCounts(pieces(rows))
    assert vars(whole) == vars(parts)
    assert (parts.n_rows, parts.n_animals) == (108, 99) and 's0/00.mp4' not in parts.seconds
    assert parts.flags['dark'] >= 11 and sum(parts.seconds.values()) == parts.n_distances


@pytest.mark.parametrize('n', [1, 2, 7, 100, 101])
def test_counted_distances_have_the_quantiles_of_the_single_ones(n):
    distance_m = np.random.default_rng(n).gamma(3, 2, n).round(1)
    counted = count_distances(distance_m[: n // 2]).merged(count_distances(distance_m[n // 2 :]))
    assert counted.n == n and counted.median() == np.median(distance_m)
    assert [counted.quantile(share) for share in (0, 0.3, 0.99, 1)] == np.quantile(
        distance_m, [0, 0.3, 0.99, 1]
    ).tolist()
