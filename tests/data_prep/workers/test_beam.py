"""The same data set with Apache Beam's DirectRunner in several processes. It has its own lock file: make test-beam."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from make_clips import numbered_frames, write_clip

from data_prep.records import STREAMS, read_records

pytest.importorskip('apache_beam', reason='Apache Beam is not installed; run make test-beam')
ROOT = Path(__file__).resolve().parents[3]
BEAM = ['--runner=DirectRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=2']


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    for number in range(6):
        write_clip(folder / 'full' / f'{number % 2}' / f'{number}.mp4', numbered_frames(24 + 8 * number), 8)
    (folder / 'full' / 'empty.mp4').touch()
    # This clip opens, but nothing in it can be decoded: a worker of Beam finds out.
    whole = (folder / 'full' / '0' / '4.mp4').read_bytes()
    start, end = whole.index(b'mdat') + 4, whole.index(b'moov') - 4
    (folder / 'full' / 'hollow.mp4').write_bytes(whole[:start] + bytes(end - start) + whole[end:])
    rows = [f'{n % 2}/{n}.mp4,{t},{t + n}' for n in range(6) for t in range(0, 3 + n)]
    rows += ['empty.mp4,0,1', 'hollow.mp4,0,1']
    (folder / 'train_labels.csv').write_text('\n'.join(['video_id,time,distance', *rows]))
    return folder


def build(clips, out, *arguments):
    command = [sys.executable, '-m', 'data_prep.build', f'--tables={clips}', f'--clips_full={clips}/full']
    done = subprocess.run(
        [*command, f'--out={out}', *arguments],
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done.stderr
    return done.stdout


def test_beam_and_the_local_runner_write_the_same_records(clips, tmp_path):
    here, beam = tmp_path / 'here', tmp_path / 'beam'
    assert '2 workers' in build(clips, here, '--workers=2')
    assert 'DirectRunner' in build(clips, beam, *BEAM)
    for stream in STREAMS:
        expected, found = (
            {record.video_id: record for record in read_records(out, stream, 'train')} for out in (here, beam)
        )
        assert len(found) == 6 and set(found) == set(expected)
        for video_id, record in expected.items():
            for field in dataclasses.fields(record):
                np.testing.assert_array_equal(getattr(found[video_id], field.name), getattr(record, field.name))
    for name in ('clips.csv', 'problems.csv', 'folds.csv'):
        assert (here / name).read_text() == (beam / name).read_text()
    problems = pd.read_csv(beam / 'problems.csv').set_index('video_id')
    assert problems['stage'].to_dict() == {'empty.mp4': 'open', 'hollow.mp4': 'decode'}
    assert not (beam / 'frames').exists()


def test_flags_that_beam_does_not_know_are_refused(clips, tmp_path):
    from data_prep.build import main

    arguments = [f'--clips_full={clips}/full', f'--out={tmp_path}/out', '--runner=DirectRunner']
    assert main([*arguments, '--direct_num_wrkers=2']) == 1
    assert main([f'--clips_full={clips}/full', f'--out={tmp_path}/out', '--runner=NoRunner']) == 1
    assert not (tmp_path / 'out').exists()
