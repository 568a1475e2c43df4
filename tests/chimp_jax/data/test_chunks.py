"""Chunks: bounded, complete, and no window is changed by a cut."""

import dataclasses

import numpy as np
import pytest
import small

from chimp_jax.data import chunks
from data_prep.windows import window_seconds


def test_chunks_keep_every_clip_in_order():
    clips = [small.timed(str(i), np.arange(n), last_s=n - 1) for i, n in enumerate([3, 4, 9, 1])]
    names = [[clip.video_id for clip in chunk] for chunk in chunks.in_chunks(clips, 8)]
    assert names == [['0', '1'], ['2'], ['3']]  # 3 + 4 <= 8 < 3 + 4 + 9; 9 stands alone; 9 + 1 > 8


@pytest.mark.parametrize('targets', [range(200), range(0, 200, 7), [199, 3, 90, 91, 210], [5]])
@pytest.mark.parametrize('n_frames,step_s', [(7, 1), (9, 2), (11, 2)])
def test_cutting_a_long_clip_changes_no_window(targets, n_frames, step_s):
    whole = small.record('long.mp4', 200, list(targets), seed=0)
    whole = dataclasses.replace(whole, target_animal=[f'animal {t}' for t in targets])
    pieces = list(chunks.split_long([whole], most_frames=40))
    windows = {}
    for piece in pieces:
        assert len(piece.frame_time_s) <= 40
        assert piece.target_animal == [f'animal {t}' for t in piece.target_time_s]
        plan = chunks.plan_windows([piece], [True], n_frames, step_s)
        seconds = piece.frame_time_s[plan.frame][plan.window]
        assert [piece.frame_jpeg[i] for i in plan.frame] == [
            whole.frame_jpeg[s] for s in piece.frame_time_s[plan.frame]
        ]
        windows |= dict(zip(piece.target_time_s.tolist(), seconds.tolist(), strict=True))
    expected = window_seconds(list(targets), n_frames, step_s, 0, 199).tolist()
    assert windows == dict(zip(targets, expected, strict=True))
    assert sum(len(piece.target_time_s) for piece in pieces) == len(targets)


def test_a_plan_leaves_out_what_is_not_asked():
    # Clip a has frames 0 to 3, b 4 to 9; b's target at second 2 needs seconds 1, 2, 3: frames 5, 6, 7.
    a, b = small.timed('a', np.arange(4), last_s=3), small.timed('b', np.array([2]), last_s=5)
    assert len(b.frame_time_s) == 6
    plan = chunks.plan_windows([a, b], [False, True], 3, 1)
    assert plan.frame.tolist() == [5, 6, 7] and plan.window.tolist() == [[0, 1, 2]]


def test_a_digest_tells_clips_times_and_pictures_apart():
    record = small.record('a', 5, [0, 2], 0)
    others = [small.record('b', 5, [0, 2], 0), small.record('a', 5, [0, 3], 0), small.record('a', 5, [0, 2], 2)]
    digests = {chunks.record_digest(one) for one in [record, *others]}
    assert len(digests) == 4 and chunks.record_digest(small.record('a', 5, [0, 2], 0)) in digests
