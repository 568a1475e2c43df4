"""distance.R beside a flat file. R is not on every machine: the tests that run the script are skipped without it.

The tests do not require the package Distance: distance_stand_in.R has its functions' arguments, and fits by maximum
likelihood.
"""

import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from chimp_jax.field.exports.distance_flatfile import write_distance
from chimp_jax.field.exports.snapshots import find_snapshots
from data_prep.inputs.looked_at import table_looks

STAND_IN = Path(__file__).with_name('distance_stand_in.R')
DUIKER = Path(__file__).resolve().parents[5] / 'shared' / 'data' / 'duiker' / 'DuikerCameraTraps.RData'
needs_r = pytest.mark.skipif(shutil.which('Rscript') is None, reason='R is not installed')
CUTPOINTS = [0, 1, 2, 3, 4, 6, 9]
ACTIVE_S = 86_400.0
# A heap at the camera: 60 animals within a metre, then as many in each bin as a flat function gives.
HEAP_M = [0.5] * 60 + [1.5] * 3 + [2.5] * 5 + [3.5] * 7 + [5] * 20 + [7.5] * 45


def dealt(distances_m, names, deployments):
    """Distances [n] at stations names [n], a second each of the station's one clip: arguments of write_distance."""
    rows = pd.DataFrame({'video_id': [f'{name}/x.mp4' for name in names], 'distance': np.asarray(distances_m, float)})
    rows = rows.assign(time=rows.groupby('video_id').cumcount(), distance_lower=math.nan, distance_upper=math.nan)
    n_seconds = rows.groupby('video_id').size()
    looked_at = {name: table_looks(range(n), []) for name, n in n_seconds.items()}
    site = pd.Series({name: name.partition('/')[0] for name in looked_at}, dtype=object)
    last_s = {name: n - 0.5 for name, n in n_seconds.items()}
    return [rows], find_snapshots(looked_at, last_s, None, site, 1), deployments


def survey(distances_m, stations='ABCDEF', regions=('north',)):
    """Distances dealt to stations in turn; the last station has none."""
    about = {'station': list(stations), 'region': [regions[i % len(regions)] for i in range(len(stations))]}
    deployments = pd.DataFrame({**about, 'area_km2': 10.0, 'active_seconds': ACTIVE_S})
    deployments['row'] = [f'd.csv:{i + 2}' for i in range(len(stations))]
    return dealt(distances_m, [stations[i % (len(stations) - 1)] for i in range(len(distances_m))], deployments)


def half_normal(n, sigma_m=3.0):
    """The distances of animals that a point sees with a half-normal detection function: Rayleigh distributed."""
    return sigma_m * np.sqrt(-2 * np.log((np.arange(n) + 0.5) / n))


def write(folder, distances_m, cutpoints=None, truncation=None, changes=(), **more):
    write_distance(*survey(distances_m, **more), 1, 42, folder, cutpoints, truncation)
    script = (folder / 'distance.R').read_text()
    for old, new in (('resamples <- 200', 'resamples <- 3'), *changes):
        assert old in script
        script = script.replace(old, new)
    (folder / 'distance.R').write_text(script)


def run(folder, code=0, fails=''):
    """Runs the script with the stand-in and returns what it printed."""
    command = ['Rscript', '-e', f'source("{STAND_IN}"); source("distance.R")']
    environment = os.environ | {'STAND_IN_FAILS': fails}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def verdicts(screen):
    """{fit: (density, verdict)} of the last lines."""
    found = re.findall(r'^(half-normal|hazard-rate) +density ([\d.e+]+) .* AIC [\d.]+ +(.*)$', screen, re.M)
    return {name: (float(density), verdict) for name, density, verdict in found}


def density_by_hand(distances_m):
    """Half-normal, wide truncation: the variance is the mean square / 2, and n / (effort f pi * mean square) per m2."""
    effort = 6 * ACTIVE_S
    return len(distances_m) / (effort * 42 / 360 * math.pi * float(np.mean(np.square(distances_m)))) * 1e6


