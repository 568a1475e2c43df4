"""Files in the folder of `estimate` that no run will use again."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest

from chimp_jax.commands.estimating.leftovers import remove_leftovers
from chimp_jax.ensemble.results import write_table
from chimp_jax.members import identities
from chimp_jax.streamed import clip_stream
from chimp_jax.streamed.saved import find_answered, request_of
from data_prep.files import fingerprint
from data_prep.workers.clip_record import ClipTask

MEMBER = SimpleNamespace(name='full-a1p50-f7s1/fold_0', fingerprint=lambda: 'abc')


@pytest.fixture
def out(tmp_path):
    (tmp_path / 'work' / 'm').mkdir(parents=True)
    (tmp_path / 'work' / 'm' / 'members.json').write_text(json.dumps(identities([MEMBER])))
    (tmp_path / 'a.mp4').write_bytes(b'a')
    return tmp_path


def task(out, every_s=1):
    return ClipTask('a.mp4', None, str(out / 'a.mp4'), every_s=every_s)


def save(out, batch, one, files, lost_runs=0):
    """Writes the results of a batch of one clip."""
    write_table(out / 'work' / 'm' / f'{batch}.rows.parquet', pd.DataFrame({'video_id': ['a.mp4']}))
    clip = {'video_id': 'a.mp4', 'request': request_of(one), 'files': files}
    clip |= dict.fromkeys(('site', 'duration_s', 'gamma', 'white_fraction', 'problem'))
    (out / 'work' / 'm' / f'{batch}.clips.json').write_text(json.dumps([clip | {'lost_runs': lost_runs}]))


def left(out) -> set[str]:
    return {path.name for path in (out / 'work' / 'm').iterdir()} - {'members.json'}


def files_of(batch) -> set[str]:
    return {f'{batch}.rows.parquet', f'{batch}.clips.json'}


def test_superseded_predictions_are_removed_and_those_of_other_requests_stay(out):
    now = fingerprint([out / 'a.mp4'])
    save(out, 'used', task(out), now)
    save(out, 'changed', task(out), 'parts of another content')
    save(out, 'lost', task(out), now, lost_runs=1)
    save(out, 'other', task(out, every_s=5), now)
    (out / 'work' / 'm' / 'half.rows.parquet').write_bytes(b'')
    (out / 'summary.json.0123456789ab.tmp').write_text('')
    (out / 'work' / 'x.0123456789ab.tmp').write_text('')
    assert remove_leftovers(out, [task(out)], [MEMBER]) == 7
    assert left(out) == files_of('used') | files_of('other')
    assert remove_leftovers(out, [task(out)], [MEMBER]) == 0


def test_a_lost_clip_is_due_until_another_run_has_answered_it(out):
    now = fingerprint([out / 'a.mp4'])
    save(out, 'first', task(out), now, lost_runs=1)
    answered = find_answered([task(out)], [MEMBER], out / 'work')
    due = answered.due(retry=False)
    assert due == {'a.mp4': 1}
    (batch,) = clip_stream.plan_batches([task(out)], [MEMBER], answered, due)
    assert batch.lost_runs == (('a.mp4', 1),)
    save(out, 'second', task(out), now, lost_runs=2)
    answered = find_answered([task(out)], [MEMBER], out / 'work')
    assert answered.due(retry=False) == {} and answered.due(retry=True) == {'a.mp4': 2}
    assert clip_stream.plan_batches([task(out)], [MEMBER], answered, due) == []  # an engine asks again within a run
    save(out, 'third', task(out), now)
    answered = find_answered([task(out)], [MEMBER], out / 'work')
    assert [saved.batch for saved in answered.saved['a.mp4']] == ['third'] and answered.due(retry=True) == {}
