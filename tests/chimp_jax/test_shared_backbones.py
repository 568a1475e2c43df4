"""Members with one backbone encode each frame once for all of them, and say what each says alone."""

import jax
import numpy as np
import pytest
import small
from etils import epath

from chimp_jax import members, panel, parallel, scoring
from chimp_jax.data import chunks
from chimp_jax.data.frames import decode_records
from chimp_jax.models.efficientnet import FEATURES
from configs import base


@pytest.fixture(params=[False, True], ids=['plain', 'regions'])
def group(request, monkeypatch):
    """Three members by name: a and b have one backbone, c has another; b has windows of 9 frames."""
    model = small.model(request.param)
    inputs = {'frames': np.zeros((1, 1, 32, 32, 3), np.uint8), 'window': np.zeros((1, 1, 1), np.int32)}
    if request.param:
        inputs['boxes'] = np.zeros((1, 1, 1, 5), np.float32)
    a, b, c = (jax.device_get(jax.jit(model.init)(jax.random.key(seed), **inputs)) for seed in range(3))
    for variables in (a, b, c):
        variables['params']['dense']['bias'] = np.ones(6, np.float32)  # a small head could be silent
        if request.param:  # the last layer starts at zero
            delta = variables['params']['region_branch']['delta']
            delta['bias'] = np.random.default_rng(1).normal(size=FEATURES).astype(np.float32)
    b['params']['encoder'], b['batch_stats'] = a['params']['encoder'], a['batch_stats']
    stored = {'a': a, 'b': b, 'c': c}
    monkeypatch.setattr(panel, 'DistanceModel', small.model)
    monkeypatch.setattr(members.Member, 'weights', lambda self: stored[self.folder.name])

    def member(name, recipe):
        config = base.get_config(recipe)
        config.model.regions = request.param
        config.data.size_px = small.SIZE_PX
        return members.Member(recipe, 0, 1, '', config, epath.Path('runs') / name)

    return [member('a', 'down-a1p50-f7s1'), member('b', 'down-a1p50-f9s1'), member('c', 'down-a2p50-f7s1')]


def test_equal_backbones_encode_a_frame_once_and_say_the_same(group, monkeypatch):
    records = [small.record(f'{i}.mp4', 20 + i, [8, 10], i) for i in range(2)]
    regions = group[0].config.model.regions
    records = [small.with_animals(record) for record in records] if regions else records
    frames = decode_records(records, small.SIZE_PX)
    plans = [chunks.plan_windows(records, [True, True], m.config.data.n_frames, 1, 3 if regions else 0) for m in group]
    # Targets at 8 and 10 s: seconds 5 to 13 of both clips with 7 frames, 4 to 14 with 9 frames.
    assert [len(plan.frame) for plan in plans] == [2 * 9, 2 * 11, 2 * 9]
    alone = [
        panel.Panel(jax.local_devices()[:2]).score(member, frames, plan)
        for member, plan in zip(group, plans, strict=True)
    ]
    encoded = []
    look = scoring.Scorer.look

    def counted(self, weights, frames, chosen, boxes=None):
        encoded.append(len(chosen))
        return look(self, weights, frames, chosen, boxes)

    monkeypatch.setattr(scoring.Scorer, 'look', counted)
    shared = panel.Panel(jax.local_devices()[:2])
    together = [shared.score(member, frames, plan) for member, plan in zip(group, plans, strict=True)]
    assert encoded == [18, 4, 18]
    for found, expected in zip(together, alone, strict=True):
        assert len(np.unique(found)) > 2
        np.testing.assert_array_equal(found, expected)
    other = frames[:, ::-1].copy()  # another operation: nothing of the frames before is used
    mirrored = shared.score(group[1], other, plans[1])
    assert encoded[3:] == [22] and (mirrored != together[1]).any()


def test_a_prepared_member_is_scored_by_the_prepared_programs(group, monkeypatch):
    """A program is compiled for the shapes of its arguments: those of `score` are those of `prepare`."""
    member, regions = group[0], group[0].config.model.regions
    record = small.record('a.mp4', 20, [8, 10], 0)
    record = small.with_animals(record) if regions else record
    plan = chunks.plan_windows([record], [True], member.config.data.n_frames, 1, 3 if regions else 0)
    seen = []

    def recording(name, make):
        def mapped(step, devices):
            call = make(step, devices)

            def recorded(weights, *given):
                seen.append((name, str(jax.tree.map(lambda x: (x.shape, str(x.dtype)), given))))
                return call(weights, *given)

            return recorded

        return mapped

    for name in ('map_encode_step', 'map_product_step', 'map_tokens_step', 'map_eval_step'):
        monkeypatch.setattr(parallel, name, recording(name, getattr(parallel, name)))
    monkeypatch.setattr(scoring, 'kept_trace', lambda function, settings, devices: function)  # each call is seen
    shared = panel.Panel(jax.local_devices()[:2])
    shared.prepare(member)
    prepared = set(seen)
    seen.clear()
    shared.score(member, decode_records([record], small.SIZE_PX), plan)
    assert set(seen) == prepared and len(prepared) == (4 if regions else 3)
