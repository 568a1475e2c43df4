"""Distance bins as in the R package Distance (create_bins: R's cut with include.lowest = TRUE)."""

import itertools

import numpy as np

CUTPOINTS_M = (0.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 25.0)  # of the bands of error if the user gives no cutpoints


def check_cutpoints(cutpoints_m) -> np.ndarray:
    """Returns the cutpoints as an array. Raises ValueError unless they are two or more rising distances."""
    edges = np.asarray(list(cutpoints_m), float)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or edges[0] < 0 or (np.diff(edges) <= 0).any():
        raise ValueError(
            f'cutpoints must be two or more rising distances in metres, such as 0,2,4,8; not {list(cutpoints_m)}'
        )
    return edges


def bin_of(distance_m, edges_m) -> np.ndarray:
    """Returns the index of the bin (a, b], [a, b] for the first; -1 below all bins, len(edges) - 1 above all bins."""
    distance_m = np.asarray(distance_m, float)
    index = np.searchsorted(edges_m, distance_m, side='left') - 1
    return np.where(distance_m == edges_m[0], 0, index)


def used_cutpoints(cutpoints_m=None, truncation_m: float | None = None) -> list[float]:
    """Returns the edges of the bins of an analysis: the cutpoints, else CUTPOINTS_M, up to the truncation."""
    edges = [float(edge) for edge in cutpoints_m or CUTPOINTS_M]
    if truncation_m is None:
        return edges
    return [edge for edge in edges if edge < truncation_m] + [float(truncation_m)]


def bin_names(edges_m) -> dict[int, str]:
    """Returns {index of bin_of: its name}, such as {-1: 'below 2 m', 0: '2 to 4 m', 1: 'above 4 m'}."""
    within = {i: f'{a:g} to {b:g} m' for i, (a, b) in enumerate(itertools.pairwise(edges_m))}
    return {-1: f'below {edges_m[0]:g} m', **within, len(edges_m) - 1: f'above {edges_m[-1]:g} m'}
