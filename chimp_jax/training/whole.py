"""Training of the whole network on frames, as published."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import scoring, steps
from chimp_jax.data import chunks
from chimp_jax.data.folds import Fold
from chimp_jax.data.frames import decode_records
from chimp_jax.data.training_data import TrainingData
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.steps import Mean, TrainState
from data_prep.workers.background import in_background

LABELS = ('window', 'distance', 'mask')  # of a batch, that go to the devices
ANIMAL_LABELS = (*LABELS, 'boxes', 'belief', 'animal_distance', 'animal_mask')  # with a region branch


class WholeTraining:
    """What an update changes, and what batches and the validation are made of. `frozen.FrozenTraining` is the other."""

    forward = staticmethod(steps.forward_frames)

    def __init__(self, model: DistanceModel, data: TrainingData, scorer: scoring.Scorer):
        self.data, self.scorer = data, scorer
        self.model = model
        inputs = (('frames',) if model.sees_frames else ()) + (('sound',) if model.audio else ())
        self.arrays = (*inputs, *(ANIMAL_LABELS if model.regions else LABELS))

    def fresh(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Returns fresh variables of a fold for the starting weights: as they are."""
        return variables

    def trained(self, params: Any) -> Any:
        """Returns the parameters that training changes: all."""
        return params

    def begin(self, state: TrainState, folder: epath.Path) -> TrainState:
        """Returns the state for the training steps, of a state with all variables. folder: of the recipe's members."""
        return state

    def complete(self, state: TrainState) -> TrainState:
        """Returns the state with all variables, the inverse of `begin`."""
        return state

    def batches(self, fold: Fold, epoch: int, first: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process' part of the batches of an epoch from number `first` on, see TrainingData.batches."""
        return self.data.batches(fold, epoch, first)

    def validate(self, weights: dict[str, Any], fold: Fold) -> Iterator[tuple[pd.DataFrame, Mean]]:
        """Yields rows of this process' validation targets with their `prediction` and boxes, and the masked error.

        weights: all variables, placed on the scorer's devices.
        """
        plan = self.data.plan
        groups = chunks.in_chunks(chunks.split_long(self.data.validation_records(fold)))
        decode = functools.partial(decode_records, size_px=plan.size_px)
        if not self.model.sees_frames:
            decode = _no_frames
        for records, frames in in_background(decode, groups, overlap=True):  # the next chunk, while this one is scored
            rows = scoring.target_rows(records)
            cut = plan.windows
            windows = chunks.plan_windows(
                records, [True] * len(records), cut.n_frames, cut.step_s, plan.animals.most, plan.with_sound
            )
            prediction, error = self.scorer.score(weights, frames, windows, rows['distance'].to_numpy())
            yield rows.assign(prediction=prediction).join(scoring.target_boxes(records)), error


def _no_frames(_) -> None:
    """In the place of decoding, for a model of the sound alone."""