def test_the_script_says_what_was_asked(tmp_path):
    write_distance(*survey([1, 3, 9]), 1, 42.5, tmp_path, np.array([0, 2.5, 10]))
    script = (tmp_path / 'distance.R').read_text()
    for line in ('cutpoints <- c(0, 2.5, 10)', 'truncation <- list(left = 0, right = 10)', 'fraction <- 42.5 / 360'):
        assert line in script
    assert '@@' not in script and max(map(len, script.splitlines())) <= 120
    for setting in ('availability <- NULL', 'resamples <- 200'):  # at the top, before the work
        assert script.index(setting) < script.index('library(Distance)')
    write_distance(*survey([1, 3, 9]), 1, 42, tmp_path, None, 8)
    assert 'truncation <- list(left = 0, right = 8)' in (tmp_path / 'distance.R').read_text()


@needs_r
def test_exact_distances_by_hand(tmp_path):
    distances_m = half_normal(200)
    write(tmp_path, distances_m, truncation=40)
    screen = run(tmp_path)
    assert screen.splitlines()[0] == 'ds hn 200 0 40 '
    density, verdict = verdicts(screen)['half-normal']
    assert density == pytest.approx(density_by_hand(distances_m), rel=1e-3) and verdict == 'usable'
    assert 'The error of the distances is not accounted for' in screen and 'with the error' not in screen
    # The five stations with 40 moments each resample to the same number only if the empty sixth one is kept.
    median = float(re.search(r'Bootstrap, half-normal, Total: median ([\d.]+)', screen)[1])
    assert any(median == pytest.approx(density * k / 5, rel=0.05) for k in (3, 4, 5, 6))
    pictures = (tmp_path / 'distance.pdf').read_bytes()
    # The histogram; for each fit the function, the observed distances and the Q-Q plot.
    assert pictures.startswith(b'%PDF') and len(re.findall(rb'/Type /Page\b', pictures)) == 1 + 2 * 3


@needs_r
def test_bins_regions_and_availability(tmp_path):
    write(tmp_path, half_normal(150, 2.0), CUTPOINTS, regions=('north', 'south'))
    screen = run(tmp_path)
    assert screen.splitlines()[0] == 'ds hn 150 0 9 0 1 2 3 4 6 9 '
    assert 'dht2 151 ~Region.Label 0.1166667 0.001' in screen  # a row more for the station without any
    assert set(re.findall(r'Bootstrap, half-normal, (\w+): .* \((\d) of 3', screen)) == {
        ('north', '3'), ('south', '3'), ('Total', '3')
    }  # fmt: skip
    density, _ = verdicts(screen)['half-normal']
    # Bins hide where in a bin an animal is, so the fit is near that of the exact distances.
    assert density == pytest.approx(density_by_hand(half_normal(150, 2.0)), rel=0.05)
    assert 'Availability is not accounted for' in screen
    changes = [('availability <- NULL', 'availability <- data.frame(rate = 0.5, SE = 0.05)')]
    write(tmp_path, half_normal(150, 2.0), CUTPOINTS, regions=('north', 'south'), changes=changes)
    corrected = run(tmp_path)
    assert verdicts(corrected)['half-normal'][0] == pytest.approx(2 * density, rel=1e-3)
    medians = [float(re.search(r'half-normal, Total: median ([\d.]+)', text)[1]) for text in (screen, corrected)]
    assert medians[1] == pytest.approx(2 * medians[0], rel=1e-3) and 'Availability' not in corrected


@needs_r
def test_a_truncation_and_coarser_bins_of_the_user(tmp_path):
    distances_m = half_normal(120, 2.0)
    changes = [('cutpoints <- c(0, 1, 2, 3, 4, 6, 9)', 'cutpoints <- c(1, 3, 4)'), ('resamples <- 3', 'resamples <- 0')]
    write(tmp_path, distances_m, CUTPOINTS, changes=changes)
    screen = run(tmp_path)
    kept = int(((distances_m > 1) & (distances_m <= 4)).sum())
    assert f'{len(distances_m) - kept} distances outside' in screen and f'ds hn {kept} 1 4 1 3 4 ' in screen
    assert 'Bootstrap' not in screen
    write(tmp_path, distances_m, CUTPOINTS, changes=[('c(0, 1, 2, 3, 4, 6, 9)', 'c(0, 2.5, 9)')])
    assert 'hn' not in run(tmp_path, code=1)  # 2.5 m lies in a bin


