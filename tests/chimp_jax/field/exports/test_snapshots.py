"""The snapshot moments of a survey and their effort, by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from chimp_jax.field.exports.distance_flatfile import station_efforts, write_distance
from chimp_jax.field.exports.snapshots import check_all_looked_at, check_photos, find_snapshots, plan_snapshots
from data_prep.inputs.headers import Header
from data_prep.inputs.labels import Targets
from data_prep.inputs.looked_at import detector_looks, table_looks
from data_prep.plan import Plan

SITE = pd.Series({'A/x.mp4': 'A', 'A/y.mp4': 'A', 'B/z.mp4': 'B', 'B/broken.mp4': 'B'})
ENDS_S = {'A/x.mp4': 5.9, 'A/y.mp4': 3.9, 'B/z.mp4': 5.9, 'B/broken.mp4': math.inf}
LOOKS = {
    'A/x.mp4': detector_looks([0, 2.1, 4], [2.1, 2.1]),
    'B/z.mp4': detector_looks([0, 4], [4]),  # nobody looked at 2 s, nor at A/y.mp4
}
TARGETS = {('A/x.mp4', 2), ('B/z.mp4', 4)}


def deployments(**changes):
    table = {'station': ['A', 'B', 'C'], 'region': 'n', 'area_km2': 1.0, 'active_seconds': [100.0, 60.0, 40.0]}
    return pd.DataFrame({**table, 'row': ['d.csv:2', 'd.csv:3', 'd.csv:4'], **changes})


def snapshots():
    return find_snapshots(LOOKS, ENDS_S, TARGETS, SITE, 2)


def test_every_moment_of_every_clip():
    found = snapshots()
    assert found.moments.drop(columns=['n_animals', 'frame_s']).values.tolist() == [
        ['A/x.mp4', 'A', 0, 'empty', 0],
        ['A/x.mp4', 'A', 2, 'animal', 2],
        ['A/x.mp4', 'A', 4, 'empty', 4],
        ['A/y.mp4', 'A', 0, 'not looked at', 0],
        ['A/y.mp4', 'A', 2, 'not looked at', 2],
        ['B/z.mp4', 'B', 0, 'empty', 0],
        ['B/z.mp4', 'B', 2, 'not looked at', 2],
        ['B/z.mp4', 'B', 4, 'animal', 4],
    ]
    assert found.unreadable == {'B/broken.mp4': 'B'}
    assert found.counts() == {
        'with an animal': 2, 'empty': 3, 'not looked at': 3, 'clips not looked at': 2,
        'clips with unknown length': 1,
    }  # fmt: skip
    assert found.moments['frame_s'].tolist() == [0, 2.1, 4, 0, 2, 0, 2, 4]  # without a frame: the moment


def test_the_row_of_a_moment_is_its_own_second_if_that_is_a_target():
    # The frame of the moment 2 is at 1.97 s. Second 1 has a row; second 2 has one if a later frame has the animal too.
    looks = {'A/x.mp4': detector_looks([0, 1.97, 3.94], [1.97])}
    for targets, second in (({('A/x.mp4', 1)}, 1), ({('A/x.mp4', 1), ('A/x.mp4', 2)}, 2)):
        found = find_snapshots(looks, {'A/x.mp4': 4.5}, targets, SITE[:1], 2)
        assert found.seen()['time'].tolist() == [second]


def test_moments_that_nobody_looked_at_are_refused_with_their_number():
    with pytest.raises(ValueError, match='md.json: 3 of 8 snapshot moments were not looked at') as refusal:
        check_all_looked_at(snapshots(), 'md.json', 'look again')
    assert '(2 clips, 2 stations; first A/y.mp4 at 0 s)' in str(refusal.value)
    assert 'look again, or add --partial_effort' in str(refusal.value)
    check_all_looked_at(find_snapshots(LOOKS, ENDS_S, TARGETS, SITE[:1], 2), 'md.json', 'look again')


def test_effort_by_hand():
    whole = station_efforts(deployments(), snapshots(), 2)
    assert {station: effort for station, (_, _, effort) in whole.items()} == {'A': 50, 'B': 30, 'C': 20}
    # Three of the five moments in A's clips were looked at, two of B's three; C has no clip, so all of it is empty.
    partial = station_efforts(deployments(), snapshots(), 2, partial_effort=True)
    assert {station: effort for station, (_, _, effort) in partial.items()} == pytest.approx(
        {'A': 30, 'B': 20, 'C': 20}
    )


def test_a_station_that_nobody_looked_at_is_left_out_and_named(tmp_path):
    found = find_snapshots({'B/z.mp4': LOOKS['B/z.mp4']}, ENDS_S, TARGETS, SITE, 2)
    rows = pd.DataFrame([('B/z.mp4', 4, 5.5)], columns=['video_id', 'time', 'distance'])
    rows = rows.assign(distance_lower=5.0, distance_upper=6.0)
    counts = write_distance([rows], found, deployments(), 2, 42, tmp_path, partial_effort=True)
    table = pd.read_csv(tmp_path / 'distance_flatfile.csv')
    assert table[['Sample.Label', 'Effort', 'distance']].fillna(-1).values.tolist() == [['B', 20, 5.5], ['C', 20, -1]]
    assert counts['stations not looked at'] == ['A'] and counts['moments']['not looked at'] == 6
    with pytest.raises(ValueError, match='no snapshot moment of any station was looked at'):
        station_efforts(deployments()[:2], find_snapshots({}, ENDS_S, TARGETS, SITE, 2), 2, partial_effort=True)


def test_partial_effort_keeps_the_density():
    """The detector looked every 2 s; moments are every 1 s. Half of the animals are seen, so half of the effort counts.

    To subtract the moments that nobody looked at from the active ones would leave nearly all of the effort.
    """
    random = np.random.default_rng(0)
    site, ends_s, full, sparse = {}, {}, {}, {}
    for i in range(300):
        frames_s, start_s = np.arange(0, 60), random.uniform(0, 50)
        seen_s = frames_s[(frames_s >= start_s) & (frames_s < start_s + random.uniform(2, 10))].astype(float)
        name = f'A/{i}.mp4'
        site[name], ends_s[name] = 'A', 59.9
        full[name] = detector_looks(frames_s, seen_s)
        sparse[name] = detector_looks(frames_s[::2], seen_s[seen_s % 2 == 0])
    places = deployments(active_seconds=[30 * 86400.0, 1.0, 1.0])
    density = {}
    for looks in (full, sparse):
        found = find_snapshots(looks, ends_s, None, pd.Series(site), 1)
        effort = station_efforts(places, found, 1, partial_effort=True)['A'][2]
        density[id(looks)] = len(found.seen()) / effort
    assert density[id(sparse)] / density[id(full)] == pytest.approx(1, abs=0.03)
    subtracted = 30 * 86400 - len(found.unlooked())
    assert len(found.seen()) / subtracted / density[id(full)] == pytest.approx(0.5, abs=0.03)


def plan(looked_at, rows=(), **more):
    targets = Targets(pd.DataFrame(list(rows), columns=['video_id', 'time_s']), [], [], empty=more.pop('empty', ()))
    headers = {'A/x.mp4': Header(6.0, 10.0), 'A/y.mp4': 'moov atom not found'}
    return Plan({'test': targets}, {}, None, headers=headers, looked_at=looked_at, **more)


@pytest.mark.parametrize(
    'given, options, fault',
    [
        ({}, {'detections': 'md.json'}, r'md.json: 3 of 3 .*process_video --time_sample 2\), choose a --snapshot'),
        ({}, {'targets': 't.csv'}, 't.csv: 3 of 3 .*column animal, add --other_moments_are_empty'),
        ({'looks_fault': 'md.json is silent'}, {'detections': 'md.json'}, 'md.json is silent.*--detector_every S'),
        ({'looks_fault': 'md.json is silent'}, {'detections': 'md.json', 'partial_effort': True}, 'md.json is silent'),
        ({}, {'targets': 't.csv', 'partial_effort': True}, 't.csv: --partial_effort needs rows without an animal'),
    ],
)
def test_refusals_say_what_to_do(given, options, fault):
    with pytest.raises(ValueError, match=fault):
        plan_snapshots(plan({}, **given), SITE[:2], 2, **options)


def test_the_snapshots_of_a_plan():
    looked_at = {'A/x.mp4': table_looks([2], [0])}
    options = {'targets': 't.csv', 'partial_effort': True}
    made = plan(looked_at, [('A/x.mp4', 2)], empty=(('A/x.mp4', 0),))
    found = plan_snapshots(made, SITE[:2], 2, **options)
    assert found.moments['state'].tolist() == ['empty', 'animal', 'not looked at']
    assert found.unreadable == {'A/y.mp4': 'A'}
    every = plan_snapshots(plan({'A/x.mp4': table_looks(range(6), [])}), SITE[:2], 2)
    assert every.seen()['time'].tolist() == [0, 2, 4]


def test_photos_are_no_snapshot_moments(tmp_path):
    site = pd.Series({'A/1.mp4': 'A', 'A/1.jpg': 'A', 'A/2.JPG': 'A'})
    check_photos(site)
    headers = {name: Header(0.0, 0.0, np.zeros(1)) for name in site.index[1:]} | {
        'A/1.mp4': Header(3.0, 1, np.arange(3.0))
    }
    looked_at = {'A/1.mp4': table_looks([0, 2], [1]), 'A/1.jpg': table_looks([0], [])}  # nobody looked at 2.JPG
    rows = pd.DataFrame([('A/1.mp4', 0), ('A/1.mp4', 2), ('A/1.jpg', 0)], columns=['video_id', 'time_s'])
    made = Plan({'test': Targets(rows, [], [])}, {}, None, headers=headers, looked_at=looked_at)
    found = plan_snapshots(made, site, 2, targets='t.csv')
    assert found.moments[['video_id', 'moment', 'state']].values.tolist() == [
        ['A/1.mp4', 0, 'animal'],
        ['A/1.mp4', 2, 'animal'],
    ]
    about = {'distance_lower': 1.0, 'distance_upper': 3.0}
    distances = rows.rename(columns={'time_s': 'time'}).assign(distance=2.0, **about)
    counts = write_distance([distances], found, deployments(), 2, 42, tmp_path)
    assert counts['observations'] == 2 and counts['left out'] == {'photos': 1}


def test_a_station_with_photos_alone_is_refused():
    site = pd.Series({'A/1.mp4': 'A', 'A/1.jpg': 'A', 'B/1.png': 'B', 'B/2.png': 'B'})
    with pytest.raises(ValueError, match=r"--format distance: the station 'B' has photos alone \(B/1.png\)") as refusal:
        check_photos(site)
    assert 'give the folders of stations with videos, or leave out this format' in str(refusal.value)
