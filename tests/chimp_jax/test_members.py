"""Members on disk and their OOF tables: joined by key, or refused by name."""

import json

import numpy as np
import pandas as pd
import pytest
from made_runs import ONE, TWO, write_oof, write_runs

from chimp_jax import members


def test_each_row_by_the_fold_that_did_not_see_it(tmp_path):
    found = members.find_members(write_runs(tmp_path))
    assert [member.name for member in found] == [f'{ONE}/fold_0', f'{ONE}/fold_1', f'{TWO}/fold_0', f'{TWO}/fold_1']
    oof, labels = members.read_oof(found)
    assert (
        labels.index.tolist()
        == oof.index.tolist()
        == [*(('a.avi', 9, ''), ('a.avi', 10, ''), ('b.mp4', 0, ''), ('b.mp4', 2, ''))]
    )
    assert labels.tolist() == [5.0, 9.0, 2.0, 4.0]
    assert oof[ONE].tolist() == [5.5, 9.5, 2.5, 4.5] and oof[TWO].tolist() == [4.5, 8.0, 1.5, 3.0]


def test_another_order_of_members_and_rows_changes_nothing(tmp_path):
    oof, labels = members.read_oof(members.find_members(write_runs(tmp_path / 'a')))
    again, labels_again = members.read_oof(members.find_members(write_runs(tmp_path / 'b', order=-1))[::-1])
    pd.testing.assert_frame_equal(oof, again)
    pd.testing.assert_series_equal(labels, labels_again)


def test_feet_of_the_oof_rows_come_from_their_boxes(tmp_path):
    found = members.find_members(write_runs(tmp_path))
    index = members.read_oof(found)[0].index
    assert np.isnan(members.read_oof_feet(found, index)).all()  # members of version 0.1 kept no boxes
    # ONE has a box in one row of fold 1; TWO has boxes in both rows of fold 0, and none in fold 1.
    boxes = {(ONE, 1): {9: '0.2,0.3,0.1,0.4', 10: ',,,'}, (TWO, 0): {0: '0,0.5,1,0.5', 2: '0.6,0.1,0.2,0.1'}}
    for member in found:
        path = member.folder / 'oof.csv'
        given = boxes.get((member.recipe, member.fold))
        if given:
            header, *lines = path.read_text().split()
            lines = [f'{line},{given[int(line.split(",")[1])]}' for line in lines]
            path.write_text('\n'.join([f'{header},bbox_x,bbox_y,bbox_width,bbox_height', *lines]))
    feet = pd.DataFrame(members.read_oof_feet(found, index), index.droplevel('animal'))
    # Column: left + width / 2. Row: top + height.
    assert feet.loc[('a.avi', 9)].tolist() == pytest.approx([0.25, 0.7]) and feet.loc[('a.avi', 10)].isna().all()
    assert feet.loc[('b.mp4', 0)].tolist() == pytest.approx([0.5, 1.0])
    assert feet.loc[('b.mp4', 2)].tolist() == pytest.approx([0.7, 0.2])


GOOD = [('a.avi', 10, 9.0, 8.0), ('a.avi', 9, 5.0, 4.5)]


@pytest.mark.parametrize(
    'lines, message',
    [
        (GOOD[:1], f'{TWO}: no prediction for a.avi at 9 s'),
        ([*GOOD, ('c.avi', 1, 1.0, 1.0)], f'{ONE}: no prediction for c.avi at 1 s'),
        ([*GOOD, GOOD[0]], f'{TWO}: more than one row for a.avi at 10 s'),
        ([*GOOD, ('b.mp4', 0, 2.0, 1.5)], f'{TWO}: more than one row for b.mp4 at 0 s'),  # of another fold
        ([GOOD[0], ('a.avi', 9, 5.0, None)], f'{TWO}: no finite distance for a.avi at 9 s'),
        (
            [GOOD[0], ('a.avi', 9, 5.0, 'inf')],
            "oof.csv:3: prediction 'inf' is not a number; write a number with a decimal point",
        ),
        ([GOOD[0], ('a.avi', 9, None, 4.5)], f'labels of {TWO}: no finite distance for a.avi at 9 s'),
        ([GOOD[0], ('a.avi', 9, 5.5, 4.5)], f'labels of {TWO} are not the labels of {ONE}: a.avi at 9 s .1 in all'),
        ([GOOD[0], ('a.avi', 'x', 5.0, 4.5)], "fold_1/oof.csv:3: time 'x' is not a whole second"),
    ],
)
def test_oof_tables_that_do_not_fit_are_refused_by_name(tmp_path, lines, message):
    write_oof(write_runs(tmp_path) / TWO / 'fold_1', lines)
    with pytest.raises(ValueError, match=message):
        members.read_oof(members.find_members(tmp_path))


def test_a_member_without_oof_is_named(tmp_path):
    (write_runs(tmp_path) / TWO / 'fold_1' / 'oof.csv').unlink()
    with pytest.raises(ValueError, match=f'{TWO}/fold_1 has no out-of-fold predictions .*train.py'):
        members.read_oof(members.find_members(tmp_path))


@pytest.mark.parametrize('text', ['', '{"recipe": "x"}', '[1]', '{"recipe": '])
def test_a_damaged_member_is_named(tmp_path, text):
    (write_runs(tmp_path) / TWO / 'fold_1' / 'member.json').write_text(text)
    with pytest.raises(ValueError, match=f'{TWO}/fold_1/member.json .* damaged'):
        members.find_members(tmp_path)


