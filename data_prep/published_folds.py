"""The folds of the original: scikit-learn's GroupKFold over the clips (Ivanov 2021, section 2).

GroupKFold deals the clips by their number of labels, largest first, each into the fold with the fewest labels. Clips
with equally many labels come in the order in which NumPy 1.19's argsort leaves ties, and this order decides in which
fold a clip is. Newer versions of NumPy leave ties in another order on some processors, so the order is computed here.
"""

import hashlib

import numpy as np

# SHA-256 of the lines 'video_id<TAB>fold', sorted, of the original's five folds. scikit-learn 0.24.2 and NumPy 1.19.5
# gave them for the challenge's train_labels.csv.
SHA256 = 'cdecb616c1d876cecd6cc507fe72d13f4761a95f6c543c409a568ea864ede89d'
N_CLIPS = 2072
_SMALL = 16  # shorter stretches are sorted by insertion


def group_k_fold(group: np.ndarray, n_folds: int) -> np.ndarray:
    """Returns the fold of each row, int [n], as GroupKFold(n_folds) of scikit-learn 0.24 with NumPy 1.19 deals them.

    group: [n] names, such as the clip of each label.
    """
    names, index, counts = np.unique(group, return_inverse=True, return_counts=True)
    totals, fold_of = np.zeros(n_folds, np.int64), np.zeros(len(names), np.int64)
    for position in reversed(numpy_119_argsort(counts.tolist())):
        fold = int(np.argmin(totals))
        fold_of[position] = fold
        totals[fold] += counts[position]
    return fold_of[index]


def are_published(fold_of: dict[str, int]) -> bool:
    """Returns whether {video_id: fold} are the folds of the original. The folders that hold the clips do not matter."""
    lines = sorted(f'{video_id.rpartition("/")[2]}\t{fold}' for video_id, fold in fold_of.items())
    return hashlib.sha256('\n'.join(lines).encode()).hexdigest() == SHA256


def numpy_119_argsort(values: list[int]) -> list[int]:
    """Returns the order of the values as numpy.argsort of NumPy 1.19 does, also among equal values.

    The algorithm is a quicksort with the median of three (numpy/core/src/npysort/quicksort.c.src, aquicksort). NumPy
    changes to a heapsort if the quicksort degenerates; counts of labels are far from that, and it raises ValueError.
    """
    order = list(range(len(values)))
    stretches = [(0, len(values) - 1, 2 * max(len(values).bit_length() - 1, 0))]
    while stretches:
        first, last, depth = stretches.pop()
        while last - first >= _SMALL:
            if depth < 0:
                raise ValueError('the counts cannot be ordered as NumPy 1.19 does; use data.folds=clip')
            depth -= 1
            middle = _partition(values, order, first, last)
            if middle - first < last - middle:  # the larger part waits
                stretches.append((middle + 1, last, depth))
                last = middle - 1
            else:
                stretches.append((first, middle - 1, depth))
                first = middle + 1
        for place in range(first + 1, last + 1):
            moved = order[place]
            while place > first and values[moved] < values[order[place - 1]]:
                order[place] = order[place - 1]
                place -= 1
            order[place] = moved
    return order


def _partition(values: list[int], order: list[int], first: int, last: int) -> int:
    """Moves smaller values before the pivot, larger ones behind it. Returns the place of the pivot."""

    def swap_if_less(a: int, b: int) -> None:
        if values[order[a]] < values[order[b]]:
            order[a], order[b] = order[b], order[a]

    middle = first + (last - first) // 2
    swap_if_less(middle, first)
    swap_if_less(last, middle)
    swap_if_less(middle, first)
    pivot = values[order[middle]]
    low, high = first, last - 1
    order[middle], order[high] = order[high], order[middle]
    while True:
        low += 1
        while values[order[low]] < pivot:
            low += 1
        high -= 1
        while pivot < values[order[high]]:
            high -= 1
        if low >= high:
            order[low], order[last - 1] = order[last - 1], order[low]
            return low
        order[low], order[high] = order[high], order[low]
