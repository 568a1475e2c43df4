"""The members' answers -> the rows of distances.csv: combined, calibrated, with intervals, flags and corrections.

Pure: tables in, tables out. The order is that of the steps: a correction of the site moves the estimate and both ends
of its interval; what a person has measured replaces them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.clip_stream import BOX, Streamed
from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.ensemble.results import OK, with_lost
from chimp_jax.field import calibrate, corrections, flags, intervals

COLUMNS = [*KEY, 'distance', 'distance_lower', 'distance_upper', 'spread', 'members', 'flags', 'status', *BOX]


class OutOfFold(NamedTuple):
    """OOF rows of the ensemble, [n] each: what is known of its error."""

    estimate_m: np.ndarray
    label_m: np.ndarray
    spread_m: np.ndarray | None  # of intervals.comparable_spread; None with one recipe
    site: np.ndarray  # of intervals.site_groups
    folds: str  # how they were dealt: 'site' or 'clip'

    def intervals(self, coverage: float) -> intervals.Intervals:
        return intervals.fit_intervals(self.estimate_m, self.label_m, self.spread_m, self.site, coverage, self.folds)

    def site_effects(self) -> calibrate.SiteEffects:
        return calibrate.site_effects(self.estimate_m, self.label_m, self.site)


def estimate_rows(
    streamed: Streamed,
    distance_m: pd.Series,
    recipes: pd.DataFrame,
    site: pd.Series,
    oof: OutOfFold | None,
    coverage: float,
    calibration: calibrate.Calibration | None = None,
) -> pd.DataFrame:
    """The rows of distances.csv with a distance, with a column for each recipe behind COLUMNS.

    distance_m [rows], recipes [rows, recipes] and site [rows] in the order of streamed.rows. oof: None where the
    members have none; there are no intervals then.
    """
    members = streamed.answers()
    comparable_m = intervals.comparable_spread(members)
    rows = streamed.rows[[*KEY, *BOX]].copy()
    rows['distance'] = distance_m.to_numpy()
    rows['distance_lower'] = rows['distance_upper'] = np.nan
    if oof is not None:
        ends = oof.intervals(coverage).apply(rows['distance'].to_numpy(), comparable_m)
        rows['distance_lower'], rows['distance_upper'] = ends
    if calibration is not None:
        for name in ('distance', 'distance_lower', 'distance_upper'):
            rows[name] = calibration.apply(rows[name], site)
    limits = flags.training_limits(*(([], None) if oof is None else (oof.label_m, oof.spread_m)))
    gamma = streamed.clips.set_index('video_id')['gamma'].reindex(rows['video_id']).fillna(False).astype(bool)
    rows['flags'] = flags.flag_rows(limits, rows['distance'], gamma, streamed.rows['brightness'], comparable_m)
    rows['spread'], rows['members'], rows['status'] = intervals.spread(members), members.shape[1], OK
    return pd.concat([rows[COLUMNS], recipes.reset_index(drop=True)], axis=1)


def complete_rows(rows: pd.DataFrame, lost: pd.DataFrame, corrected: pd.DataFrame | None) -> pd.DataFrame:
    """With the targets that have no distance (video_id, time, reason), and with a person's corrections."""
    whole = with_lost(rows, lost).fillna({'flags': ''})
    return whole if corrected is None else corrections.apply_corrections(whole, corrected)


def clip_rows(
    site: pd.Series, streamed: Streamed, rows: pd.DataFrame, problems: Mapping[str, str], idle: str
) -> pd.DataFrame:
    """A row for every clip: clips.csv.

    site: of all clips of the folder, indexed by video_id. problems: {video_id: reason} of clips that were refused
    before they were decoded. idle: status of the clips that nothing was asked about.
    """
    streams = streamed.clips.set_index('video_id')
    table = streams.reindex(sorted({*site.index, *problems, *streams.index})).assign(site=site)
    reason = table.pop('problem').fillna('')
    reason = reason.where(reason != '', pd.Series(problems, dtype=object).reindex(table.index).fillna(''))
    seconds = rows[rows['distance'].notna()].groupby('video_id').size().reindex(table.index).fillna(0).astype(int)
    asked = table.index.isin(streams.index) | (reason != '')
    status = np.select([~asked, reason == '', seconds > 0], [idle, OK, 'partly'], 'failed')
    whole = table.assign(status=status, reason=reason, seconds=seconds).rename_axis('video_id').reset_index()
    return whole[['video_id', 'status', 'reason', 'seconds', 'duration_s', 'site', 'gamma', 'white_fraction']]
