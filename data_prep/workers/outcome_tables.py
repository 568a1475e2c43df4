"""Tables of what decoding made of the clips: clips.csv, lost.csv, and how many targets, animals and boxes there are."""

import pandas as pd

from data_prep.files import fingerprint
from data_prep.plan import Plan
from data_prep.sound.track import NO, UNHEARD, YES
from data_prep.workers import frame_store
from data_prep.workers.frame_store import Outcome

_COUNTED = {'targets': 'n_targets', 'animals': 'n_animals', 'boxes': 'n_boxes'}  # what: its column of clips.csv


def clip_table(plan: Plan, outcomes: dict[str, Outcome]) -> pd.DataFrame:
    """Returns one row for each clip with a record. Sizes and times are those of the full copy."""
    return pd.DataFrame(
        {'video_id': video_id, 'split': split} | outcomes[video_id].row
        for split in plan.targets
        for video_id in plan.clips(split)
        if outcomes[video_id].row
    )


def unrecorded_targets(plan: Plan, outcomes: dict[str, Outcome], frames: str) -> pd.DataFrame:
    """Returns a row (split, video_id, time, animal, reason) for each target that no record contains.

    Without names of animals, the column `animal` is left out.
    """
    rows = []
    for split, targets in plan.targets.items():
        rows += [(split, *lost) for lost in targets.lost]
        for video_id, wanted in targets.rows.dropna(subset='time_s').groupby('video_id'):
            outcome = outcomes[video_id]
            if outcome.problem:
                kept = _kept(frames, video_id) if outcome.row else set()
                pairs = zip(wanted['time_s'], wanted['animal'], strict=True)
                rows += [(split, video_id, *pair, outcome.problem[1]) for pair in pairs if pair not in kept]
    table = pd.DataFrame(sorted(rows), columns=['split', 'video_id', 'time', 'animal', 'reason'])
    return table if any(table['animal']) else table.drop(columns='animal')


def _kept(frames: str, video_id: str) -> set[tuple[int, str]]:
    """Returns the targets (second, animal) in the record of a clip."""
    record = frame_store.load(frames, 'full', video_id)
    return set(zip(record.target_time_s.tolist(), record.target_animal, strict=True))


def count_by_split(clips: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Returns the numbers of targets, animals with names and boxes: {what: {split: number}}.

    clips: clips.csv. A name counts once in each clip.
    """
    return {
        what: {split: int(n) for split, n in clips.groupby('split')[column].sum().items()}
        for what, column in _COUNTED.items()
    }


def clip_fingerprints(plan: Plan, outcomes: dict[str, Outcome]) -> dict[str, list[str]]:
    """Returns {video_id: [fingerprint, paths]} of the clips that were found, readable or not."""
    paths = {
        name: [*copies.paths(), *(path for mate in plan.mates.get(name, ()) for path in mate.paths())]
        for name, copies in plan.copies.items()
    }
    known = {name: outcome.files for name, outcome in outcomes.items()}
    return {
        name: [known[name] if name in known else fingerprint(paths[name], whole=True), *paths[name]] for name in paths
    }


def sound_line(clips: pd.DataFrame) -> str:
    """Returns how many clips have sound. clips: clips.csv of a job with sound."""
    states = clips['sound']
    n_whole, n_none, n_unheard = (states == YES).sum(), (states == NO).sum(), states.str.startswith(UNHEARD).sum()
    n_part = len(clips) - n_whole - n_none - n_unheard
    text = f'{n_whole} clips with sound, {n_none} without'
    text += f', {n_part} with sound in some seconds only' if n_part else ''
    text += f', {n_unheard} with a track that gives no sound' if n_unheard else ''
    return text + (' (column `sound` of clips.csv)' if n_part or n_unheard else '')


def count_line(clips: pd.DataFrame) -> str:
    """Returns count_by_split as one line, over all splits."""
    targets, animals, boxes = (sum(numbers.values()) for numbers in count_by_split(clips).values())
    return f'{targets} targets, {animals or "no"} animals with names, {boxes} boxes'
