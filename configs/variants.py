"""The form of a variant in a list of ablations (configs/ablations.py)."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Variant(NamedTuple):
    """One change of the base config, and the question that it answers."""

    question: str
    changes: Mapping[str, Any] = {}  # fields of the config: {'data.n_frames': 9}
    tta: str = ''  # a test-time augmentation of the base's members, such as 'a1'; nothing is trained
    build: str = ''  # an option of data_prep.build, as gamma=never: other records, in the folder RECORDS-gamma-never
