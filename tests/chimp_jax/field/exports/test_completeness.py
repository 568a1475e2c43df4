"""The detector's completeness: its tables, and the detection function with it in distance.R."""

import math
import re

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from test_distance_script import ACTIVE_S, density_by_hand, half_normal, needs_r, run, survey

from chimp_jax.field.exports.completeness import Completeness, read_completeness
from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.export_lines import describe_export


def corrected(screen: str) -> tuple[float, ...]:
    """Density and, with resamples, CV in percent and the ends of the interval of the half-normal fit."""
    numbers = r'density (\S+) \((?:CV (\S+) %\)  95 % interval (\S+) to (\S+)|no interval without resamples)'
    line = rf'^half-normal +with the completeness of the detector.*: {numbers}'
    return tuple(float(text) for text in re.search(line, screen, re.M).groups() if text)


def write(folder, distances_m, completeness, resamples=0, **more):
    cutpoints, truncation = more.pop('cutpoints', None), more.pop('truncation', None)
    args = survey(distances_m, **more)
    counts = write_distance(*args, 1, 42, folder, cutpoints, truncation, completeness=completeness)
    script = (folder / 'distance.R').read_text()
    assert 'resamples <- 200' in script
    (folder / 'distance.R').write_text(script.replace('resamples <- 200', f'resamples <- {resamples}'))
    return counts


def falling(scale=0.6, tau_m=6.0) -> Completeness:
    distance_m = np.linspace(0, 40, 401)
    return Completeness(distance_m, np.maximum(scale * np.exp(-(distance_m**2) / 2 / tau_m**2), 1e-12), None)


def test_the_users_table_and_that_of_evaluate(tmp_path):
    path = tmp_path / 'c.csv'
    path.write_text('distance;completeness;animals\n8;0,42;40\n1;0,9;20\n')
    found = read_completeness(path)
    assert found.columns() == {'distance': [1, 8], 'completeness': [0.9, 0.42], 'animals': [20, 40]}
    assert found.at([0, 4.5, 20]).tolist() == pytest.approx([0.9, 0.66, 0.42])  # half-way between the rows
    path.write_text(
        'scope,name,seconds,not_detected,share,animals,never_detected,share_never\n'
        'all,all,60,21,0.35,0,0,\nband,0 to 2 m,20,2,0.1,0,0,\nband,2 to 5 m,40,19,0.475,0,0,\n'
    )
    found = read_completeness(path)
    assert found.distance_m.tolist() == [1, 3.5] and found.animals.tolist() == [20, 40]
    assert found.share.tolist() == pytest.approx([0.9, 0.525])
    path.write_text('distance,completeness\n2,0.5\n')
    assert read_completeness(path).animals is None


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('distance,share\n1,0.5\n', 'lacks the column completeness'),
        ('distance,completeness\n', 'has no row'),
        ('distance,completeness\n1,0.5\n-2,0.5\n', 'c.csv:3: distance is missing or below 0'),
        ('distance,completeness\n1,55\n', 'c.csv:2: completeness is not above 0 and up to 1'),
        ('distance,completeness\n1,0.5\n9,0\n', 'c.csv:3: completeness is not above 0 .* end the survey before'),
        ('distance,completeness\n1,0.5\n1,0.6\n', 'c.csv:3: distance has a second row'),
        ('distance,completeness,animals\n1,0.5,\n', 'c.csv:2: animals is not a number of 1 or more'),
        ('distance,completeness\n1,x\n', "c.csv:2: completeness 'x' is not a number"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, text, message):
    (tmp_path / 'c.csv').write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        read_completeness(tmp_path / 'c.csv')
    assert '\n' not in str(refused.value)


def test_the_table_is_stated(tmp_path):
    table = Completeness(np.array([1.0, 8.0]), np.array([0.9, 0.425]), np.array([20.0, 40.0]))
    counts = write(tmp_path, [1, 3, 9], table)
    assert counts['completeness'] == {'distance': [1, 8], 'completeness': [0.9, 0.425], 'animals': [20, 40]}
    told = describe_export('distance', counts, tmp_path)
    assert 'completeness of the detector: 0.9 at 1 m, 0.425 at 8 m' in told and 'rises' not in told
    counts['completeness'] |= {'completeness': [0.3, 0.425]}
    assert 'it rises up to 8 m' in describe_export('distance', counts, tmp_path)
    script = (tmp_path / 'distance.R').read_text()
    block = script[script.index('completeness <- data.frame(') :].split('\n\n')[0].split('# Bootstrap')[0]
    assert ''.join(block.split()) == (
        'completeness<-data.frame(distance=c(1,8),completeness=c(0.9,0.425),animals=c(20,40))'
    )
    assert '@@' not in script
    assert 'completeness' not in write_distance(*survey([1, 3, 9]), 1, 42, tmp_path)
    assert 'completeness <- NULL' in (tmp_path / 'distance.R').read_text()


