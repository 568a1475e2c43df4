"""Distance bins as in the R package Distance (create_bins: R's cut with include.lowest = TRUE)."""

import numpy as np


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
