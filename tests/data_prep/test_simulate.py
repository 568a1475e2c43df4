"""Simulated clips: geometry and labels by hand, the challenge's tables, the same result in each run."""

import collections
import csv
import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from make_clips import probe

from data_prep import lock, simulate
from data_prep.decoding.decode import decode_seconds
from data_prep.decoding.exposure import white_fraction
from data_prep.simulator import animal, herd, notes, scene, site
from data_prep.simulator import frames as simulate_frames
from data_prep.simulator import plan as simulate_plan
from data_prep.simulator import tables as simulate_tables
from data_prep.simulator.plan import ClipPlan, Size
from data_prep.simulator.site import Camera, project
from data_prep.simulator.tables import round_label

CHALLENGE = Path(__file__).resolve().parents[2] / 'shared' / 'data' / 'deep_chimpact'
TINY = Size(sites=(1, 1), clips=(2, 1), big_clips=(0, 0), seconds=(2.5, 3), big_seconds=(1, 1))
CAMERA = Camera(height_m=1.2, tilt_deg=5.0, view_deg=45.0)
OPEN = np.full(site.CANVAS_PX[::-1], np.inf, np.float32)  # nothing hides the animal


def tiny_plan(**changes) -> ClipPlan:
    plan = ClipPlan(
        video_id='aaaa.mp4',
        split='train',
        seed=0,
        difficulty='easy',
        site_index=2,
        site_id='abc',
        number=5,
        width_px=320,
        height_px=180,
        frame_rate=Fraction(4),
        n_frames=12,
        codec='libx264',
        night=False,
        overexposed=False,
    )
    return dataclasses.replace(plan, **changes)


def pose_at(x_m, z_m, heading=(1.0, 0.0)):
    return np.array([x_m, z_m, *heading, 0.3, 0.0, 0.0])


def bushbuck():
    return animal.SPECIES['bushbuck']


def standing(name, *pose):
    """A bushbuck that keeps its pose."""
    return herd.Animal(name, bushbuck(), animal.Walk(np.tile(pose, (50, 1))), np.random.default_rng(0))


# ---------------------------------------------------------------- geometry


def test_height_in_pixels_is_focal_length_times_height_over_distance():
    # 90 degrees over 640 pixels: f = 320. 1.5 m at 6 m: 320 * 1.5 / 6 = 80 pixels.
    camera = Camera(height_m=1.0, tilt_deg=0.0, view_deg=90.0)
    columns, rows, depth = project(camera, [(0, 0, 6), (0, 1.5, 6), (3, 1, 6)])
    assert rows[0] - rows[1] == pytest.approx(80)
    assert columns == pytest.approx([320, 320, 320 + 320 * 3 / 6])
    assert rows[2] == pytest.approx(180)  # as high as the camera, which looks level: the middle row
    assert depth == pytest.approx([6, 6, 6])


def test_contact_row_from_camera_height_and_tilt():
    # f = 320 / tan(22.5 deg) = 772.55; the foot of an object at 6 m is atan(1.2 / 6) = 11.3099 deg
    # below the horizon, 6.3099 deg below the axis: row 180 + 772.55 * tan(6.3099 deg) = 265.43
    _, rows, depth = project(CAMERA, [(0, 0, 6)])
    assert rows[0] == pytest.approx(265.43, abs=0.01)
    # 6 * cos(5 deg) + 1.2 * sin(5 deg) = 5.9772 + 0.1046
    assert depth[0] == pytest.approx(6.0818, abs=1e-4)


def test_rays_lead_back_to_the_ground():
    sideways, upward = site.rays(CAMERA)
    z_m = -CAMERA.height_m / upward[300, 0]
    columns, rows, _ = project(CAMERA, [(sideways[300, 500] * z_m, 0, z_m)])
    assert (columns[0], rows[0]) == pytest.approx((500.5, 300.5))