@needs_r
def test_a_product_of_two_half_normals_by_hand(tmp_path):
    """g(r) c(r) with c = 0.6 exp(-r^2 / 72) is 0.6 times a half-normal: what is seen is Rayleigh distributed.

    Without the completeness the fit takes this half-normal as 1 at the camera, and the density is 0.6 times the true
    one. The completeness gives the rest, whatever its fall with the distance, which the fit has found already.
    """
    distances_m = half_normal(200)
    write(tmp_path, distances_m, falling(), truncation=40)
    screen = run(tmp_path, fails='hr')
    assert corrected(screen)[0] == pytest.approx(density_by_hand(distances_m) / 0.6, rel=1e-3)
    plain = float(re.search(r'^half-normal +density (\S+)', screen, re.M)[1])
    assert plain == pytest.approx(density_by_hand(distances_m), rel=1e-3)
    assert 'Completeness of the detector:' in screen and 'does not find are not accounted for' not in screen


@needs_r
def test_bins_and_a_table_with_few_rows_against_a_likelihood_in_python(tmp_path):
    edges = [1, 2, 3, 4, 6, 9]
    rows = Completeness(np.array([1.0, 5.0]), np.array([0.9, 0.3]), None)
    distances_m = half_normal(300, 3.0)
    write(tmp_path, distances_m, rows, cutpoints=edges, regions=('north', 'south'))
    density = corrected(run(tmp_path, fails='hr'))[0]

    def seen(sigma_m, low, high):
        def rate(r):
            return 2 * r / 81 * np.interp(r, [1, 5], [0.9, 0.3]) * math.exp(-(r**2) / 2 / sigma_m**2)

        return sum(quad(rate, a, b)[0] for a, b in ((low, min(high, 5)), (max(low, 5), high)) if a < b)

    counts = np.histogram(distances_m, edges)[0]  # no distance lies on an edge

    def negative(sigma_m):
        shares = np.array([seen(sigma_m, a, b) for a, b in zip(edges, edges[1:], strict=False)])
        return -counts @ np.log(shares / shares.sum())

    sigma_m = minimize_scalar(negative, bounds=(1, 20), method='bounded', options={'xatol': 1e-6}).x
    view_m2 = math.pi * 81 * 42 / 360 * seen(sigma_m, 1, 9)
    # Regions of the same area and the same effort: the mean of their densities is the density of both together.
    assert density == pytest.approx(counts.sum() / (view_m2 * 6 * ACTIVE_S) * 1e6, rel=1e-3)


@needs_r
def test_the_interval_knows_how_few_animals_the_shares_come_from(tmp_path):
    distances_m = half_normal(150)
    widths = []
    for animals in (None, 10.0):
        rows = Completeness(np.array([3.0]), np.array([0.5]), None if animals is None else np.array([animals]))
        write(tmp_path, distances_m, rows, resamples=40, truncation=40)
        density, cv, lower, upper = corrected(run(tmp_path, fails='hr'))
        assert density == pytest.approx(2 * density_by_hand(distances_m), rel=1e-3)
        assert lower * upper == pytest.approx(density**2, rel=0.01)
        widths.append(cv / 100)
    # The share of 10 animals has a CV of sqrt(0.5 * 0.5 / 10) / 0.5 = 0.32, more on the scale of its logarithm.
    assert math.sqrt(widths[0] ** 2 + 0.2**2) < widths[1] < math.sqrt(widths[0] ** 2 + 0.6**2)


@needs_r
def test_with_redraws_each_table_is_fitted(tmp_path):
    distances_m = half_normal(200)
    folder = tmp_path / 'distance_redraws'
    write(tmp_path, distances_m, falling(), resamples=3, truncation=40)
    folder.mkdir()
    (tmp_path / 'one').mkdir()
    for number, scale in enumerate((0.95, 1 / 0.95), 1):
        write(tmp_path / 'one', scale * distances_m, falling(), truncation=40)
        (tmp_path / 'one' / 'distance_flatfile.csv').rename(folder / f'distance_flatfile_{number}.csv')
    screen = run(tmp_path, fails='hr')
    assert 'with the completeness of the detector and the error of the distances' in screen
    # Scales 0.95 and 1 / 0.95 give densities by 1 / scale^2, whose geometric mean is that of the distances themselves.
    assert corrected(screen)[0] == pytest.approx(density_by_hand(distances_m) / 0.6, rel=1e-3)
