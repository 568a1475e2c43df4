"""Predictions of the members -> the rows of distances.csv and clips.csv. Tables in, tables out.

The order of the steps: intervals around the estimates; the correction of the site, which moves an estimate and both
ends of its interval; flags; a person's corrections, which replace estimate and interval.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from chimp_jax.ensemble.prediction_tables import BOX, KEY, SECOND
from chimp_jax.ensemble.results import with_lost
from chimp_jax.field import corrections, flags, intervals, status
from chimp_jax.stations.ground_plane import angle_deg
from chimp_jax.streamed.results import Streamed
from chimp_jax.streamed.saved import SavedStream
from data_prep.inputs.labels import Problem
from data_prep.plan import Plan
from data_prep.workers.clip_record import ClipTask

_CLIPS_READ = 64  # at once: the rows of about four batches

Correct = Callable[[np.ndarray], np.ndarray]
LABEL = 'label'  # the detector's name of the animal, '' if it is just an animal or there is no detector
COLUMNS = [*KEY, 'distance', 'distance_lower', 'distance_upper', 'spread', 'members', 'flags', 'status', *BOX]
COLUMNS += ['angle', LABEL]


class Estimated(NamedTuple):
    """The distances of some targets, in the order of the targets."""

    distance_m: np.ndarray  # [n], NaN if missing
    lower_m: np.ndarray  # [n], NaN without an interval
    upper_m: np.ndarray
    flags: Sequence[str]  # [n], beside those of flags.flag_rows
    reason: Sequence[str]  # [n]: why the distance is missing, '' if it is not


def from_members(
    distance_m: pd.Series,
    members: pd.DataFrame,
    fitted: intervals.Intervals | None,
    shared: np.ndarray,
    correct: Correct | None,
) -> Estimated:
    """Returns the estimates of the members with their intervals, corrected by the known distances of their station.

    distance_m [rows]: of the ensemble; members [rows, members]. fitted: None if there are no OOF rows; the rows have no
    interval then. shared [rows] bool: the distance is one for all animals of the second. correct: maps distances [rows]
    in metres to corrected ones; None without a correction.
    """
    plain_m = distance_m.to_numpy(float)
    lower_m = upper_m = np.full(len(plain_m), np.nan)
    if fitted is not None:
        lower_m, upper_m = fitted.apply(plain_m, intervals.comparable_spread(members))
    if correct is not None:
        plain_m, lower_m, upper_m = map(correct, (plain_m, lower_m, upper_m))
    return Estimated(
        plain_m, lower_m, upper_m, [flags.ONE_FOR_ALL if one else '' for one in shared], [''] * len(plain_m)
    )


def estimate_rows(
    streamed: Streamed,
    estimated: Estimated,
    recipes: pd.DataFrame,
    training: flags.Training,
    theta_deg: float | None,
) -> pd.DataFrame:
    """Returns the rows of distances.csv: COLUMNS, then a column for each recipe.

    estimated and recipes [rows, recipes] are in the order of streamed.rows. theta_deg: the camera's horizontal angle of
    view in degrees; None if it is unknown, then the rows have no angle.
    """
    members = streamed.answers()
    rows = streamed.rows[[*KEY, *BOX]].copy()
    rows['distance'], rows['distance_lower'], rows['distance_upper'] = estimated[:3]
    gamma = streamed.clips.set_index('video_id')['gamma'].reindex(rows['video_id']).fillna(False).astype(bool)
    found = flags.flag_rows(
        training, rows['distance'], gamma, streamed.rows['brightness'], intervals.comparable_spread(members)
    )
    rows['flags'] = [' '.join(filter(None, pair)) for pair in zip(found, estimated.flags, strict=True)]
    rows['status'] = [reason or status.OK for reason in estimated.reason]
    rows['spread'], rows['members'] = intervals.spread(members), members.shape[1]
    rows['angle'] = np.nan
    if theta_deg is not None:
        rows['angle'] = angle_deg((rows['bbox_x'] + rows['bbox_width'] / 2).to_numpy(float), theta_deg)
    rows[LABEL] = ''
    return pd.concat([rows[COLUMNS], recipes.reset_index(drop=True)], axis=1)


class LostTargets(NamedTuple):
    """What may have no prediction, by clip."""

    planned: Mapping[str, list[tuple]]  # {video_id: KEY and reason of targets that were lost before the decoding}
    asked: Mapping[str, ClipTask]  # {video_id: its task} of the clips of which single seconds were asked for
    added: Collection[tuple[str, int]]  # (video_id, second) of the targets that are no animals

    def most(self, video_ids: Iterable[str]) -> int:
        """Returns how many targets of some clips may be lost at most."""
        return sum(
            len(self.planned.get(name, ())) + (len(self.asked[name].target_time_s) if name in self.asked else 0)
            for name in video_ids
        )


def find_lost(plan: Plan, tasks: Sequence[ClipTask]) -> LostTargets:
    planned: dict[str, list[tuple]] = {}
    for targets in plan.targets.values():
        for one in targets.lost:
            planned.setdefault(one.video_id, []).append((one.video_id, one.time_s, one.animal, one.reason))
    return LostTargets(planned, {task.video_id: task for task in tasks if task.target_time_s}, plan.added)


def lost_targets(may_be_lost: LostTargets, video_ids: Collection[str], streamed: Streamed) -> pd.DataFrame:
    """Returns KEY and reason of the targets of some clips without a prediction, if they can be animals."""
    lost = [target for name in video_ids for target in may_be_lost.planned.get(name, ())]
    predicted = set(streamed.rows[KEY].itertuples(index=False, name=None))
    problems = streamed.clips.set_index('video_id')['problem']
    for task in (may_be_lost.asked[name] for name in video_ids if name in may_be_lost.asked):
        animals = task.target_animal or [''] * len(task.target_time_s)
        keys = [(task.video_id, *key) for key in zip(task.target_time_s, animals, strict=True)]
        lost += [(*key, problems[task.video_id]) for key in keys if key not in predicted]
    lost = [target for target in lost if target[:2] not in may_be_lost.added]
    return pd.DataFrame(lost, columns=[*KEY, 'reason'])


def clips_at_a_time(
    streamed: Streamed | SavedStream, may_be_lost: LostTargets, n_rows: int
) -> Iterator[tuple[Streamed, pd.DataFrame]]:
    """Yields the results of some clips, and their targets without a prediction (KEY, reason), sorted by clip.

    Takes as many clips as have n_rows rows and lost targets or, because clips stay whole, a few more. Without any clip,
    there is one part without rows.
    """
    names = sorted({*streamed.names(), *may_be_lost.planned, *may_be_lost.asked})
    parts, waiting, n_waiting = [], [], 0
    for start in range(0, max(1, len(names)), _CLIPS_READ):
        some = names[start : start + _CLIPS_READ]
        parts.append(streamed.of_clips(some))
        waiting += some
        n_waiting += max(len(parts[-1].rows), may_be_lost.most(some))
        if n_waiting >= n_rows or start + _CLIPS_READ >= len(names):
            part = Streamed(*(pd.concat(tables, ignore_index=True) for tables in zip(*parts, strict=True)))
            yield part, lost_targets(may_be_lost, waiting, part)
            parts, waiting, n_waiting = [], [], 0


def mark_known(rows: pd.DataFrame, known: pd.DataFrame | None, added: Collection[tuple[str, int]]) -> pd.DataFrame:
    """Returns rows (distances.csv) in which the seconds `added` have the status 'known distance'.

    Such a second is a target because of its known distance alone, so it is no animal. Its row has the measured distance
    and no interval. known: video_id, time, distance of all known distances; None without any.
    """
    if known is None or not added:
        return rows
    keys = pd.MultiIndex.from_frame(rows[SECOND])
    marked = keys.isin(list(added))
    measured_m = pd.Series(known['distance'].to_numpy(float), pd.MultiIndex.from_frame(known[SECOND]))
    result = rows.copy()
    result.loc[marked, 'distance'] = measured_m.reindex(keys[marked]).to_numpy()
    result.loc[marked, ['distance_lower', 'distance_upper']] = np.nan
    result.loc[marked, 'flags'] = ''
    result.loc[marked, 'status'] = status.KNOWN
    return result


def complete_rows(
    rows: pd.DataFrame,
    lost: pd.DataFrame,
    labels: Mapping[tuple[str, int, str], str],
    corrected: pd.DataFrame | None,
) -> pd.DataFrame:
    """Adds the targets without a distance (KEY, reason) and the labels, and applies a person's corrections.

    labels: {(video_id, time, animal): the detector's name of the animal}.
    """
    whole = with_lost(rows, lost).fillna({'flags': ''})
    whole[LABEL] = [labels.get(key, '') for key in whole[KEY].itertuples(index=False, name=None)]
    return whole if corrected is None else corrections.apply_corrections(whole, corrected)


def clip_reasons(problems: Iterable[Problem]) -> dict[str, str]:
    """Returns {video_id: its different reasons in one text}."""
    reasons: dict[str, dict[str, None]] = {}
    for problem in problems:
        reasons.setdefault(problem.video_id, {})[problem.reason] = None
    return {video_id: '; '.join(found) for video_id, found in reasons.items()}


def clip_problems(plan: Plan, streamed: Streamed | SavedStream) -> dict[str, str]:
    """Returns {video_id: why it cannot be used}, without what was found when the clips were decoded.

    A clip that the detector did not look at is no problem of its own: see plan.unlooked.
    """
    decoded = set(streamed.clips['video_id'])
    reasons = {name: why for name, why in clip_reasons(plan.problems()).items() if name not in plan.unlooked}
    return reasons | {name: why for name, why in plan.unreadable().items() if name not in decoded}


def clip_rows(
    site: pd.Series,
    streamed: Streamed | SavedStream,
    n_found: Mapping[str, int],
    problems: Mapping[str, str],
    watched: Collection[str] = (),
    unlooked: Mapping[str, str] | None = None,
    durations_s: Mapping[str, float] | None = None,
    not_clips: Collection[str] = (),
) -> pd.DataFrame:
    """Returns the rows of clips.csv: one for each clip.

    site: of all clips in the folder, indexed by video_id. n_found: {video_id: seconds with a distance} of the clips
    with an animal in distances.csv. problems: {video_id: reason} of the clips that were refused before they were
    decoded. watched: the clips that somebody looked at; those without targets have no animal. unlooked: {video_id:
    reason} of the clips that the detector did not look at. durations_s: of clips that were not decoded. not_clips:
    videos with other names than clips.
    """
    streams = streamed.clips.set_index('video_id')
    table = streams.reindex(sorted({*site.index, *problems, *streams.index})).assign(site=site)
    lengths = pd.Series(dict(durations_s or {}), dtype=float).reindex(table.index)
    table['duration_s'] = table['duration_s'].astype(float).fillna(lengths)
    idle = np.where(table.index.isin(list(watched)), status.NO_ANIMAL, status.NOT_ASKED)
    missed = pd.Series(dict(unlooked or {}), dtype=object).reindex(table.index).fillna('')
    before = pd.Series(problems, dtype=object).reindex(table.index).fillna('')
    reason = before.str.cat(table.pop('problem').fillna(''), '; ').str.strip('; ')
    seconds = pd.Series(dict(n_found), dtype=float).reindex(table.index).fillna(0).astype(int)
    asked = table.index.isin(list(n_found)) | (reason != '')
    state = np.select(
        [table.index.isin(list(not_clips)), ~asked & (missed != ''), ~asked, reason == '', seconds > 0],
        [status.NOT_A_CLIP, status.NOT_LOOKED, idle, status.OK, status.PARTLY],
        status.FAILED,
    )
    reason = reason.where(state != status.NOT_LOOKED, missed)
    whole = table.assign(status=state, reason=reason, seconds=seconds).rename_axis('video_id').reset_index()
    columns = ['video_id', 'status', 'reason', 'seconds', 'duration_s', 'site', 'gamma', 'white_fraction']
    is_heard = 'sound' in whole and whole['sound'].notna().any()
    return whole[[*columns, 'sound'] if is_heard else columns]