def test_drawn_animal_stands_on_its_contact_row_and_shrinks_with_distance():
    camera = Camera(height_m=1.0, tilt_deg=0.0, view_deg=45.0)
    heights = {}
    for z_m in (5, 10, 20):
        sprite = animal.draw_sprite(camera, bushbuck(), pose_at(0, z_m), OPEN)
        rows = sprite.rows.start + np.nonzero((sprite.pixels[..., 1] > 127).any(1))[0]
        assert rows[-1] == pytest.approx(180 + 772.55 * 1.0 / z_m, abs=2 + 20 / z_m)  # feet swing
        heights[z_m] = rows[-1] - rows[0]
    # head and ears rise above the back, which is 1 m high: 772.55 / 5 = 154.5 pixels at 5 m
    assert 154 < heights[5] < 1.5 * 154
    assert heights[5] / heights[10] == pytest.approx(2, rel=0.03)
    assert heights[10] / heights[20] == pytest.approx(2, rel=0.05)


def test_walks_keep_to_the_distances_and_to_an_animals_pace():
    rng, distances = np.random.default_rng(3), []
    for _ in range(40):
        walk = animal.draw_walk(rng, 20.0, 45.0, 1.0)
        x_m, z_m, heading_x, heading_z = walk.samples.T[:4]
        distances.append(np.hypot(x_m, z_m))
        assert np.hypot(np.diff(x_m), np.diff(z_m)).max() < 0.4  # metres in 0.1 s
        assert np.hypot(heading_x, heading_z) == pytest.approx(1, abs=1e-6)
    assert 0.5 <= np.min(distances) and np.max(distances) <= 25
    assert np.median(np.ptp(distances, axis=1)) > 1.5  # it changes within a clip
    assert 4 < np.median(distances) < 9


# ---------------------------------------------------------------- sightings


@pytest.mark.parametrize(
    ('true_m', 'tai_m', 'whole_m'),
    [
        (0.6, 0.5, 1),
        (0.99, 0.5, 1),
        (1.0, 1.5, 1),
        (2.49, 2.5, 2),
        (2.5, 2.5, 3),
        (7.9, 7.5, 8),
        (8.0, 9, 8),
        (9.9, 9, 10),
        (10.0, 11, 10),
        (12.0, 13.5, 12),
        (14.9, 13.5, 15),
        (15.2, 16, 15),
        (17.6, 18, 18),
        (25.0, 25, 25),
    ],
)
def test_distances_are_noted_as_in_each_park(true_m, tai_m, whole_m):
    assert round_label(true_m, 'tai') == tai_m
    assert round_label(true_m, 'moyen_bafing') == whole_m


def sighting_of(x_m, z_m, occluder_m, night=False):
    place = dataclasses.replace(site.draw_site(0, 0, 'abc', 'easy'), camera=CAMERA)
    light, pose = scene.draw_light(np.random.default_rng(0), night), pose_at(x_m, z_m)
    light = dataclasses.replace(light, reach_m=5.0)
    (view,) = herd.look_at(place, light, [standing('', *pose)], 0.0, occluder_m)
    grey = np.full((180, 320), 4 if night else 120, np.uint8)
    return notes.note_sighting(np.random.default_rng(1), 2, view, grey)


def test_seen_animal_is_noted_with_its_distance_and_box():
    # depth 8 * cos(5 deg) + 1.2 * sin(5 deg) = 8.074 m: 772.55 * 1.8 / 8.074 = 172 pixels right of
    # the middle; foot atan(1.2 / 8) - 5 deg = 3.531 deg below it: row 180 + 772.55 * 0.0617 = 228
    sighting = sighting_of(1.8, 8.0, OPEN)
    assert sighting.distance_m == pytest.approx(8.2) and sighting.time_s == 2
    x1, y1, x2, y2 = sighting.box
    metre_px = 772.55 / 8.074
    assert x1 < (320 + 172) / 640 < x2 < 1
    # Feet swing, and the detector's box is slightly off. The animal is 1.3 m long and over 1 m high.
    assert y2 == pytest.approx(228 / 360, abs=0.03)
    assert 1.0 * metre_px / 640 < x2 - x1 < 1.7 * metre_px / 640
    assert 1.0 * metre_px / 360 < y2 - y1 < 1.6 * metre_px / 360


