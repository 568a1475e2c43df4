"""What `chimp-distance train` tells at its end."""

import numpy as np
import pandas as pd

from chimp_jax.commands.training import results
from chimp_jax.field.out_of_fold import OutOfFold
from data_prep.inputs.labels import Problem


def test_each_label_that_is_left_out_counts_once():
    """Two rows of a clip with two sites, whose problem tells the number of rows; a row past the end of another clip,
    in which a bad row is besides; a clip whose box is outside, and whose labels are used."""
    lost = pd.DataFrame({'video_id': ['a', 'a', 'b'], 'reason': ['has two sites', 'has two sites', 'past the end']})
    problems = [
        Problem('a', 'labels.csv:2', 'labels', 'has two sites (2 rows)'),
        Problem('b', 'labels.csv:5', 'time', 'past the end'),
        Problem('b', 'labels.csv:6', 'labels', 'the distance is empty'),
        Problem('c', '', 'boxes', 'a box is outside'),
    ]
    found = results.left_out_reasons(lost, problems)
    assert found == {'has two sites': 2, 'past the end': 1, 'the distance is empty': 1}


def out_of_fold(estimate_m) -> OutOfFold:
    label_m, site = np.array([2.0, 4.0, 6.0, 8.0]), np.array(['s', 's', 't', 't'])
    return OutOfFold(np.array(estimate_m, float), label_m, None, site, site, np.full((4, 2), np.nan), 'site')


def test_the_error_stands_beside_that_of_a_constant():
    # Constants 7 and 3 m: errors 5, 3, 3, 5. Estimates 1 m off: 0.25 of 4 m.
    fold = np.array([0, 0, 1, 1])
    (line,) = results.error_lines(out_of_fold([3, 3, 7, 7]), fold, 'site')
    assert line.endswith('by site folds: MAE 1.00 m for 4 labels; the best constant has 4.00 m (0.25 of it)')
    useless = results.error_lines(out_of_fold([7, 7, 3, 3]), fold, 'site')
    assert len(useless) == 2 and useless[1].startswith('warning: the members are no better than a constant')


def test_the_table_has_a_row_for_each_band():
    oof = out_of_fold([3, 3, 7, 7])
    lines = results.interval_lines(oof, oof.fit_intervals(0.9))
    assert [line.split()[0] for line in lines[:2]] == ['distance', 'all']
    assert lines[2].split()[:6] == ['0', 'to', '2', 'm', '1', '1.00']
    assert lines[-1].startswith('warning: 2 sites are too few')
