"""The ensemble's out-of-fold (OOF) rows: what is known about its error, from the folders of the members."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from chimp_jax.field import evaluate, intervals, status
from chimp_jax.members import Member, read_oof_feet
from chimp_jax.stations.correction import ErrorModel, fit_error_model
from data_prep.inputs.tables import read_table

log = logging.getLogger(__name__)

_TAUGHT = (
    'a member is a student of members that knew labels of its out-of-fold rows, so these rows are a little optimistic '
    'and errors at new sites may be larger than the intervals'
)


class OutOfFold(NamedTuple):
    """OOF rows of the ensemble, [n] each."""

    estimate_m: np.ndarray
    label_m: np.ndarray
    spread_m: np.ndarray | None  # from intervals.comparable_spread; None with one recipe
    site: np.ndarray  # from intervals.site_groups
    clip: np.ndarray  # video_id
    foot: np.ndarray  # [n, 2] column and row of the foot of the animal's box as shares of the picture, NaN if unknown
    folds: str  # one of intervals.FOLDS
    taught: bool = False  # whether a member is a student (configs/student.py)

    def mae_m(self) -> float:
        """Returns the mean absolute error, metres."""
        return float(np.abs(self.estimate_m - self.label_m).mean())

    def errors(self, cutpoints_m) -> dict:
        """Returns the part `out_of_fold` of summary.json.

        mae_m; bands: name, n, mae and bias (estimate - label), metres, for each band of the true distance; warning:
        only if the bias within a bin of the cutpoints exceeds half of the bin's width.
        """
        bands = evaluate.band_errors(self.estimate_m, self.label_m, cutpoints_m)
        warning = evaluate.bias_warning(bands)
        told = [
            {'name': band.name, 'n': band.n, 'mae': round(band.mae, 4), 'bias': round(band.bias, 4)} for band in bands
        ]
        return {'mae_m': round(self.mae_m(), 4), 'bands': told} | ({'warning': warning} if warning else {})

    def fit_intervals(self, coverage: float) -> intervals.Intervals:
        fit = intervals.fit_intervals(self.estimate_m, self.label_m, self.spread_m, self.site, coverage, self.folds)
        return dataclasses.replace(fit, note='; '.join(filter(None, [fit.note, _TAUGHT]))) if self.taught else fit

    def fit_error_model(self) -> ErrorModel:
        return fit_error_model(self.estimate_m, self.label_m, self.foot, self.site, self.clip)


def make_out_of_fold(
    members: Sequence[Member], recipes: pd.DataFrame, estimate_m: np.ndarray, label_m: np.ndarray
) -> OutOfFold:
    """OOF predictions recipes [n, recipes], indexed by (video_id, time), their combination and labels [n] -> OutOfFold.

    The sites of the clips come from the clips.csv of all recipes.
    """
    video_id = recipes.index.get_level_values('video_id').to_numpy(str)
    site = read_sites({member.folder.parent for member in members}).reindex(video_id).fillna('')
    unknown = set(video_id[(site == '').to_numpy()])
    if unknown:
        log.info(
            'note: %d of %d training clips have no site in %s of their recipe; the intervals count each as a site',
            len(unknown),
            len(set(video_id)),
            status.CLIPS,
        )
    kinds = {'site' if member.config.data.folds == 'site' else 'clip' for member in members}
    return OutOfFold(
        estimate_m=estimate_m,
        label_m=label_m,
        spread_m=intervals.comparable_spread(recipes),
        site=intervals.site_groups(video_id, site),
        clip=video_id,
        foot=read_oof_feet(members, recipes.index),
        folds=kinds.pop() if len(kinds) == 1 else intervals.MIXED,
        taught=any(member.config.data.get('teacher') for member in members),
    )


def read_sites(recipe_folders) -> pd.Series:
    """Returns the site of each clip, indexed by video_id, from the clips.csv that training wrote beside the members.

    Folders are read by name. A clip's site is the first one that is not empty. A folder without clips.csv is skipped.
    """
    paths = [epath.Path(folder) / status.CLIPS for folder in sorted(recipe_folders)]
    tables = [read_table(path, ['video_id', 'site'])[['video_id', 'site']] for path in paths if path.exists()]
    rows = pd.concat(tables) if tables else pd.DataFrame({'video_id': [], 'site': []}, dtype=object)
    return rows[rows['site'] != ''].drop_duplicates('video_id').set_index('video_id')['site']