def test_nothing_is_noted_of_an_animal_that_cannot_be_seen():
    trunk = OPEN.copy()
    trunk[:, 200:440] = 3.0  # a wall 3 m away hides only objects behind it
    assert sighting_of(0.0, 6.0, trunk) is None
    assert sighting_of(0.0, 2.5, trunk) is not None
    assert sighting_of(9.0, 4.0, OPEN) is None  # 66 degrees to the side
    assert sighting_of(0.0, 5.0, OPEN, night=True) is not None
    assert sighting_of(0.0, 24.0, OPEN, night=True) is None  # beyond the lamp's reach


def test_a_hidden_animal_does_not_change_the_picture():
    hidden = animal.draw_sprite(CAMERA, bushbuck(), pose_at(0, 6), np.full_like(OPEN, 1.0))
    assert not hidden.pixels[..., 1:].any()
    assert animal.visible_share(hidden, np.full_like(OPEN, 1.0)) == 0


# ---------------------------------------------------------------- exposure


def test_every_overexposed_code_is_white_and_gamma_restores_the_order():
    codes = simulate_frames.luma_codes('libx264', overexposed=True)
    assert ((codes.astype(float) - 16) * 255 / 219 > 250).all()  # BT.601 luma to RGB
    restored = np.minimum(np.floor(256 * (codes / 255) ** 10), 255)  # eq=gamma=0.1
    assert (np.diff(restored) >= 0).all() and restored[-1] - restored[0] > 130
    assert len(np.unique(restored)) >= 15


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_overexposed_clip_keeps_its_signal_only_in_the_full_stream(tmp_path, codec):
    suffix = '.mp4' if codec == 'libx264' else '.avi'
    good, white = (
        tiny_plan(video_id=name + suffix, codec=codec, overexposed=name == 'bbbb', n_frames=6)
        for name in ('aaaa', 'bbbb')
    )
    for plan in (good, white):
        simulate.render_clip(plan, tmp_path)

    def pictures(stream, plan, gamma=False):
        return decode_seconds(str(tmp_path / stream / plan.video_id), [1], gamma=gamma)[1][1]

    down, full = pictures('down', white), pictures('full', white)
    above_strip = slice(0, -8)
    assert white_fraction(down) > 0.85 and white_fraction(full) > 0.85
    assert down[above_strip].std(axis=(0, 1)).max() < 0.6  # of 255 levels
    assert white_fraction(pictures('down', good)) < 0.2
    grey = [
        pictures('full', plan, gamma).astype(float).mean(-1)[:-16].ravel()
        for plan, gamma in ((good, False), (white, True))
    ]
    assert np.corrcoef(*grey)[0, 1] > 0.9
    assert grey[1].std() > 15


# ---------------------------------------------------------------- clips and tables


def test_full_size_is_what_the_demo_asks_for():
    plans = simulate_plan.plan_clips(0, 'easy', simulate_plan.SIZES['full'])
    small = [plan for plan in plans if plan.width_px == 320]
    big = [plan for plan in plans if plan.width_px == 1280]
    assert (len(small), len(big)) == (256, 6)
    assert len({plan.video_id for plan in plans}) == len(plans)
    assert all(re.fullmatch(r'[a-z]{4}\.(mp4|avi)', plan.video_id) for plan in plans)
    assert {plan.frame_rate for plan in big} == {25, 30, Fraction(30000, 1001)}
    assert all(2 <= plan.frame_rate <= 4 for plan in small)
    assert all(14.5 <= plan.n_frames / plan.frame_rate <= 30 for plan in small)
    assert all(39.9 <= plan.n_frames / plan.frame_rate <= 60 for plan in big)
    assert {(plan.video_id[-4:], plan.codec) for plan in plans} == {
        ('.mp4', 'libx264'),
        ('.avi', 'mpeg4'),
        ('.avi', 'mjpeg'),
    }
    sites = {split: {p.site_id for p in plans if p.split == split} for split in ('train', 'test')}
    assert (len(sites['train']), len(sites['test'])) == (40, 16)
    assert not sites['train'] & sites['test']
    for split in sites:
        white = [plan.overexposed for plan in plans if plan.split == split]
        assert 0.08 <= np.mean(white) <= 0.13
    assert not any(plan.overexposed and (plan.codec == 'mjpeg' or plan.night) for plan in plans)
    assert 0.2 < np.mean([plan.night for plan in plans]) < 0.4


