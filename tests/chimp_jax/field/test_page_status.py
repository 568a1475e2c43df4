"""The page lists a clip that nobody looked at among the problems, and does not call it effort."""

from make_estimates import walks, write_estimates

from chimp_jax.field.page.page import write_report


def test_a_clip_that_nobody_looked_at_is_a_problem_and_no_effort(tmp_path):
    unlooked = {'video_id': 'b.mp4', 'status': 'not looked at', 'reason': 'md.json does not name it'}
    write_estimates(tmp_path, walks({'a.mp4': 3}), [{'video_id': 'a.mp4'}, unlooked])
    text = write_report(tmp_path, n_frames=0).read_text()
    assert '1 clip: not looked at' in text and 'md.json does not name it' in text
    assert 'survey effort' not in text
