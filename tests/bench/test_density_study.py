"""The likelihood and the rules of the density study, against integrals, optimisers and numbers by hand."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import t as student

from bench import density_study as study


@pytest.mark.parametrize('sigma_m', [1.0, 4.0, 9.0])
def test_share_and_mean_square_equal_the_integrals(sigma_m):
    def seen(r_m):  # the detection function times the animals at this distance
        return 2 * r_m / study.TRUNCATION_M**2 * np.exp(-(r_m**2) / 2 / sigma_m**2)

    share = quad(seen, 0, study.TRUNCATION_M)[0]
    assert study.detected_share(sigma_m) == pytest.approx(share, rel=1e-9)
    square = quad(lambda r_m: r_m**2 * seen(r_m), 0, study.TRUNCATION_M)[0] / share
    assert study.mean_square(sigma_m) == pytest.approx(square, rel=1e-9)


def test_the_fit_is_the_maximum_of_the_likelihood():
    distance_m = study.draw_distances(500, 4.0, np.random.default_rng(0))
    assert distance_m.max() < study.TRUNCATION_M

    def minus_log_likelihood(sigma_m):
        density = distance_m * np.exp(-(distance_m**2) / 2 / sigma_m**2) / study.detected_share(sigma_m)
        return -np.log(density).sum()

    best = minimize_scalar(minus_log_likelihood, bounds=(1, 10), method='bounded', options={'xatol': 1e-8}).x
    assert study.fit_sigma(np.mean(distance_m**2)) == pytest.approx(best, rel=1e-4)
    assert best == pytest.approx(4.0, abs=0.3)


def test_the_density_of_animals_that_are_all_detected():
    # If nothing is missed, squared distances are uniform up to 15^2, with the mean 112.5. A view of 42 degrees has
    # 0.73304 / 2 * 225 = 82.467 square metres, so 10 animals in 1000 moments are 10 / 82467 for each square metre.
    assert study.density_of(10, 10 * 112.4, 1000) == pytest.approx(10 / 82467, rel=0.02)  # sigma is at most 60 m


def test_the_fit_with_a_completeness_is_the_maximum_of_its_likelihood():
    random = np.random.default_rng(0)
    distance_m = study.draw_distances(4000, 4.0, random)
    _, distance_m = study.found_of(np.zeros(len(distance_m), int), distance_m, random)

    def seen(r_m, sigma_m):
        completeness = np.interp(r_m, [1, 3.5, 6.5, 10, 18.5], [0.55, 0.52, 0.42, 0.36, 0.17])
        return 2 * r_m / 15**2 * np.exp(-(r_m**2) / 2 / sigma_m**2) * completeness

    def share(sigma_m):
        return quad(seen, 0, 15, args=(sigma_m,), points=[1, 3.5, 6.5, 10])[0]

    def negative(sigma_m):
        return -np.log(seen(distance_m, sigma_m) / share(sigma_m)).sum()

    best = minimize_scalar(negative, bounds=(1, 10), method='bounded', options={'xatol': 1e-8}).x
    assert study.fit_sigma(np.mean(distance_m**2), study.SOME_FOUND) == pytest.approx(best, rel=1e-3)
    assert best == pytest.approx(4.0, abs=0.2)
    found = study.density_of(len(distance_m), np.sum(distance_m**2), 1000, study.SOME_FOUND)
    assert found == pytest.approx(len(distance_m) / (0.73304 / 2 * 225 * share(best) * 1000), rel=1e-3)


def test_a_completeness_of_one_half_doubles_the_density():
    half = study.detection_with(np.array([3.0]), np.array([0.5]))
    assert study.density_of(100, 2500, 1000, half) == pytest.approx(2 * study.density_of(100, 2500, 1000), rel=1e-4)


def test_a_survey_with_missed_animals():
    fits = study.study_one(0, study.Case(misses=True))
    # About half of the animals are found; the completeness gives the others.
    assert fits['true distances'].density < 0.75 * study.true_density()
    assert fits['true distances and completeness'].density == pytest.approx(study.true_density(), rel=0.35)
    assert fits['redraws and completeness'].density > 1.5 * fits['redraws'].density


def test_intervals_and_rubins_rules_by_hand():
    fits = [study.Fit(density, 0.04, 59) for density in np.exp([0.0, 0.1, 0.2])]
    found = study.combine(fits)
    # between: the variance of 0, 0.1, 0.2 is 0.01, times 4 / 3
    assert (found.density, found.variance) == pytest.approx((np.exp(0.1), 0.04 + 0.04 / 3))
    # Barnard and Rubin (1999): missing 0.25; old (3 - 1) / 0.0625 = 32; observed 60 / 62 * 59 * 0.75 = 42.823
    assert found.freedom == pytest.approx(32 * 42.8226 / (32 + 42.8226), rel=1e-5)
    lower, upper = found.interval()
    assert lower * upper == pytest.approx(found.density**2)
    assert np.log(upper / lower) / 2 == pytest.approx(student.ppf(0.975, found.freedom) * np.sqrt(0.16 / 3))


def test_the_true_distances_give_the_true_density_and_the_estimates_do_not():
    random = np.random.default_rng(1)
    densities = {'true': [], 'estimates': []}
    for _ in range(40):
        station, true_m = study.draw_survey(study.STATIONS, study.ROWS_PER_STATION, study.SIGMA_M, random)
        found_m = study.estimate(station, true_m, study.Errors(), random)
        densities['true'].append(study.fit_table(station, true_m, random).density)
        densities['estimates'].append(study.fit_table(station, found_m, random).density)
    ratio = {name: np.mean(values) / study.true_density() for name, values in densities.items()}
    assert ratio['true'] == pytest.approx(1, abs=0.08) and ratio['estimates'] > 1.1


def test_one_survey_of_all_ways():
    fits = study.study_one(0, study.Case())
    assert set(fits) == {'true distances', 'estimates', 'noise around the estimates', 'redraws'}
    assert (
        fits['redraws'].freedom < fits['true distances'].freedom == study.STATIONS - 1
    )  # the draws are uncertain, too
    assert study.summarise([study.Fit(study.true_density() * 1.2, 0.001, 50)] * 2) == pytest.approx((0.2, 0.0))