def test_the_size_for_comparisons_has_many_sites_of_few_short_clips():
    plans = simulate_plan.plan_clips(0, 'easy', simulate_plan.SIZES['sites'])
    clips = collections.Counter(plan.site_id for plan in plans if plan.split == 'train')
    assert len(plans) == 112 and len(clips) == 36 and set(clips.values()) == {3}
    assert all(7.5 <= plan.n_frames / plan.frame_rate <= 8.5 for plan in plans)


@pytest.fixture(scope='module')
def tiny_folders(tmp_path_factory):
    """The same simulation rendered by 1 and by 2 workers."""
    folders = [tmp_path_factory.mktemp(f'workers{workers}') for workers in (1, 2)]
    for workers, folder in zip((1, 2), folders, strict=True):
        simulate.simulate(folder, 'easy', 4, TINY, workers)
    return folders


def read_csv(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_same_bytes_whatever_the_number_of_workers(tiny_folders):
    one, two = tiny_folders
    names = sorted(str(path.relative_to(one)) for path in one.rglob('*') if path.is_file())
    assert len(names) == 3 * 3 + 5 + 2  # full, down, truth; tables; contact sheet and settings
    assert not [name for name in names if name.endswith('.part')]
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_rendered_again_gives_the_same_frames():
    first, second = (list(simulate_frames.frames(tiny_plan(n_frames=5))) for _ in range(2))
    for (full, down, seen), (full_again, down_again, seen_again) in zip(first, second, strict=True):
        assert (full == full_again).all() and (down == down_again).all() and seen == seen_again
    assert any((first[0][0] != full).any() for full, _, _ in first[1:])  # it moves
    other = next(simulate_frames.frames(tiny_plan(seed=1)))
    assert (first[0][0] != other[0]).any()


def test_tables_are_the_challenges(tiny_folders):
    folder = tiny_folders[0]
    tables = {path.stem: read_csv(path) for path in folder.glob('*.csv')}
    label, boxes = ['video_id', 'time', 'distance'], ['x1', 'y1', 'x2', 'y2', 'probability']
    metadata = ['video_id', 'time', *boxes, 'park', 'site_id']
    columns = {
        'train_labels': label,
        'submission_format': label,
        'test_distances': label,
        'train_metadata': metadata,
        'test_metadata': metadata,
    }
    assert {name: list(rows[0]) for name, rows in tables.items()} == columns

    def keys(name):
        return [(row['video_id'], int(row['time'])) for row in tables[name]]

    assert keys('train_labels') == keys('train_metadata') == sorted(keys('train_labels'))
    assert keys('submission_format') == keys('test_metadata') == keys('test_distances')
    assert all(time % 2 == 0 for name in tables for _, time in keys(name))
    assert {row['distance'] for row in tables['submission_format']} == {'1.0'}
    sites = [{row['site_id'] for row in tables[f'{split}_metadata']} for split in ('train', 'test')]
    assert not sites[0] & sites[1]
    for video_id, time in {*keys('train_labels'), *keys('test_distances')}:
        info = probe(str(folder / 'full' / video_id))
        small = probe(str(folder / 'down' / video_id))
        assert time <= info.last_s == small.last_s
        assert (info.width_px, info.height_px) == (320, 180)
        assert (small.width_px, small.height_px) == (160, 90)


def test_columns_equal_the_real_tables(tiny_folders):
    if not CHALLENGE.exists():
        pytest.skip(f'{CHALLENGE} is missing')
    for path in CHALLENGE.glob('*.csv'):
        ours = (tiny_folders[0] / path.name).read_text().splitlines()[0]
        assert ours == path.read_text().splitlines()[0]


def test_boxes_are_empty_or_in_the_picture(tmp_path):
    plans = [tiny_plan(video_id=f'aaa{letter}.mp4') for letter in 'ab']
    seen = {
        'aaaa.mp4': [notes.Sighting(2, 3.4, None, None)],
        'aaab.mp4': [notes.Sighting(0, 3.6, (0.1, 0.2, 0.3, 0.4), 0.9)],
    }
    simulate_tables.write_tables(tmp_path, plans, seen)
    assert (tmp_path / 'train_metadata.csv').read_text().splitlines()[1:] == [
        'aaaa.mp4,2,,,,,,moyen_bafing,abc',
        'aaab.mp4,0,0.1,0.2,0.3,0.4,0.9,moyen_bafing,abc',
    ]
    labels = (tmp_path / 'train_labels.csv').read_text().splitlines()[1:]
    assert labels == ['aaaa.mp4,2,3.0', 'aaab.mp4,0,4.0']


def test_a_killed_run_resumes_and_other_settings_are_refused(tiny_folders):
    folder = tiny_folders[1]
    clips = sorted((folder / 'full').iterdir())
    before = {clip: (clip.stat().st_mtime_ns, clip.read_bytes()) for clip in clips}
    (folder / 'truth' / f'{clips[0].name}.json').unlink()  # killed before this clip was whole
    simulate.simulate(folder, 'easy', 4, TINY, 1)
    after = {clip: (clip.stat().st_mtime_ns, clip.read_bytes()) for clip in clips}
    assert after[clips[0]][0] > before[clips[0]][0] and after[clips[0]][1] == before[clips[0]][1]
    assert all(after[clip] == before[clip] for clip in clips[1:])
    with pytest.raises(simulate_tables.FolderError, match='other settings'):
        simulate.simulate(folder, 'hard', 4, TINY, 1)


def test_unfinished_files_of_a_killed_run_are_deleted(tiny_folders):
    folder = tiny_folders[1]
    unfinished = [folder / 'full' / 'aaaa.mp4.17.part', folder / 'truth' / 'aaaa.mp4.json.17.tmp']
    for path in unfinished:
        path.touch()
    simulate.simulate(folder, 'easy', 4, TINY, 1)
    assert not [path for path in unfinished if path.exists()]


def test_a_second_run_into_the_same_folder_stops(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['simulate', f'--out={tmp_path}', '--size=quick'])
    with lock.hold(tmp_path):
        with pytest.raises(SystemExit) as stop:
            simulate.main()
        assert [path.name for path in tmp_path.iterdir()] == [lock.NAME]
    assert stop.value.code.startswith(f'simulate: another run works in {tmp_path} (process ')


def test_one_progress_line(tmp_path, capsys):
    simulate.simulate(tmp_path, 'easy', 4, TINY, 1)
    first, *_, last, done = capsys.readouterr().out.splitlines()
    assert first == 'simulate: 0 of 3 clips, 0 %, time left unknown'
    assert re.fullmatch(r'simulate: 3 of 3 clips, \S+ clips/s, 100 %, done in .*', last)
    assert re.fullmatch(rf'simulate: 3 clips with \d+ labels in {tmp_path}, \d+ s', done)


def test_big_clips_have_the_small_ones_geometry():
    small = next(simulate_frames.frames(tiny_plan()))
    plan = tiny_plan(width_px=1280, height_px=720, frame_rate=Fraction(25))
    big = next(simulate_frames.frames(plan))
    assert big[0].shape == (1080, 1280) and big[1].shape == (270, 320)
    small_luma, big_luma = small[0][:168].astype(float), big[0][:672].astype(float)
    pooled = big_luma.reshape(168, 4, 320, 4).mean((1, 3))
    assert np.corrcoef(small_luma.ravel(), pooled.ravel())[0, 1] > 0.97


def test_only_folders_of_the_simulator_are_simulated(tmp_path):
    (tmp_path / 'sim' / 'full').mkdir(parents=True)
    (tmp_path / 'real').mkdir()
    simulate_tables.claim_folder(tmp_path / 'sim', {'seed': 0})
    sim, full, real = tmp_path / 'sim', tmp_path / 'sim' / 'full', tmp_path / 'real'
    assert simulate_tables.are_simulated([full]) and simulate_tables.are_simulated([str(sim), full])
    assert not any(map(simulate_tables.are_simulated, ([], [real], [full, real])))
