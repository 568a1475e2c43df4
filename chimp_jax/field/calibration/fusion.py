"""Combines the members' distances with those from the ground by their precision, where that helps."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy

from chimp_jax.ensemble.prediction_tables import KEY
from chimp_jax.field import flags
from chimp_jax.field.calibration.calibrate import LEAST_GAIN, LEAST_ROWS
from chimp_jax.field.calibration.grounds import FittedGround, Grounds
from chimp_jax.field.estimates import Estimated
from chimp_jax.field.label_tables import keyed
from chimp_jax.stations.correction import fuse
from chimp_jax.stations.ground_plane import locate

_LEAST_M = 0.1  # nearer estimates of the members have no relative error that means something


class FusionCheck(NamedTuple):
    """Whether the distances of a station's camera are combined. The errors are leave-one-out, in metres."""

    applied: bool
    n: int  # known distances that both estimate
    mae_members_m: float | None
    mae_combined_m: float | None  # None if there are fewer than LEAST_ROWS rows
    reason: str  # why it is not applied, '' if it is


def sd_log_of(distance_m, upper_m, coverage: float) -> np.ndarray:
    """Returns the standard deviation of the logarithm of estimates [n] with the upper end of their interval [n].

    Half of a normal interval that covers `coverage` is z standard deviations. NaN without an interval.
    """
    distance_m = np.maximum(np.asarray(distance_m, float), _LEAST_M)
    return (np.asarray(upper_m, float) - distance_m) / scipy.special.ndtri((1 + coverage) / 2) / distance_m


def check_fusion(one: FittedGround, known: pd.DataFrame, coverage: float) -> FusionCheck:
    """Compares the errors of the members alone and combined with the ground, on the known distances of a camera.

    known: video_id, time, distance, row, left_out (the members' estimate in metres, without this row), upper (of the
    interval of the members' estimate).
    """
    if not one.ground.n:
        return FusionCheck(False, 0, None, None, 'no known point')
    if not one.fits:
        return FusionCheck(False, 0, None, None, 'the known points do not fit the ground')
    ground_m = pd.Series(one.checks.estimate_m, one.points['row'])
    both = known.assign(ground=known['row'].map(ground_m)).dropna(subset=['ground', 'left_out', 'upper'])
    if len(both) < LEAST_ROWS:
        return FusionCheck(True, len(both), None, None, '')
    points = one.points.set_index('row').loc[both['row']]
    spread_log = locate(one.ground, points['x'], points['y'], coverage).spread_log
    sd_log = sd_log_of(both['left_out'], both['upper'], coverage)
    combined_m, _ = fuse(np.maximum(both['left_out'], _LEAST_M), sd_log, both['ground'], spread_log)
    truth_m = both['distance'].to_numpy(float)
    members_mae_m, mae_m = (float(np.abs(found - truth_m).mean()) for found in (both['left_out'], combined_m))
    applied = members_mae_m - mae_m > LEAST_GAIN * members_mae_m
    reason = '' if applied else f'it does not lower the leave-one-out error by {LEAST_GAIN:.0%}'
    return FusionCheck(bool(applied), len(both), members_mae_m, mae_m, reason)


def fuse_with_ground(
    members: Estimated,
    targets: pd.DataFrame,
    best: pd.DataFrame,
    grounds: Grounds,
    checks: Mapping[tuple[str, int], FusionCheck],
    coverage: float,
) -> Estimated:
    """Returns the members' estimates of targets (KEY), combined with those of their boxes where that helps.

    best: of ground_rows.best_located. checks: of each (station, epoch). A target keeps the estimate of the members if
    it has no distance from the ground, or if its camera may stand elsewhere. The interval of a combined distance is
    normal on the log scale. If the members give one distance for all animals of a second, the ground alone counts.
    """
    by_clip = {clip: checks[one.camera.station, one.camera.epoch].applied for clip, one in grounds.of_clip().items()}
    found = best.reindex(keyed(targets).index)
    ground_m, spread_log = (found[name].to_numpy(float) for name in ('distance', 'spread_log'))
    sd_log = sd_log_of(members.distance_m, members.upper_m, coverage)
    chosen = targets['video_id'].map(by_clip).fillna(False).to_numpy(bool)
    unsure = found['flags'].fillna('').str.split().map(lambda flags: 'camera_unsure' in flags).to_numpy(bool)
    chosen = chosen & ~unsure & np.isfinite(ground_m) & np.isfinite(sd_log) & np.isfinite(members.distance_m)
    if not chosen.any():
        return members
    one_for_all = np.array([flags.ONE_FOR_ALL in text.split() for text in members.flags])[chosen]
    fused_m, fused_sd = fuse(
        np.maximum(members.distance_m[chosen], _LEAST_M), sd_log[chosen], ground_m[chosen], spread_log[chosen]
    )
    fused_m = np.where(one_for_all, ground_m[chosen], fused_m)
    fused_sd = np.where(one_for_all, spread_log[chosen], fused_sd)
    reach = np.exp(scipy.special.ndtri((1 + coverage) / 2) * fused_sd)
    arrays = [np.array(values, float) for values in members[:3]]
    for values, combined in zip(arrays, (fused_m, fused_m / reach, fused_m * reach), strict=True):
        values[chosen] = combined
    kept = [
        '' if done else text for text, done in zip(members.flags, chosen, strict=True)
    ]  # the ground tells them apart
    return Estimated(*arrays, kept, members.reason)


def checks_table(checks: Mapping[tuple[str, int], FusionCheck]) -> list[dict]:
    """Returns the part `combined` of summary.json: a row for each station and epoch with known points."""
    return [
        {'station': station, 'epoch': epoch, **check._asdict()}
        for (station, epoch), check in checks.items()
        if check.applied or check.n
    ]


def known_with_estimates(
    matched: pd.DataFrame, left_out_m: np.ndarray, estimated: Estimated, targets: pd.DataFrame
) -> pd.DataFrame:
    """Returns the matched known rows with left_out and upper, for check_fusion.

    matched: of calibrate.match_known. left_out_m: of the calibration. estimated: of the targets (KEY).
    """
    upper = pd.Series(estimated.upper_m, keyed(targets).index)
    return matched[[*KEY, 'distance', 'row']].assign(
        left_out=left_out_m, upper=upper.reindex(keyed(matched).index).to_numpy()
    )