@needs_r
@pytest.mark.parametrize(('fails', 'other'), [('hr', 'half-normal'), ('hn', 'hazard-rate')])
def test_a_failing_fit_does_not_stop_the_other(tmp_path, fails, other):
    write(tmp_path, np.ceil(half_normal(100)))  # whole metres: ds() refuses a truncation that R reads as an integer
    screen = run(tmp_path, fails=fails)
    assert 'fit failed: No models could be fitted.' in screen
    assert list(verdicts(screen)) == [other] and f'Bootstrap, {other}' in screen


@needs_r
def test_a_fit_that_explodes_is_marked(tmp_path):
    write(tmp_path, HEAP_M, CUTPOINTS)
    screen = run(tmp_path)
    found = verdicts(screen)
    # A hazard rate that falls within centimetres explains the heap best: AIC prefers a density of many millions.
    assert found['hazard-rate'][0] > 1e5 and found['hazard-rate'][1] == 'UNUSABLE: P_a is at its limit'
    aic = {name: float(value) for name, value in re.findall(r'^(\S+) .* AIC ([\d.]+)', screen, re.M)}
    assert aic['hazard-rate'] < aic['half-normal'] and found['half-normal'][1] == 'usable'
    assert 'Bootstrap, hazard-rate' not in screen and 'Do not compare the AIC of an unusable fit' in screen
    alone = run(tmp_path, code=3, fails='hn')
    assert 'No fit of distance_flatfile.csv is usable' in alone


