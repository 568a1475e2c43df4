"""The bins of an analysis, and their names."""

import pytest

from chimp_jax.field.bins import CUTPOINTS_M, bin_names, bin_of, used_cutpoints


@pytest.mark.parametrize(
    ('cutpoints', 'truncation', 'edges'),
    [
        (None, None, list(CUTPOINTS_M)),
        ([0, 2, 5], None, [0, 2, 5]),
        ([0, 2, 5], 2, [0, 2]),
        (None, 7, [0, 2, 4, 6, 7]),
        (None, 40, [*CUTPOINTS_M, 40]),
    ],
)
def test_bins_up_to_the_truncation(cutpoints, truncation, edges):
    assert used_cutpoints(cutpoints, truncation) == edges


def test_each_bin_has_a_name():
    edges = [2, 4.5, 9]
    names = bin_names(edges)
    assert [names[int(bin_of(d, edges))] for d in (1, 2, 4.5, 5, 10)] == [
        'below 2 m', '2 to 4.5 m', '2 to 4.5 m', '4.5 to 9 m', 'above 9 m'
    ]  # fmt: skip
