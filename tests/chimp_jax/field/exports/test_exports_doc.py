"""The worked example of docs/exports.md is what the functions write."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.exports.camtrap.observations import Followed
from chimp_jax.field.exports.camtrap_dp import merge_camtrap_dp
from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.snapshots import find_snapshots
from chimp_jax.field.exports.zamba import write_zamba
from chimp_jax.field.stations import read_deployments, stations_of
from data_prep.inputs.looked_at import table_looks

TEXT = (Path(__file__).resolve().parents[4] / 'docs' / 'exports.md').read_text()


def block(name):
    """The indented lines below the line that begins with the file's name."""
    lines = re.search(rf'^`{re.escape(name)}`.*\n\n((?:    .*\n)+)', TEXT, re.MULTILINE)[1]
    return re.sub('^    ', '', lines, flags=re.MULTILINE)


@pytest.fixture
def rows():
    table = pd.read_csv(io.StringIO(block('distances.csv')), dtype={'animal': str})
    return table.fillna({'flags': '', 'animal': ''})


def test_zamba(tmp_path, rows):
    n_animals = {('north_1/IMG_0001.MP4', 2): 2, ('south_1/IMG_0001.MP4', 0): 2}
    write_zamba([rows], tmp_path / 'zamba.csv', dict.fromkeys(rows['video_id'], 3.0), n_animals)
    assert (tmp_path / 'zamba.csv').read_text() == block('zamba.csv')


def test_distance(tmp_path, rows):
    (tmp_path / 'deployments.csv').write_text(block('deployments.csv'))
    deployments = read_deployments(tmp_path / 'deployments.csv')
    clips = rows['video_id'].unique()
    site = stations_of(clips, deployments).set_axis(clips)
    looked_at = {name: table_looks(mine['time'], [], last_s=2) for name, mine in rows.groupby('video_id')}
    keys = set(zip(rows['video_id'], rows['time'], strict=True))
    snapshots = find_snapshots(looked_at, dict.fromkeys(clips, 2.9), keys, site, 2)
    write_distance([rows], snapshots, deployments, 2, 42, tmp_path, [0, 2, 5, 10, 15])
    assert (tmp_path / 'distance_flatfile.csv').read_text() == block('distance_flatfile.csv')


def test_camtrap_dp(tmp_path, rows):
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'media.csv').write_text(block('media.csv'))
    (mine / 'deployments.csv').write_text(
        'deploymentID,latitude,longitude,deploymentStart,deploymentEnd\n'
        'north_1,6.1,-7.2,2024-03-01T08:00:00Z,2024-03-11T08:00:00Z\n'
    )
    (mine / 'observations.csv').write_text('observationID,deploymentID\n')
    resources = [{'name': name, 'path': f'{name}.csv'} for name in ('deployments', 'media', 'observations')]
    profile = 'https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.2/camtrap-dp-profile.json'
    (mine / 'datapackage.json').write_text(json.dumps({'profile': profile, 'resources': resources}))
    tracks = {('north_1/IMG_0001.MP4', '1'): Followed(0.62, 0.41, 0.93, 1.64)}
    counts = merge_camtrap_dp([rows], mine, tmp_path / 'out', tracks=tracks, track_events=True, coverage=0.9)
    assert counts['clips not in media.csv'] == ['south_1/IMG_0001.MP4']
    expected = pd.read_csv(io.StringIO(block('observations.csv')), dtype=str, keep_default_na=False)
    written = pd.read_csv(tmp_path / 'out' / 'observations.csv', dtype=str, keep_default_na=False)
    filled = written.loc[:, (written != '').any()].drop(columns='classifiedBy')
    assert filled.to_dict('list') == expected.to_dict('list')


def test_the_angles_of_the_example(rows):
    # The middle of the box, and a view of 42 degrees: atan((x - 0.5) * 2 * tan(21 degrees)).
    middle = rows['bbox_x'] + rows['bbox_width'] / 2
    angle = np.degrees(np.arctan((middle - 0.5) * 2 * math.tan(math.radians(21))))
    np.testing.assert_allclose(rows['angle'], angle, atol=0.005)