@pytest.mark.parametrize('stored, read', [('float16', 'float32'), ('float64', 'float32'), ('bfloat16', 'bfloat16')])
def test_members_of_version_0_1_without_loss_scaling_are_computed_in_float32(tmp_path, stored, read):
    config = write_runs(tmp_path) / TWO / 'config.json'
    content = json.loads(config.read_text())
    content['model'] |= content.pop('start') | {'dtype': stored}  # as version 0.1 kept them
    config.write_text(json.dumps(content))
    assert {member.config.model.dtype for member in members.find_members(tmp_path) if member.recipe == TWO} == {read}


def test_members_of_today_are_computed_in_their_float16(tmp_path):
    config = write_runs(tmp_path) / TWO / 'config.json'
    content = json.loads(config.read_text())
    content['model']['dtype'] = read = 'float16'
    config.write_text(json.dumps(content))
    assert {member.config.model.dtype for member in members.find_members(tmp_path) if member.recipe == TWO} == {read}


AUTO = 'deblock,fuse,upscale,below=640,to=640'
NETWORK = 'upscale,network=0123456789ab,below=640,to=640'


@pytest.mark.parametrize(
    ('texts', 'asked', 'expected'),
    [
        (('', ''), None, 'off'),
        (('', ''), 'off', 'off'),
        ((AUTO, AUTO), None, AUTO),
        ((AUTO, AUTO), 'auto', 'auto'),
        ((AUTO, AUTO), 'off', 'differs from the records of the members, which were made with deblock'),
        (('', ''), 'auto', 'differs from the records of the members, which were made with off'),
        ((AUTO, ''), None, 'full-a2p50-f7s1/fold_0 was trained on records with --enhance=off, full-a1'),
        (
            (NETWORK, NETWORK),
            None,
            'give --enhance=upscale,network=FILE,below=640,to=640, where FILE is .* 0123456789ab',
        ),
        ((NETWORK, NETWORK), 'auto', 'a network enhanced; give --enhance=upscale,network=FILE'),
    ],
)
def test_clips_are_enhanced_as_the_records_of_the_members(tmp_path, texts, asked, expected):
    found = members.find_members(write_runs(tmp_path, recipes=('full-a1p50-f7s1', 'full-a2p50-f7s1')))[::2]
    found = [member._replace(enhance=text) for member, text in zip(found, texts, strict=True)]
    for member in found:
        member.config.data.stream = 'full'
    if ' ' in expected:
        with pytest.raises(ValueError, match=expected):
            members.choose_enhancement(found, asked)
    else:
        assert members.choose_enhancement(found, asked) == expected
    for member in found:
        member.config.data.stream = 'down'  # these see no enhanced frames
    assert members.choose_enhancement(found, None) == 'off'


@pytest.fixture
def member(tmp_path):
    """A member of the stream `full`, of records of which nothing is known."""
    one = members.find_members(write_runs(tmp_path / 'runs'))[0]
    one.config.data.stream = 'full'
    return one


@pytest.mark.parametrize(
    ('made', 'same', 'other', 'message'),
    [
        ({}, {'enhance': ''}, {'enhance': AUTO}, f'--enhance=off, and .* with --enhance={AUTO}; prepare'),
        (
            {'enhance': AUTO},
            {'enhance': AUTO},
            {'enhance': ''},
            f'--enhance={AUTO}, and .* with --enhance=off; prepare',
        ),
        ({'gamma': 'always'}, {'gamma': 'always'}, {'gamma': 'auto'}, '--gamma=always, and .* --gamma=auto; prepare'),
        ({'gamma': 'always'}, {'gamma': ''}, {'gamma': 'never'}, '--gamma=always, and .* --gamma=never; prepare'),
        (
            {'sampling': 'timestamp'},
            {'sampling': ''},
            {'sampling': 'legacy_r1'},
            '--sampling=timestamp, and .* --sampling=legacy_r1; prepare',
        ),
    ],
)
def test_records_that_were_made_otherwise_are_refused(tmp_path, member, made, same, other, message):
    (tmp_path / 'dataset.json').write_text(json.dumps({'options': made}))
    members.check_records([member._replace(**same)], tmp_path)  # an older member does not know gamma and sampling
    with pytest.raises(ValueError, match=message):
        members.check_records([member._replace(**other)], tmp_path)
    member.config.data.stream = 'down'
    members.check_records([member._replace(**other)], tmp_path)


def test_records_without_sound_are_refused_to_a_member_that_hears(tmp_path, member):
    member.config.model.audio = 'alone'
    members.check_records([member], tmp_path)  # nothing is known about these records
    (tmp_path / 'dataset.json').write_text('{"options": {"gamma": "auto"}}')
    with pytest.raises(ValueError, match='fold_0 hears the sound .* was prepared without; .* --audio'):
        members.check_records([member], tmp_path)
    (tmp_path / 'dataset.json').write_text('{"options": {"gamma": "auto", "audio": true}}')
    members.check_records([member], tmp_path)


@pytest.mark.parametrize(
    ('option', 'choose', 'usual', 'one', 'other'),
    [
        ('gamma', members.choose_gamma, 'auto', 'always', 'never'),
        ('sampling', members.choose_sampling, 'timestamp', 'legacy_r1', 'timestamp'),
    ],
)
def test_clips_are_corrected_and_cut_as_the_records_of_the_members(member, option, choose, usual, one, other):
    assert choose([member]) == usual
    known, different = member._replace(**{option: one}), member._replace(**{option: other})
    assert choose([member, known]) == one
    with pytest.raises(ValueError, match=f'with --{option}={one}, .* with --{option}={other}; put the members'):
        choose([known, different])
    different.config.model.audio = 'alone'  # of both, as they share the config: they see no frames
    assert choose([known, different]) == usual