@needs_r
def test_the_rule_that_marks_a_fit(tmp_path):
    write_distance(*survey([1, 3, 9]), 1, 42, tmp_path)
    rule = re.search(r'^why_unusable <- function.*?^\}', (tmp_path / 'distance.R').read_text(), re.M | re.S)[0]
    expected = {
        '0.3, 0.1, 0.4': '',
        '0.3, 1.01, 0.4': 'the CV of P_a is above 100 % or unknown',
        '0.3, 0.1, 1.01': 'the CV of the density is above 100 % or unknown',
        '0.9995, 0.1, 0.4': 'P_a is at its limit',
        '0.0005, NA, 0.4': 'the CV of P_a is above 100 % or unknown; P_a is at its limit',
    }  # P_a, its CV, CV of the density
    calls = '\n'.join(f'cat(why_unusable({values}), "\\n", sep = "")' for values in expected)
    done = subprocess.run(
        ['Rscript', '-e', f'{rule}\n{calls}'], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout.splitlines() == list(expected.values())


@needs_r
def test_the_duikers_of_the_package(tmp_path):
    if not DUIKER.exists():
        pytest.skip(f'{DUIKER} is not there')
    subprocess.run(
        ['Rscript', '-e', f'load("{DUIKER}"); write.csv(DuikerCameraTraps, "in.csv", row.names = FALSE, na = "")'],
        cwd=tmp_path,
        check=True,
    )
    given = pd.read_csv(tmp_path / 'in.csv')
    seen = given[given['distance'].notna()].reset_index(drop=True)
    names = {'Sample.Label': 'station', 'Region.Label': 'region', 'Area': 'area_km2', 'Effort': 'active_seconds'}
    deployments = given.drop_duplicates('Sample.Label')[list(names)].rename(columns=names).assign(row='in.csv')
    arguments = dealt(seen['distance'], seen['Sample.Label'], deployments)
    counts = write_distance(*arguments, 1, 42, tmp_path, [2, 3, 4, 5, 6, 7, 8, 10, 12, 15])
    assert (counts['observations'], counts['stations'], counts['stations without any']) == (5865, 21, 3)
    script = tmp_path / 'distance.R'
    script.write_text(script.read_text().replace('resamples <- 200', 'resamples <- 0'))
    # The vignette's ds() and dht2() give 22.03 and 14.51 per square km with Distance 2.0.1 and mrds 3.0.1.
    assert verdicts(run(tmp_path)) == {'half-normal': (22.03, 'usable'), 'hazard-rate': (14.51, 'usable')}


@needs_r
def test_redraws_are_combined_by_rubins_rules(tmp_path):
    distances_m = half_normal(200)
    write(tmp_path, 1.1 * distances_m, truncation=40)
    for number, scale in enumerate((0.95, 1.0, 1 / 0.95), 1):
        write(tmp_path / 'one', scale * distances_m, truncation=40)
        (tmp_path / 'distance_redraws').mkdir(exist_ok=True)
        (tmp_path / 'one' / 'distance_flatfile.csv').rename(
            tmp_path / 'distance_redraws' / f'distance_flatfile_{number}.csv'
        )
    screen = run(tmp_path)
    line = r'half-normal +with the error .*: density (\S+) \(CV (\d+) %\)  95 % interval (\S+) to (\S+)  3 of 3 redraws'
    density, cv, lower, upper = (float(text) for text in re.search(line, screen).groups())
    # Scaled distances scale the density by 1 / scale^2. The logarithms of the scales have the mean 0.
    assert density == pytest.approx(density_by_hand(distances_m), rel=1e-3)
    alone = float(re.search(r'^half-normal +density \S+ \(CV (\d+) %\)', screen, re.M)[1]) / 100
    within, between = math.log(1 + alone**2), 4 / 3 * np.var([2 * math.log(0.95), 0, -2 * math.log(0.95)], ddof=1)
    assert cv / 100 == pytest.approx(math.sqrt(math.exp(within + between) - 1), abs=0.01)
    missing = between / (within + between)
    observed = 6 / 8 * 5 * (1 - missing)  # 6 stations
    freedom = 1 / (missing**2 / 2 + 1 / observed)
    half = student.ppf(0.975, freedom) * math.sqrt(within + between)
    assert (lower, upper) == pytest.approx((density * math.exp(-half), density * math.exp(half)), rel=0.05)
    assert 'Bootstrap with redraws, half-normal: median' in screen
    assert 'The error of the distances is not accounted for' not in screen


@needs_r
def test_an_interval_that_tells_nothing_is_marked(tmp_path):
    write(tmp_path, HEAP_M, CUTPOINTS, stations='ABC')
    script = (tmp_path / 'distance.R').read_text()
    functions = re.search(r'^combine_redraws <- function.*?(?=^corrected <- )', script, re.M | re.S)[0]
    calls = 'for (n in c(3, 30)) for (cv in c(0.6, 1.2, NA)) cat(combine_redraws(c(9, 10, 11), cv, n)$unusable, "\\n")'
    command = ['Rscript', '-e', f'resamples <- 3\n{functions}\n{calls}']
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    # 3 stations leave less than 3/5 * 2 degrees of freedom: t is 9 or more, so exp(2 * 9 * 0.55) is far above 100.
    wide, high, unknown = 'spans more than a factor of 100', 'the CV of the density is above 100 %', 'is unknown'
    expected = [(wide,), (high, wide), (unknown,), (), (high,), (unknown,)]
    marks = [tuple(mark for mark in (high, wide, unknown) if mark in line) for line in told]
    assert marks == expected
    write(tmp_path / 'one', half_normal(20, 2.0), CUTPOINTS, stations='ABC')
    (tmp_path / 'distance_redraws').mkdir()
    for number in (1, 2):
        redraw = tmp_path / 'distance_redraws' / f'distance_flatfile_{number}.csv'
        shutil.copy(tmp_path / 'one' / 'distance_flatfile.csv', redraw)
    screen = run(tmp_path, code=3)
    # The heap makes the hazard rate of the estimates unusable. The redraws have no heap, so they are fitted.
    assert verdicts(screen)['hazard-rate'][1].startswith('UNUSABLE')
    lines = [line for line in screen.splitlines() if 'with the error of the distances' in line]
    assert len(lines) == 2 and all('UNUSABLE' in line and ' to ' not in line for line in lines)
    assert 'No corrected density is usable' in screen
