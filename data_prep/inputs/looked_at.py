"""The moments of a clip at which a detector or a person looked for animals.

A moment that nobody looked at is neither an animal nor effort.
"""

from typing import NamedTuple

import numpy as np


class LookedAt(NamedTuple):
    """The frames of one clip in which somebody looked for animals."""

    times_s: np.ndarray  # [n] float64, ascending: seconds from the first frame of the clip
    has_animal: np.ndarray  # [n] bool
