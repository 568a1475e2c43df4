"""chimp-distance estimate: known distances, corrections, bias, and what is refused before the work."""

import json
import shutil

import make_packages
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip
from run_estimate import BIAS_WARNING, RECIPES, estimate, read

from chimp_jax import panel
from chimp_jax.commands import entry
from chimp_jax.ensemble.prediction_tables import SECOND
from chimp_jax.field import evaluate

pytestmark = pytest.mark.usefixtures('small_model')
SURVEY = ['--format', 'distance', '--deployments', 'stations.csv']


def test_corrections_replace_estimates_and_known_distances_calibrate(runs, clips, tmp_path, capsys):
    out = tmp_path / 'out'
    estimate(runs, clips, out)
    before = read(out)
    name = 'st A/IMG_0001.MP4'
    (out / 'corrections.csv').write_text(f'video_id,time,distance\n{name},3,7.5\n')
    known = before[before['video_id'] == name].assign(distance=lambda rows: rows['distance'] + 6)
    known[[*SECOND, 'distance']].to_csv(tmp_path / 'known.csv', index=False)
    assert estimate(runs, clips, out, '--calibrate', str(tmp_path / 'known.csv')) == 3
    after = read(out)
    mine = after[after['video_id'] == name].set_index('time')
    assert mine.loc[3, ['distance', 'distance_lower', 'status']].tolist() == [7.5, '', 'corrected']
    # The known distances at this site are 6 m farther. The shrunken correction moves a part of this, elsewhere nothing.
    moved = after['distance'] - before['distance']
    others = after['video_id'] != name
    assert (moved[others] == 0).all()
    assert moved[~others & (after['status'] == 'ok')].between(1, 6.5).all()
    assert 'st A: the mean error on 5 known distances is' in capsys.readouterr().out


