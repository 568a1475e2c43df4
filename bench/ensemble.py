"""Measures how long the greedy and the simplex weights take on generated OOF predictions, on one core.

    python -m bench.ensemble                       # 15,229 rows, as in the challenge, x 12 recipes and x 60 models
    python -m bench.ensemble --rows 500 --models 3

Prints JSON: seconds, the mean absolute error with these weights, and the allowed seconds (greedy 1, simplex 30). The
exit code is 1 if a method takes longer. As with real models, the errors of different models for one target correlate.
"""

import os

if __name__ == '__main__':
    for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'):
        os.environ[name] = '1'  # before NumPy starts

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import numpy as np  # noqa: E402

from chimp_jax.ensemble.distances import mae  # noqa: E402
from chimp_jax.ensemble.weights import greedy_weights, simplex_weights  # noqa: E402

ALLOWED_S = {'greedy': 1.0, 'simplex': 30.0}
LEVELS_M = np.r_[0:8.5:0.5, 9:26]  # distances as in the challenge's labels


def make_predictions(n_rows: int, n_models: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns OOF predictions [n_rows, n_models] and targets [n_rows], metres.

    The MAEs are 1.3 to 2.4 m, and far distances are predicted too low.
    """
    rng = np.random.default_rng(seed)
    target = rng.choice(LEVELS_M, n_rows)
    shared = rng.normal(0, 1.3, (n_rows, 1))
    noise = rng.normal(0, 1, (n_rows, n_models)) * rng.uniform(0.8, 2, n_models)
    return target[:, None] * rng.uniform(0.85, 1, n_models) + shared + noise + rng.normal(0, 0.3, n_models), target


def measure(n_rows: int, n_models: int) -> list[dict]:
    """Returns a row for each method: method, rows, models, seconds (best of three), allowed_s, mae_m."""
    oof, target = make_predictions(n_rows, n_models)
    rows = []
    for method, find in (('greedy', greedy_weights), ('simplex', simplex_weights)):
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            weights = find(oof, target)
            seconds.append(time.perf_counter() - start)
        figures = {'seconds': round(min(seconds), 3), 'allowed_s': ALLOWED_S[method]}
        error = round(mae(oof @ weights, target), 4)
        rows.append({'method': method, 'rows': n_rows, 'models': n_models, **figures, 'mae_m': error})
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, default=15229)
    parser.add_argument('--models', type=int, nargs='+', default=[12, 60])
    options = parser.parse_args(arguments)
    rows = [row for n_models in options.models for row in measure(options.rows, n_models)]
    print(json.dumps(rows, indent=2))
    return int(any(row['seconds'] > row['allowed_s'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
