"""The result of a run in words."""

import pandas as pd
import pytest

from chimp_jax.field import summary
from chimp_jax.field.rows.counts import RowCounts

COUNTS = {'observations': 358, 'stations': 18, 'stations without any': 2, 'regions': 1}
CLIPS = pd.DataFrame(
    [('a.mp4', 'ok', '', 3), ('b.mp4', 'failed', 'moov atom not found', 0), ('c.mp4', 'no animal', '', 0)],
    columns=['video_id', 'status', 'reason', 'seconds'],
)
ROWS = pd.DataFrame({'distance': [1.0, 2.0, 3.0], 'video_id': 'a.mp4', 'time': range(3), 'animal': ''})
ROWS = ROWS.assign(flags='', status='ok')
NO_ROWS, COUNTED = RowCounts([ROWS[:0]]), RowCounts([ROWS])


def test_the_screen_tells_errors_problems_counts_and_the_next_step():
    lines = summary.result_lines(
        {
            'distances': 3,
            'out_of_fold': {'mae_m': 2.06},
            'distance': COUNTS | {'left out': {'between snapshot moments': 15}},
            'zamba': {'rows': 9, 'with a distance': 3, 'empty': 6},
            'camtrap-dp': {'observations added': 3, 'kept': 7, 'replaced': 0, 'left out': {'another reason': 2}},
        },
        CLIPS,
        'results',
    )
    assert lines == [
        'failed: b.mp4: moov atom not found',
        'On training clips they had not seen, the models were wrong by 2.1 m on average. Clips from other places can '
        'have larger errors.',
        'zamba.csv: 9 rows, 3 with a distance.',
        'distance_flatfile.csv: 358 observations at 16 of 18 stations; 15 seconds were not snapshot moments. '
        'Next: cd results && Rscript distance.R',
        'camtrap-dp: 3 observations added to your 7; left out, another reason: 2.',
        '3 distances of 1 clip in results/distances.csv',
    ]
    assert not [line for line in lines if '{' in line]


def test_the_screen_names_some_clips_and_counts_the_others():
    many = pd.DataFrame({'video_id': [f'{i}.mp4' for i in range(23)], 'status': 'failed', 'reason': 'x', 'seconds': 0})
    lines = summary.result_lines({'distances': 0}, many, 'results')
    assert lines[19:21] == ['failed: 19.mp4: x', '3 more clips have problems; see results/clips.csv']


def test_a_problem_or_a_missing_distance_sets_the_exit_code():
    good = CLIPS[CLIPS['status'] != 'failed']
    assert summary.exit_code(COUNTED, good, {}) == 0
    assert summary.exit_code(COUNTED, CLIPS, {}) == 3
    assert summary.exit_code(RowCounts([ROWS.assign(distance=[1.0, None, 2.0])]), good, {}) == 3
    unlooked = pd.DataFrame([('d.mp4', 'not looked at', 'md.json does not name it', 0)], columns=CLIPS.columns)
    assert summary.exit_code(COUNTED, unlooked, {}) == 3


def test_a_bias_in_a_bin_is_told_in_words_and_sets_the_exit_code():
    good, bands = CLIPS[:1], [{'name': '0 to 2 m', 'n': 9, 'mae': 1.5, 'bias': 1.44}]
    bands += [{'name': '2 to 4 m', 'n': 7, 'mae': 0.6, 'bias': -0.26}]
    told = {'mae_m': 1.1, 'bands': bands}
    warned = told | {'warning': 'the mean error is large'}
    lines = summary.result_lines({'distances': 3, 'out_of_fold': warned}, good, 'results')
    assert lines[1:3] == [
        'By true distance, the models put animals at 0 to 2 m 1.4 m too far, at 2 to 4 m 0.3 m too near.',
        'warning: the mean error is large.',
    ]
    assert summary.exit_code(COUNTED, good, {'out_of_fold': told}) == 0
    assert summary.exit_code(COUNTED, good, {'out_of_fold': warned}) == 3
    assert summary.exit_code(NO_ROWS, good, {'out_of_fold': warned}) == 0  # no distance, nothing to be wrong


def test_models_of_simulated_animals_are_told_and_set_the_exit_code():
    whole = {'distances': 3, 'simulated': True}
    (line, _) = summary.result_lines(whole, CLIPS[:1], 'results')
    assert line.startswith('warning: the models have seen simulated animals only.')
    assert summary.exit_code(COUNTED, CLIPS[:1], whole) == 3
    assert summary.exit_code(NO_ROWS, CLIPS[:1], whole) == 0


@pytest.mark.parametrize(
    'counts, code',
    [
        ({'moments': {'with an animal': 3, 'empty': 9, 'not looked at': 0}}, 0),
        ({'moments': {'not looked at': 2}}, 3),
        ({'moments': {'clips with unknown length': 1}}, 3),
        ({'moments': {'with several animals': 1}}, 3),
        ({'stations not looked at': ['st_b']}, 3),
    ],
)
def test_a_flat_file_that_lacks_moments_sets_the_exit_code_and_says_so(counts, code):
    whole = {'distances': 3, 'distance': COUNTS | counts}
    good = CLIPS[CLIPS['status'] == 'ok']
    assert summary.exit_code(COUNTED, good, whole) == code
    (line,) = [line for line in summary.result_lines(whole, good, 'results') if 'flatfile' in line]
    assert (';' in line) == (code == 3)


def test_r_is_no_next_step_without_an_observation():
    whole = {'distances': 0, 'distance': COUNTS | {'observations': 0, 'stations without any': 18}}
    lines = summary.result_lines(whole, CLIPS[:1], 'results')
    assert lines[0] == 'distance_flatfile.csv: 0 observations at 0 of 18 stations.'
