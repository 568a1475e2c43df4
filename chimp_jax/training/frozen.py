"""Training of all but the backbone, on features that are kept beside the records (config.train.frozen)."""

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import scoring, steps
from chimp_jax.data import chunks, processes
from chimp_jax.data.folds import Fold
from chimp_jax.data.operations import OPERATION_SETS
from chimp_jax.data.training_data import TrainingData
from chimp_jax.models import distance_model
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.steps import Mean, TrainState
from chimp_jax.training import feature_files
from chimp_jax.training.feature_batches import FLIP_SHARE, cut_share, feature_batches
from chimp_jax.training.kept_features import FLIP, Encoder, KeptFeatures, count_channels, keep_features
from chimp_jax.training.whole import ANIMAL_LABELS, LABELS
from data_prep.records import Record

BACKBONE = 'encoder'  # the name of its variables

log = logging.getLogger(__name__)


class FrozenTraining:
    """What an update changes, and what batches and the validation are made of. `whole.WholeTraining` is the other.

    The backbone is in no step: its variables are taken from the state before training, and put back for checkpoints.
    """

    forward = staticmethod(steps.forward_features)

    def __init__(self, model: DistanceModel, data: TrainingData, scorer: scoring.Scorer):
        self.model, self.data, self.scorer = model, data, scorer
        labels = (*ANIMAL_LABELS, 'bins', 'mean') if model.regions else LABELS
        self.arrays = ('features', *labels)
        operations = OPERATION_SETS[data.plan.augmentation.operation_set]
        self.mirrored = FLIP in operations
        log.info(
            'training on kept features: %s; the other augmentations of the recipe are not applied',
            f'{FLIP_SHARE:.0%} of the windows are mirrored' if self.mirrored else 'no window is changed',
        )
        self._kept: tuple[str, KeptFeatures] | None = None  # with the digest of the backbone
        self._fresh_backbone: dict[str, Any] | None = None
        self._backbone: dict[str, Any] = {}
        self._shares: tuple[Fold, dict] | None = None

    def fresh(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Returns fresh variables of a fold with the backbone that all folds have.

        Starting weights may not fill a backbone: those of Lite0 lack B0's squeeze-excite layers.
        """
        if self._fresh_backbone is None:
            self._fresh_backbone = scoring.backbone_of(distance_model.fresh_variables(self.model, self.data.seed))
        encoders = {name: tree[BACKBONE] for name, tree in self._fresh_backbone.items()}
        return {name: {**variables[name], BACKBONE: encoders[name]} for name in variables}

    def trained(self, params: Any) -> Any:
        """Returns the parameters that training changes: all but the backbone's."""
        return {name: tree for name, tree in params.items() if name != BACKBONE}

    def begin(self, state: TrainState, folder: epath.Path) -> TrainState:
        """Returns the state for the training steps, and has the features of the state's backbone ready.

        state: with all variables, on the host. folder: of the recipe's members.
        """
        variables = {'params': state.params, 'batch_stats': state.batch_stats}
        self._backbone = scoring.backbone_of(variables)
        digest = scoring.backbone_digest(variables)
        if self._kept is None or self._kept[0] != digest:
            self._kept = self._shares = None  # frees their memory first
            self._kept = digest, self._read_or_encode(digest, folder.parent)
        return state.replace(params=self.trained(state.params), batch_stats={})

    def complete(self, state: TrainState) -> TrainState:
        """Returns the state with all variables, the inverse of `begin`."""
        params = {**state.params, BACKBONE: self._backbone['params'][BACKBONE]}
        return state.replace(params=params, batch_stats=self._backbone['batch_stats'])

    def _read_or_encode(self, digest: str, workdir: epath.Path) -> KeptFeatures:
        data, size_px = self.data, self.data.plan.size_px
        about = feature_files.describe_kept(self.model, size_px, self.mirrored, digest)
        folder = feature_files.open_folder(data.records, workdir, data.sources.stream, about)
        n_channels = count_channels(self.model, self._backbone, size_px)
        encoder = Encoder(self.scorer, self.scorer.place(self._backbone), size_px, self.mirrored, n_channels)
        if jax.process_count() > 1:  # each encodes a part; then all read all
            first, stop = data.own_part
            keep_features(data.read(first, stop), stop - first, folder, encoder)
            processes.gather(stop)
        n_clips = len(data.index.video_id)
        return keep_features(data.read(0, n_clips), n_clips, folder, encoder)

    @property
    def kept(self) -> KeptFeatures:
        """The features of the backbone that `begin` was called with."""
        return self._kept[1]

    def batches(self, fold: Fold, epoch: int, first: int) -> Iterator[dict[str, np.ndarray]]:
        """Yields this process' part of the batches of an epoch from number `first` on, see feature_batches."""
        data = self.data
        if self._shares is None or self._shares[0] != fold:
            cut = {
                share: cut_share(self._clips_of(data.training_clips(fold), *part), data.plan, self.kept, self.mirrored)
                for share, part in data.own_ranges(fold).items()
            }
            self._shares = fold, cut
        steps = range(first, data.n_steps(fold))
        return feature_batches(self._shares[1], self.kept, data.plan, steps, seed=data.seed + fold.number, epoch=epoch)

    def validate(self, weights: dict[str, Any], fold: Fold) -> Iterator[tuple[pd.DataFrame, Mean]]:
        """Yields rows of this process' validation targets with their `prediction` and boxes, and the masked error.

        weights: all variables, placed on the scorer's devices.
        """
        plan = self.data.plan
        clips = self._clips_of(fold.validation, *self.data.validation_range(fold))
        records = (self.kept.records[video_id] for video_id in clips)
        for pieces in chunks.in_chunks(chunks.split_long(records)):
            rows = scoring.target_rows(pieces)
            cut = plan.windows
            windows = chunks.plan_windows(pieces, [True] * len(pieces), cut.n_frames, cut.step_s, plan.animals.most)
            features = self._tokens_of(weights, pieces, windows)
            prediction, error = self.scorer.distances(weights, features, windows.window, rows['distance'].to_numpy())
            yield rows.assign(prediction=prediction).join(scoring.target_boxes(pieces)), error

    def _tokens_of(self, weights, pieces: Sequence[Record], windows: chunks.WindowPlan) -> np.ndarray:
        """Returns what Scorer.encode returns for the frames and boxes of the windows, from the kept features."""
        row = np.concatenate([self.kept.frame_rows(piece) for piece in pieces])[windows.frame]
        features = self.kept.features[row]
        if windows.boxes is None:
            return features
        pooled = self.kept.pooled(self.kept.box_rows(row, windows.boxes))
        return self.scorer.tokens(weights, features, pooled, windows.boxes)

    def _clips_of(self, video_ids: Collection[str], first: int, stop: int) -> Iterator[str]:
        return (video_id for video_id in self.data.index.video_id[first:stop] if video_id in video_ids)
