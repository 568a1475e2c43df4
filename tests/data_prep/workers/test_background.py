"""Work in a thread: its start, its order and its errors."""

import threading

import pytest

from data_prep.workers.background import in_background


@pytest.mark.parametrize('overlap', [False, True])
def test_results_come_in_order_with_their_items(overlap):
    assert list(in_background(lambda k: k * k, range(5), overlap)) == [(k, k * k) for k in range(5)]
    assert list(in_background(lambda k: k, [], overlap)) == []


def test_the_first_item_starts_at_once():
    begun = threading.Event()
    in_background(lambda _: begun.set(), [1], overlap=False)  # nobody has asked for a result
    assert begun.wait(10)


@pytest.mark.parametrize('overlap', [False, True])
def test_a_further_item_starts_while_the_caller_works_only_with_overlap(overlap):
    begun = [threading.Event() for _ in range(3)]
    results = in_background(lambda k: begun[k].set(), range(3), overlap)
    next(results)
    assert begun[1].wait(10 if overlap else 0.2) == overlap
    assert not begun[2].is_set()  # one ahead, no more
    next(results)
    assert begun[1].is_set()


def test_an_error_is_raised_in_the_place_of_the_result():
    def work(k):
        if k == 1:
            raise ValueError('no picture')
        return k

    results = in_background(work, range(3), overlap=True)
    assert next(results) == (0, 0)
    with pytest.raises(ValueError, match='no picture'):
        next(results)