def reference_clips(folder):
    """Two clips of 8 s at the stations A and B: A has an animal at second 2, B a person with a tape."""
    for station in 'AB':
        write_clip(folder / 'clips' / station / 'one.mp4', numbered_frames(64), 8)
    images = [
        {'file': f'{station}/one.mp4', 'frame_rate': 8, 'frames_processed': list(range(0, 64, 8)), 'detections': found}
        for station, found in (
            ('A', [{'category': '1', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]),
            ('B', [{'category': '2', 'conf': 0.9, 'bbox': [0.25, 0.5, 0.25, 0.125], 'frame_number': 16}]),
        )
    ]
    content = {'info': {'format_version': '1.5'}, 'detection_categories': {'1': 'animal', '2': 'person'}}
    (folder / 'md.json').write_text(json.dumps(content | {'images': images}))
    (folder / 'stations.csv').write_text('station,area_km2,active_seconds\nA,1,60\nB,1,60\n')
    return folder / 'clips'


def test_a_person_at_known_distances_calibrates_and_is_no_animal(runs, tmp_path, monkeypatch, capsys):
    clips = reference_clips(tmp_path)
    monkeypatch.chdir(tmp_path)
    known_m = [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    lines = [f'B/one.mp4,{second},{metres}' for second, metres in enumerate(known_m)]
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    flags = [
        '--detections',
        'md.json',
        '--deployments',
        'stations.csv',
        '--snapshot',
        '2',
        '--theta',
        '42',
        '--details',
    ]
    flags += ['--format', 'distance', 'zamba', '--calibrate', 'known.csv']
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 0
    rows = read(tmp_path / 'out').set_index(SECOND)
    assert rows['status'].to_dict() == {
        ('A/one.mp4', 2): 'ok', **{('B/one.mp4', second): 'known distance' for second in range(6)}
    }  # fmt: skip
    measured = rows[rows['status'] == 'known distance']
    assert measured['distance'].astype(float).tolist() == known_m
    assert (measured[['distance_lower', 'distance_upper', 'flags']] == '').all().all()
    assert (measured[RECIPES[0]] != '').all()  # with --details, what a recipe said
    table = pd.read_csv(tmp_path / 'out' / 'clips.csv').set_index('video_id')
    assert table['status'].to_dict() == {'A/one.mp4': 'ok', 'B/one.mp4': 'no animal'}
    assert table['seconds'].to_dict() == {'A/one.mp4': 1, 'B/one.mp4': 0}
    summary = json.loads((tmp_path / 'out' / 'summary.json').read_text())
    (site,) = summary['calibration']
    assert (site['site'], site['n'], summary['known_distances']) == ('B', 6, 6)
    assert (summary['targets'], summary['distances'], summary['zamba']['with a distance']) == (1, 1, 1)
    flat = pd.read_csv(tmp_path / 'out' / 'distance_flatfile.csv')
    assert flat['video_id'].dropna().tolist() == ['A/one.mp4'] and len(flat) == 2
    assert '6 seconds are targets for --calibrate alone' in capsys.readouterr().out
    assert entry.main(['report', str(tmp_path / 'out')]) == 0
    assert 'known distance' not in (tmp_path / 'out' / 'report.html').read_text().split('summary.json')[0]


def test_known_seconds_between_the_targets_are_added_and_the_others_stay(runs, tmp_path, capsys, caplog):
    clips = reference_clips(tmp_path)
    lines = [f'B/one.mp4,{second},3,,,' for second in (0, 1, 2, 4, 5)] + ['B/one.mp4,6,3,0.5,0.9,ground']
    (tmp_path / 'known.csv').write_text('\n'.join(['video_id,time,distance,x,y,animal', *lines]) + '\n')
    with caplog.at_level('INFO'):
        out, flags = tmp_path / 'out', ['--every', '3', '--calibrate', str(tmp_path / 'known.csv')]
        assert estimate(runs, clips, out, *flags) == 0
    rows = read(out)
    status = rows[rows['video_id'] == 'B/one.mp4'].set_index('time')['status'].to_dict()
    assert status == {0: 'ok', 3: 'ok', 6: 'ok'} | dict.fromkeys([1, 2, 4, 5], 'known distance')
    assert rows.loc[rows['video_id'] == 'A/one.mp4', 'time'].tolist() == [0, 3, 6]
    assert json.loads((out / 'summary.json').read_text())['calibration'][0]['n'] == 5
    # Second 0. The place on the ground in second 6 tells nothing about an animal there.
    assert '1 seconds of' in caplog.text and 'count as animals' in caplog.text


def test_the_bias_of_a_bin_is_told_in_all_places(runs, clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, 'bias_warning', BIAS_WARNING)
    folder = tmp_path / 'clips'
    write_clip(folder / 'a.mp4', numbered_frames(8), 8)
    assert estimate(runs, folder, tmp_path / 'out', '--cutpoints', '0,0.1,100') == 0
    told = json.loads((tmp_path / 'out' / 'summary.json').read_text())['out_of_fold']
    assert [band['name'] for band in told['bands']] == ['0.1 to 100 m'] and 'warning' not in told
    labels = pd.concat(pd.read_csv(path) for path in (runs / RECIPES[0]).glob('fold_*/oof.csv'))['distance']
    assert told['bands'][0]['n'] == len(labels) and 'By true distance' in capsys.readouterr().out
    edge = float(labels.median())
    assert estimate(runs, folder, tmp_path / 'out', '--cutpoints', f'{edge - 1e-3},{edge}') == 3
    told = json.loads((tmp_path / 'out' / 'summary.json').read_text())['out_of_fold']
    assert 'more than half of the bin' in told['warning'] and f'warning: {told["warning"]}' in capsys.readouterr().out


@pytest.mark.parametrize(
    'flags,fault',
    [
        (['--format', 'distance'], '--format distance needs --deployments and --snapshot and --theta'),
        (['--format', 'camtrap-dp'], '--format camtrap-dp needs --camtrap_package'),
        ([*SURVEY, '--snapshot', '2', '--theta', '400'], 'theta 400.0 is not an angle of view'),
        ([*SURVEY, '--snapshot', '3', '--theta', '42', '--every', '2'], 'some moments every 3 s have no distance'),
        ([*SURVEY, '--snapshot', '2', '--theta', '42', '--cutpoints', '0,5', '--truncation', '7'], 'beyond the last'),
        (['--every', '2', '--targets', 'x.csv'], '--every cannot be used with --targets'),
        (['--every_second_has_an_animal', '--targets', 'x.csv'], '--every_second_has_an_animal contradicts --targets'),
        (['--every_second_has_an_animal', '--detections', 'x.json'], 'contradicts --detections'),
        (['--other_moments_are_empty'], '--other_moments_are_empty needs --targets'),
        (['--detector_every', '2'], '--detector_every needs --detections'),
        (['--detector_every', '-1', '--detections', 'x.json'], '--detector_every=-1: give seconds, above 0'),
        (['--partial_effort'], '--partial_effort needs --format distance'),
        (['--completeness', 'x.csv'], '--completeness is for --format distance'),
        (['--redraws', '20'], '--redraws is for --format distance'),
        ([*SURVEY, '--snapshot', '2', '--theta', '42', '--redraws', '1'], '--redraws=1: give the number of tables'),
        ([*SURVEY, '--snapshot', '2', '--theta', '42', '--redraws', '1001'], 'give the number of tables, 2 to 1000'),
        (
            [*SURVEY, '--snapshot', '2', '--theta', '42', '--redraws', '20', '--calibrate', 'few.csv'],
            '--redraws knows the error of the members alone, and --calibrate changes their distances',
        ),
        (
            [*SURVEY, '--snapshot', '2', '--theta', '42', '--every_second_has_an_animal', '--redraws', '20'],
            '21 out-of-fold rows of 6 sites are too few to know how true distances scatter',
        ),
        (['--coverage', '1.5'], '--coverage=1.5'),
        (['--animals', 'duiker'], '--animals names categories of a detector; give its file with --detections'),
        (['--species_table', 'x.csv'], '--species_table is for --format camtrap-dp'),
        (['--media_table', 'x.csv'], '--media_table is for --format camtrap-dp'),
        (
            ['--format', 'camtrap-dp', '--camtrap_package', '.', '--media_table', 'media_table.csv'],
            "media_table.csv:2: the clip 'st A/gone.mp4' is not in the clips folder",
        ),
        (['--weights', 'best'], "'best' is neither a file of weights nor one of"),
        (['--calibrate', 'gone.csv'], 'gone.csv'),
        (['--calibrate', 'few.csv'], 'few.csv: too few known distances (st A has 2, 5 are needed)'),
        (['--calibrate', 'wrong.csv'], 'wrong.csv:2: st a/IMG_0001.MP4: no such file in'),
        (['--calibrate', 'late.csv'], 'late.csv:3: st A/IMG_0001.MP4: second 9 is 4.0 s past the end of the clip'),
        (['--calibrate', 'broken.csv'], 'broken.csv:2: st B/broken.mp4: '),
        (['--theta', '0.733'], 'give degrees; 0.733 rad are 42 degrees'),
        (['--format', 'camtrap-dp', '--camtrap_package', '.', '--theta', '42'], 'datapackage.json cannot be read'),
        (['--cutpoints', '5,2'], 'cutpoints 5, 2 are not ascending'),
        (['--truncation', 'nan'], 'truncation nan is not a distance'),
        (['--snapshot', '0'], 'snapshot interval 0 s'),
        (['--every', '0'], '--every must be at least 1 second'),
        (['--workers', '0'], '--workers must be at least 1'),
        (['--min_confidence', '2'], '--min_confidence must be from 0 to 1'),
        (
            ['--format', 'distance', '--deployments', 'areas.csv', '--snapshot', '2', '--theta', '42'],
            'areas.csv:3: area_km2 is missing or 0',
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_any_work(runs, clips, tmp_path, capsys, monkeypatch, flags, fault):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'stations.csv').write_text('station,area_km2,active_seconds\nst A,1,60\nst B,1,60\n')
    (tmp_path / 'media_table.csv').write_text('video_id,mediaID\nst A/gone.mp4,m1\n')
    (tmp_path / 'areas.csv').write_text('station,area_km2,active_seconds\nst A,1,60\nst B,,60\n')
    a, b = 'st A/IMG_0001.MP4', 'st B/broken.mp4'
    rows = {'few': [(a, 0), (a, 1)], 'wrong': [('st a/IMG_0001.MP4', 0)], 'late': [(a, 0), (a, 9)], 'broken': [(b, 0)]}
    for name, seconds in rows.items():
        lines = [f'{clip},{second},3' for clip, second in seconds]
        (tmp_path / f'{name}.csv').write_text('\n'.join(['video_id,time,distance', *lines]) + '\n')
    assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and fault in lines[0]
    assert not (tmp_path / 'out').exists()


def test_clips_and_media_are_matched_before_the_clips_are_decoded(runs, clips, tmp_path, capsys, monkeypatch):
    """The package is a .zip, and its names are those of another platform."""
    cells = 'd{0},2024-03-02T10:00:0{0}Z,https://x.org/{0}/file,false,video/mp4'
    media = ''.join(f'm{k},{cells.format(k)},20240302100000-IMG_0001.MP4\n' for k in (1, 2))
    media = make_packages.MEDIA.splitlines()[0] + ',fileName\n' + media
    human = 'o1,d2,m2,2024-03-02T10:00:02Z,2024-03-02T10:00:02Z,media,human,,\n'
    observations = make_packages.OBSERVATIONS.splitlines()[0] + '\n' + human
    mine = make_packages.package(tmp_path / 'mine', media=media, observations=observations)
    shutil.make_archive(tmp_path / 'agouti', 'zip', mine)
    (tmp_path / 'wanted.csv').write_text('video_id,time\nst A/IMG_0001.MP4,1\nst B/IMG_0001.MP4,2\n')
    table = tmp_path / 'table.csv'
    flags = ['--targets', str(tmp_path / 'wanted.csv'), '--format', 'camtrap-dp', '--camtrap_package']
    flags.append(str(tmp_path / 'agouti.zip'))
    with monkeypatch.context() as patched:
        patched.setattr(panel.Panel, 'score', None)  # a clip that is decoded would need it
        assert estimate(runs, clips, tmp_path / 'out', *flags) == 1
        assert 'agouti.zip/media.csv has none of the clips (st A/IMG_0001.MP4, st B' in capsys.readouterr().err
        table.write_text('video_id,mediaID\nst A/IMG_0001.MP4,m1\nst B/IMG_0001.MP4,m3\n')
        assert estimate(runs, clips, tmp_path / 'out', *flags, '--media_table', str(table)) == 1
        assert "table.csv:3: the mediaID 'm3' is not in" in capsys.readouterr().err
    table.write_text('video_id,mediaID\n.\\st A\\IMG_0001.MP4,m1\nst B/IMG_0001.MP4,m2\n')
    assert estimate(runs, clips, tmp_path / 'out', *flags, '--media_table', str(table)) == 0
    made = make_packages.read(tmp_path / 'out' / 'camtrap-dp' / 'observations.csv')
    assert made['observationID'].tolist() == ['o1', 'chimp_jax-m1-1']
    assert '1 distances belong to media that you classified as human' in capsys.readouterr().out
