"""Prediction: every member over every clip, each frame once; then one distance a target.

What a member says of a chunk of clips is kept in a file of its own as it comes. The same command after an
interruption computes only what is missing; a member that is added later is scored alone.
"""

import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax import input_pipeline, scoring
from chimp_jax.ensemble import (
    clamp_distance,
    combine,
    greedy_weights,
    join_predictions,
    mae,
    round_to_training,
)
from chimp_jax.input_pipeline import Clip
from chimp_jax.members import Member, read_oof
from chimp_jax.progress import Progress
from chimp_jax.train import make_model
from chimp_jax.workdir import write_whole
from data_prep.records import read_dataset, split_sizes

log = logging.getLogger(__name__)


def predict_recipes(members: list[Member], records, split: str, parts) -> pd.DataFrame:
    """Distances of all targets of a split -> [rows, recipes] indexed by (video_id, time), metres, mean over folds.

    parts: folder of the results of each member and chunk.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    n_clips = sum(split_sizes(records, member.config.data.stream).get(split, 0) for member in members)
    progress = Progress('predict', n_clips)
    for (stream, size_px), group in itertools.groupby(sorted(members, key=_reading), _reading):

        def clips(stream: str = stream, size_px: int = size_px) -> Iterator[Clip]:
            return input_pipeline.clips(read_dataset(records, stream, split), size_px)

        for member, rows in predict_group(list(group), clips, epath.Path(parts), progress):
            tables.setdefault(member.name, []).append(rows)
    by_member = join_predictions({name: pd.concat(rows) for name, rows in tables.items()})
    return by_member.T.groupby(lambda name: name.rsplit('/', 1)[0]).mean().T


def predict_group(
    members: list[Member],
    clips: Callable[[], Iterator[Clip]],
    parts: epath.Path,
    progress: Progress,
) -> Iterator[tuple[Member, pd.DataFrame]]:
    """Members that read the same pictures: outer loop over chunks of clips, inner over members.

    Yields (member, rows (video_id, time, distance)).
    """
    scorers: dict[str, scoring.Scorer] = {}
    placed = {}
    for chunk in scoring.in_chunks(clips()):
        for member in members:
            path = parts / member.recipe / f'fold_{member.fold}' / f'{_digest(member, chunk)}.csv'
            if not path.exists():
                key = member.config.model.to_json_best_effort()
                if key not in scorers:
                    scorers[key] = scoring.Scorer(make_model(member.config), member.config.data.size_px)
                if member.name not in placed:
                    placed[member.name] = scorers[key].place(member.weights())
                data = member.config.data
                rows, _ = scoring.score_clips(scorers[key], placed[member.name], chunk, data.n_frames, data.step_s)
                rows = rows.assign(distance=rows.pop('prediction'))
                write_whole(path, rows.to_csv(index=False))
            with path.open() as file:
                yield member, pd.read_csv(file)
            progress.advance(len(chunk), member.name)


def combine_recipes(
    members: list[Member], predictions: pd.DataFrame, method: str, rounding: str
) -> tuple[pd.Series, dict[str, float]]:
    """[rows, recipes] -> the ensemble's distance of each row, metres, >= 0, and the weight of each recipe.

    method: 'greedy', the published search on the members' OOF predictions, or 'mean'. rounding: 'train', to the
    nearest training distance, or 'none'.
    """
    oof, labels = read_oof(members)
    if method == 'greedy':
        weights = greedy_weights(oof[predictions.columns].to_numpy(), labels.to_numpy())
    else:
        weights = np.full(len(predictions.columns), 1 / len(predictions.columns))
    for recipe in predictions.columns:
        log.info('%s: OOF MAE %.4f m', recipe, mae(oof[recipe], labels))
    oof_mae = mae(combine(oof[predictions.columns].to_numpy(), weights), labels)
    log.info('ensemble: OOF MAE %.4f m (its weights were fitted on the same rows)', oof_mae)
    distance = clamp_distance(combine(predictions.to_numpy(), weights))
    if rounding == 'train':
        distance = round_to_training(distance, labels.to_numpy())
    named = dict(zip(predictions.columns, weights.tolist(), strict=True))
    return pd.Series(distance, predictions.index, name='distance'), named


def _reading(member: Member) -> tuple[str, int]:
    return member.config.data.stream, member.config.data.size_px


def _digest(member: Member, chunk: list[Clip]) -> str:
    """Names a result by all that it depends on, so that it is never taken for another's."""
    digest = hashlib.sha256(member.fingerprint().encode())
    for clip in chunk:
        digest.update(clip.video_id.encode())
        digest.update(np.ascontiguousarray(clip.target_time_s).tobytes())
        digest.update(np.ascontiguousarray(clip.frames).tobytes())
    return digest.hexdigest()[:20]
