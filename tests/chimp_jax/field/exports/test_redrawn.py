"""Flat files with redraws: which rows they have, and what stays."""

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.export_lines import describe_export, is_doubtful
from chimp_jax.field.exports.redrawn import Redraws
from chimp_jax.field.exports.snapshots import find_snapshots
from chimp_jax.field.true_distance import LabelledEstimates
from data_prep.inputs.looked_at import table_looks

N = 400


def oof(label_of) -> LabelledEstimates:
    """Out-of-fold rows with estimates of 1 to 20 m."""
    estimate_m = np.linspace(1, 20, N)
    return LabelledEstimates(estimate_m, label_of(estimate_m), np.arange(N) % 10)


def survey(n: int):
    """Pieces of distances.csv, their moments and stations: n animals at A and B in turn, 2 to 12 m; C has none."""
    rows = pd.DataFrame({'video_id': [f'{"AB"[i % 2]}/x.mp4' for i in range(n)], 'time': np.arange(n) // 2})
    rows = rows.assign(distance=np.linspace(2, 12, n), distance_lower=1.0, distance_upper=20.0, status='ok')
    looked_at = {f'{name}/x.mp4': table_looks(range(n), []) for name in 'AB'}
    site = pd.Series({name: name[0] for name in looked_at}, dtype=object)
    keys = set(zip(rows['video_id'], rows['time'], strict=True))
    moments = find_snapshots(looked_at, dict.fromkeys(looked_at, n - 0.5), keys, site, 1)
    about = {'station': list('ABC'), 'region': 'all', 'area_km2': 1.0, 'active_seconds': 1e5, 'row': 'd.csv:2'}
    return rows.sort_values(['video_id', 'time'], ignore_index=True), moments, pd.DataFrame(about)


def write(folder, rows, moments, deployments, redraws, **more):
    counts = write_distance([rows], moments, deployments, 1, 42, folder, redraws=redraws, **more)
    return counts, [read(path) for path in sorted((folder / 'distance_redraws').glob('*.csv'))]


def read(path):
    return pd.read_csv(path, keep_default_na=False, na_values={'distance': ''})


def test_an_error_that_is_always_the_same_is_undone_in_every_redraw(tmp_path):
    rows, *others = survey(20)
    counts, tables = write(tmp_path, rows, *others, Redraws(oof(lambda estimate_m: 2 * estimate_m), 12))
    assert counts['redraws'] == len(tables) == 12
    assert '12 tables with redraws in distance_redraws' in describe_export('distance', counts, tmp_path)
    names = sorted(path.name for path in (tmp_path / 'distance_redraws').iterdir())
    assert (names[0], names[-1]) == ('distance_flatfile_01.csv', 'distance_flatfile_12.csv')
    whole = read(tmp_path / 'distance_flatfile.csv')
    for table in tables:
        assert list(table) == list(whole)
        unchanged = table.drop(columns=['distance', 'distance_lower', 'distance_upper'])
        pd.testing.assert_frame_equal(unchanged, whole[list(unchanged)])
        np.testing.assert_allclose(table['distance'], 2 * whole['distance'], rtol=0.03)


def test_estimates_beyond_the_out_of_fold_rows_make_the_export_doubtful(tmp_path):
    rows, *others = survey(20)
    few = oof(lambda m: m)
    few = few._replace(estimate_m=few.estimate_m / 2, label_m=few.label_m / 2)  # up to 10 m; 4 of 20 are farther
    counts, _ = write(tmp_path, rows, *others, Redraws(few, 2))
    assert counts['estimates unlike the out-of-fold rows'] == '20%' and is_doubtful(counts)
    assert '20% of the estimates are beyond all out-of-fold estimates' in describe_export('distance', counts, tmp_path)
    counts, _ = write(tmp_path, rows, *others, Redraws(oof(lambda m: m), 2))
    assert 'estimates unlike the out-of-fold rows' not in counts and not is_doubtful(counts)


def test_bins_and_their_limits_count_for_the_drawn_distance(tmp_path):
    rows, *others = survey(20)
    edges = [0, 3, 6, 9]
    _, (table, _) = write(tmp_path, rows, *others, Redraws(oof(lambda m: m / 2), 2), cutpoints=edges)
    assert table['distance'].count() == 20 and table['distance'].max() == pytest.approx(6, rel=0.03)
    assert read(tmp_path / 'distance_flatfile.csv')['distance'].count() == sum(rows['distance'] <= 9) < 20
    seen = table.dropna(subset='distance')
    begin, end = seen['distbegin'].astype(float), seen['distend'].astype(float)
    assert ((begin < seen['distance']) & (seen['distance'] <= end)).all()
    _, (table, _) = write(tmp_path, rows, *others, Redraws(oof(lambda m: 2 * m), 2), cutpoints=edges)
    drawn = 2 * rows['distance']
    assert table['distance'].count() == pytest.approx(sum(drawn <= 9), abs=1) and table['distance'].max() <= 9


def test_redraws_scatter_and_a_measured_distance_stays(tmp_path):
    rows, *others = survey(40)
    rows.loc[rows['time'] == 3, ['status', 'distance']] = 'corrected', 17.25
    random = np.random.default_rng(0)
    _, tables = write(tmp_path, rows, *others, Redraws(oof(lambda m: m * np.exp(0.3 * random.standard_normal(N))), 8))
    drawn = np.array([table['distance'] for table in tables])[:, :40]
    measured = (tables[0]['time'].astype(str) == '3').to_numpy()[:40]
    assert (drawn[:, measured] == 17.25).all() and measured.sum() == 2
    assert (drawn[:, ~measured].std(axis=0) > 0.05).all()
    again = write(tmp_path, rows, *others, Redraws(oof(lambda m: m), 2))[1]
    assert len(again) == 2  # those of the run before are gone
    assert write(tmp_path, rows, *others, None)[1] == []
