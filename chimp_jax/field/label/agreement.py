"""How well several persons agree on the distances that all of them measured."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from chimp_jax.field.label.answers import DISTANCE, NO_ANIMAL, Answer

NEAR_M = 1.0  # a difference up to this counts as agreement


class PairAgreement(NamedTuple):
    """Two persons on the targets that both of them answered."""

    first: str
    second: str
    n: int  # targets with a distance from both
    mean_m: float  # of the differences first - second, 0 without targets
    mean_absolute_m: float
    share_near: float  # of the differences up to NEAR_M, 0..1
    n_contradictions: int  # one gives a distance, the other sees no animal


def agreement(answers: Iterable[Answer]) -> list[PairAgreement]:
    """Returns a row for each pair of persons who answered a target in common, in the order of names."""
    by_person: dict[str, dict] = defaultdict(dict)
    for answer in answers:
        by_person[answer.who][answer.target] = answer
    pairs = itertools.combinations(sorted(by_person), 2)
    found = [_pair(first, second, by_person[first], by_person[second]) for first, second in pairs]
    return [pair for pair in found if pair.n or pair.n_contradictions]


def agreement_lines(pairs: Iterable[PairAgreement]) -> list[str]:
    """Returns a line for each pair."""
    lines = []
    for pair in pairs:
        text = f'{pair.first} and {pair.second}: '
        if pair.n:
            text += (
                f'{pair.n} distance{"" if pair.n == 1 else "s"} in common, mean difference {pair.mean_m:+.2f} m, mean '
                f'absolute difference {pair.mean_absolute_m:.2f} m, {pair.share_near:.0%} within {NEAR_M:g} m'
            )
        if pair.n_contradictions:
            text += f'{"; " if pair.n else ""}in {pair.n_contradictions} seconds only one of them sees an animal'
        lines.append(text + '.')
    return lines


def _pair(first: str, second: str, a: dict, b: dict) -> PairAgreement:
    both = [(a[target], b[target]) for target in a.keys() & b.keys()]
    apart_m = [one.distance_m - two.distance_m for one, two in both if one.kind == two.kind == DISTANCE]
    n_contradictions = sum({one.kind, two.kind} == {DISTANCE, NO_ANIMAL} for one, two in both)
    if not apart_m:
        return PairAgreement(first, second, 0, 0.0, 0.0, 0.0, n_contradictions)
    # A difference of exactly 1 m, such as 5.1 - 4.1, is near.
    near = sum(abs(difference) <= NEAR_M + 1e-9 for difference in apart_m)
    absolute_m = statistics.fmean(map(abs, apart_m))
    return PairAgreement(
        first, second, len(apart_m), statistics.fmean(apart_m), absolute_m, near / len(apart_m), n_contradictions
    )
