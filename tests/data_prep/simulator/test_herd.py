"""Clips with several animals: order of depth, truth by hand from the pose, tables with names."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from data_prep import simulate
from data_prep.inputs.detections import read_detections
from data_prep.simulator import animal, herd, notes, scene, site, tables
from data_prep.simulator import frames as simulate_frames
from data_prep.simulator.plan import SIZES, ClipPlan, Size, plan_clips

CAMERA = site.Camera(height_m=1.2, tilt_deg=5.0, view_deg=45.0)
OPEN = np.full(site.CANVAS_PX[::-1], np.inf, np.float32)  # no trunk hides an animal
GREY = np.full(site.CANVAS_PX[::-1], 120, np.uint8)
TINY = Size(sites=(1, 1), clips=(2, 1), big_clips=(0, 0), seconds=(2.5, 3), big_seconds=(1, 1))
PLAN = ClipPlan(
    video_id='aaaa.mp4',
    split='train',
    seed=0,
    difficulty='easy',
    site_index=2,
    site_id='abc',
    number=5,
    width_px=640,
    height_px=360,
    frame_rate=Fraction(4),
    n_frames=13,
    codec='libx264',
    night=False,
    overexposed=False,
    n_animals=2,
    tracked=True,
)


def walking(name, x_m, z_m, speed_m_s=0.0):
    """A bushbuck that walks to the right, drawn with the same legs at every time."""
    samples = np.tile([x_m, z_m, 1.0, 0.0, 0.3, 0.0, 0.0], (50, 1))
    samples[:, 0] += speed_m_s * np.arange(50) / 10
    return herd.Animal(name, animal.SPECIES['bushbuck'], animal.Walk(samples), np.random.default_rng(0))


def views_of(*animals, time_s=0.0, occluder_m=OPEN):
    place = dataclasses.replace(site.draw_site(0, 0, 'abc', 'easy'), camera=CAMERA)
    light = scene.draw_light(np.random.default_rng(0), night=False)
    return herd.look_at(place, light, list(animals), time_s, occluder_m)


def cover(view):
    """[H, W] where the animal is drawn."""
    drawn = np.zeros(OPEN.shape, bool)
    drawn[view.sprite.rows, view.sprite.columns] = view.sprite.pixels[..., 1] > 127
    return drawn


def painted(*views):
    """The luma of a grey picture with these animals, painted from the last to the first."""
    light = scene.draw_light(np.random.default_rng(0), night=False)
    stage = simulate_frames.Scenery(PLAN, light, np.full((360, 640, 3), 0.5, np.float32), np.random.default_rng(0))
    noise, full, _ = stage.still(0)
    grey = stage.grey.copy()
    for view in views[::-1]:
        stage.paint(grey, full, noise, view)
    return full[:360].astype(int)


# ---------------------------------------------------------------- depth


def test_the_nearer_animal_covers_the_farther_whatever_their_order():
    near, far = walking('a', 0, 4), walking('b', 0.9, 8)
    views = views_of(near, far)
    assert [view.animal.name for view in views] == ['a', 'b']
    assert [view.animal.name for view in views_of(far, near)] == ['a', 'b']
    (alone,) = views_of(far)
    hidden = cover(alone) & cover(views[0])
    assert hidden.sum() > 500  # they overlap
    np.testing.assert_array_equal(cover(views[1]), cover(alone) & ~cover(views[0]))
    both, only_near, only_far = painted(*views), painted(views[0]), painted(alone)
    np.testing.assert_array_equal(both[cover(views[0])], only_near[cover(views[0])])
    seen = cover(views[1])
    np.testing.assert_array_equal(both[seen], only_far[seen])
    # The far animal is paler in the haze, so its pixels would show if the nearer one did not cover them.
    assert np.abs(only_near[hidden] - only_far[hidden]).mean() > 3


def test_an_animal_behind_another_cannot_be_seen_and_one_beside_it_can():
    # Seen from 1.2 m, a back at 7 m is 0.2 / 7 below the horizon, and the feet at 9 m are 1.2 / 9 below: it hides them.
    behind, beside = views_of(walking('a', 0, 7), walking('b', 0, 9), walking('c', 3, 9))[1:]
    assert (behind.animal.name, beside.animal.name) == ('b', 'c')
    # Its head and neck stand out: a detector may find them, with less confidence.
    assert 0.3 < notes.visible_part(behind, GREY) < 0.5 < notes.visible_part(beside, GREY)
    (alone,) = views_of(walking('b', 0, 9))
    assert notes.visible_part(alone, GREY) == 1
    glimpses = [notes.note_sighting(np.random.default_rng(k), 0, behind, GREY, 0.3) for k in range(40)]
    sightings = [notes.note_sighting(np.random.default_rng(k), 0, alone, GREY) for k in range(40)]
    ratios = [a.probability / b.probability for a, b in zip(glimpses, sightings, strict=True) if a.box]
    assert len(ratios) > 20 and ratios == pytest.approx(
        [notes.visible_part(behind, GREY) / 0.5] * len(ratios), rel=1e-3
    )
    rng = np.random.default_rng(0)
    assert notes.note_sighting(rng, 0, behind, GREY) is None
    assert notes.note_sighting(rng, 0, alone, GREY).distance_m == pytest.approx(9)


def test_animals_do_not_change_the_first_animal_nor_the_surfaces():
    one, three = (dataclasses.replace(PLAN, n_animals=n) for n in (1, 3))
    herds = [herd.draw_herd(np.random.default_rng(7), plan, 45.0) for plan in (one, three)]
    np.testing.assert_array_equal(herds[0][0].walk.samples, herds[1][0].walk.samples)
    assert [a.name for a in herds[1]] == ['a', 'b', 'c']
    assert not np.array_equal(herds[1][1].walk.samples, herds[1][2].walk.samples)
    trunks = OPEN.copy()
    views_of(walking('a', 0, 4), walking('b', 0, 8), occluder_m=trunks)
    assert np.isinf(trunks).all()


def test_walks_of_a_clip_often_differ_in_distance():
    ratios = []
    for seed in range(60):
        plan = dataclasses.replace(PLAN, seed=seed)
        animals = herd.draw_herd(np.random.default_rng(seed), plan, 45.0)
        near, far = sorted(float(np.hypot(*a.walk.pose(0.0)[:2])) for a in animals)
        ratios.append(far / near)
        assert far <= 25
    assert np.mean(np.array(ratios) > 1.6) > 0.6 and np.min(ratios) < 1.3


# ---------------------------------------------------------------- truth


def moment_of(view):
    return notes.note_moment(4, 1.0, view, GREY, None)


def test_distance_angle_and_speed_by_hand():
    # (3, 4) m: 5 m away, atan(3 / 4) = 36.87 degrees to the right, out of a view of 45 degrees
    right = moment_of(views_of(walking('a', 3, 4))[0])
    assert (right.distance_m, right.angle_deg) == (pytest.approx(5), pytest.approx(36.8699, abs=1e-4))
    assert not right.visible and right.box is None
    left = moment_of(views_of(walking('a', -1.2, 5))[0])
    assert left.angle_deg == pytest.approx(-13.4957, abs=1e-4)  # atan(0.24)
    assert (left.distance_m, left.speed_m_s) == (pytest.approx(26.44**0.5), 0)
    # 0.7 m/s to the right: after 2 s the animal is 1.4 m farther right
    moved = moment_of(views_of(walking('a', -1.2, 5, speed_m_s=0.7), time_s=2.0)[0])
    assert moved.speed_m_s == pytest.approx(0.7)
    assert moved.angle_deg == pytest.approx(2.2906, abs=1e-4)  # atan(0.04)
    assert left.visible and moved.visible
    # f = 320 / tan(22.5 deg) = 772.55; depth 5 * cos(5 deg) + 1.2 * sin(5 deg) = 5.0856 m, so the middle moves by
    # 772.55 * 1.4 / 5.0856 = 212.7 of 640 pixels. The legs are the same.
    middles = [(moment.box[0] + moment.box[2]) / 2 for moment in (left, moved)]
    assert middles[1] - middles[0] == pytest.approx(212.7 / 640, abs=0.01)  # a body is seen from other sides
    assert left.box[3] == pytest.approx((180 + 772.55 * np.tan(np.arctan(1.2 / 5) - np.radians(5))) / 360, abs=0.03)


def frame_numbers(rate, n_frames):
    return notes.Notes(dataclasses.replace(PLAN, frame_rate=Fraction(rate), n_frames=n_frames)).halves


def test_moments_are_the_last_pictures_at_or_before_each_half_second():
    # 5 frames a second: 0, 0.2, 0.4, 0.6 ... s
    assert frame_numbers(5, 8) == {0: 0.0, 2: 0.5, 5: 1.0}
    # 25 frames a second, each picture twice: frame 12 at 0.48 s; 37 repeats 36; 50 is an even second
    assert frame_numbers(25, 51) == {0: 0.0, 12: 0.5, 24: 1.0, 36: 1.5, 50: 2.0}
    # 30000/1001: frame 59 at 1.97 s is the last before 2 s, and is drawn anew since labels refer to this picture
    assert list(frame_numbers(Fraction(30000, 1001), 61)) == [0, 14, 28, 44, 59]


def test_a_clip_without_tracks_notes_no_moments():
    plan = dataclasses.replace(PLAN, n_animals=1, tracked=False)
    assert notes.Notes(plan).halves == {} and list(notes.Notes(plan).even) == [0, 8]


# ---------------------------------------------------------------- plans and files


@pytest.mark.parametrize('size', ['short', 'quick'])
@pytest.mark.parametrize('most', [1, 2, 3])
def test_each_number_of_animals_has_an_equal_share_of_the_clips(size, most):
    plans, plain = plan_clips(3, 'easy', SIZES[size], most), plan_clips(3, 'easy', SIZES[size])
    for split in ('train', 'test'):
        counts = np.bincount([plan.n_animals for plan in plans if plan.split == split], minlength=most + 1)[1:]
        assert len(counts) == most and counts.max() - counts.min() <= 1
    assert plain == [dataclasses.replace(plan, n_animals=1, tracked=False) for plan in plans]
    # Each site has clips with one animal and with several, so a site does not tell the number.
    by_site = pd.Series([plan.n_animals for plan in plans]).groupby([plan.site_id for plan in plans]).nunique()
    assert most == 1 or (by_site > 1).mean() > 0.6


def test_tables_with_names_by_hand(tmp_path):
    plans = [dataclasses.replace(PLAN, video_id=f'aaa{letter}.mp4', split='test') for letter in 'ba']
    seen = [notes.Sighting(0, 12.2, None, None, 'b'), notes.Sighting(0, 3.4, (0.1, 0.2, 0.3, 0.4), 0.9, 'a')]
    moments = [
        notes.Moment(0.0, 'a', 0, 3.4, -5.25, 0.5, True, (0.1, 0.2, 0.3, 0.4), (0.11, 0.2, 0.31, 0.5), 0.9),
        notes.Moment(0.0, 'b', 0, 12.25, 3.0, 0.0, False, None, None, None),
        notes.Moment(0.5, 'a', 2, 3.5, -5.5, 0.25, True, (0.1, 0.2, 0.3, 0.4), None, None),
    ]
    by_clip = {'aaaa.mp4': notes.Seen(seen, moments), 'aaab.mp4': notes.Seen([], [])}
    tables.write_tables(tmp_path, plans, {name: of.sightings for name, of in by_clip.items()}, named=True)
    assert (tmp_path / 'test_distances.csv').read_text().splitlines() == [
        'video_id,time,animal,distance',
        'aaaa.mp4,0,a,3.0',
        'aaaa.mp4,0,b,12.0',
    ]
    assert (tmp_path / 'test_metadata.csv').read_text().splitlines()[1:] == [
        'aaaa.mp4,0,a,0.1,0.2,0.3,0.4,0.9,moyen_bafing,abc',
        'aaaa.mp4,0,b,,,,,,moyen_bafing,abc',
    ]
    tables.write_truth(tmp_path, plans, by_clip)
    assert (tmp_path / 'animals.csv').read_text().splitlines() == [
        'video_id,time_s,animal,x1,y1,x2,y2,distance,angle,speed,visible',
        'aaaa.mp4,0.0,a,0.1,0.2,0.3,0.4,3.4,-5.25,0.5,yes',
        'aaaa.mp4,0.0,b,,,,,12.25,3.0,0.0,no',
        'aaaa.mp4,0.5,a,0.1,0.2,0.3,0.4,3.5,-5.5,0.25,yes',
    ]
    tables.write_detections(tmp_path, plans, by_clip)
    with_boxes, without = json.loads((tmp_path / 'detections.json').read_text())['images']
    assert (with_boxes['file'], with_boxes['frames_processed'], without['detections']) == ('aaaa.mp4', [0, 2], [])
    (found,) = with_boxes['detections']
    assert found == {'category': '1', 'conf': 0.9, 'bbox': [0.11, 0.2, 0.2, 0.3], 'frame_number': 0}


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """The same simulation of up to 3 animals, rendered by 1 and by 2 workers."""
    made = [tmp_path_factory.mktemp(f'animals{workers}') for workers in (1, 2)]
    for workers, folder in zip((1, 2), made, strict=True):
        simulate.simulate(folder, 'easy', 4, TINY, workers, most_animals=3)
    return made


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_same_bytes_whatever_the_number_of_workers_and_after_an_interruption(folders):
    one, two = map(contents, folders)
    assert one == two and {'animals.csv', 'detections.json'} < set(one)
    clip = next(name for name in one if name.startswith('full')).removeprefix('full/')
    (folders[1] / 'truth' / f'{clip}.json').unlink()
    for name in ('animals.csv', 'detections.json'):
        (folders[1] / name).unlink()
    simulate.simulate(folders[1], 'easy', 4, TINY, 1, most_animals=3)
    assert contents(folders[1]) == one
    with pytest.raises(tables.FolderError, match='other settings'):
        simulate.simulate(folders[1], 'easy', 4, TINY, 1, most_animals=2)


def test_detections_are_boxes_of_animals_in_the_picture(folders):
    """Read with the reader of users' files, and matched with the true boxes."""
    truth = pd.read_csv(folders[0] / 'animals.csv')
    assert truth.groupby('video_id')['animal'].nunique().sort_values().tolist() == [1, 1, 2]
    read = read_detections(folders[0] / 'detections.json', 0.0)
    assert not read.problems and sorted(clip.video_id for clip in read.clips) == sorted(truth['video_id'].unique())
    n_found = 0
    for clip in read.clips:
        for detection in clip.sightings:
            second = np.ceil(2 * detection.frame_number / clip.frame_rate) / 2
            at = (truth['video_id'] == clip.video_id) & (truth['time_s'] == second) & truth['x1'].notna()
            there = truth[at]
            off = np.abs(there[['x1', 'y1', 'x2', 'y2']].to_numpy() - detection.box).max(1)
            assert off.min() < 0.04
            n_found += 1
    n_visible = (truth['visible'] == 'yes').sum()
    assert 0.6 * n_visible < n_found <= truth['x1'].notna().sum()


def test_one_animal_gives_the_same_clips_with_its_track(tmp_path):
    tracked, plain = tmp_path / 'tracked', tmp_path / 'plain'
    simulate.simulate(tracked, 'easy', 4, TINY, 1, most_animals=1)
    simulate.simulate(plain, 'easy', 4, TINY, 1)
    one, other = contents(tracked), contents(plain)
    assert set(one) - set(other) == {'animals.csv', 'detections.json'}
    told = {name for name in other if one[name] != other[name]}
    assert told == {name for name in other if name.startswith('truth')} | {'simulation.json', 'contact_sheet.png'}


def test_the_number_of_animals_is_checked_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['simulate', f'--out={tmp_path / "new"}', '--animals=4'])
    with pytest.raises(SystemExit) as stop:
        simulate.main()
    assert stop.value.code == 'simulate: --animals 4 is not possible; give a number from 1 to 3'
    assert not (tmp_path / 'new').exists()
