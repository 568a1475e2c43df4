"""What is decided before the work: the folds, the region branch, and whether the labels suffice."""

import json
import logging
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
from etils import epath

from chimp_jax.commands.training.request import TrainRequest
from data_prep.enhance.spec import OFF
from data_prep.files import read_json, write_json
from data_prep.inputs.labels import Problem
from data_prep.job import result_options
from data_prep.plan import Plan, make_plan

DECIDED = 'train.json'  # in the folder of the members
LEAST_SITES = 3  # for folds by site: with two, a member has seen a single site
FEW_LABELS = 50
MOST_NAMED = 5  # problems that the screen names

log = logging.getLogger(__name__)


class Decided(NamedTuple):
    """What is the same for every start of the command."""

    folds: str  # 'site' or 'clip'
    n_folds: int
    regions: bool  # whether the model has a distance for each animal
    n_labels: int  # that can be used, as far as known before the clips are decoded
    warnings: list[str]


def read_or_decide(request: TrainRequest, n_folds: int) -> tuple[Decided, Plan | None]:
    """Returns the decisions of an earlier start of the command, or new ones, with the plan if it was made.

    Raises ValueError if the earlier start had other labels or flags, or if the labels do not suffice. Writes nothing.
    """
    path = epath.Path(request.out) / DECIDED
    inputs = _inputs(request, n_folds)
    if before := read_json(path):
        _check_inputs(request, before.pop('inputs'), inputs)
        return Decided(**before), None
    plan = make_plan(request.job(n_folds))
    tell_problems(plan.problems(), request.labels)
    return decide(request.labels, plan, n_folds), plan


def keep_decided(request: TrainRequest, decided: Decided, n_folds: int) -> None:
    """Writes the decisions, unless they are there. n_folds: the number that was asked for."""
    path = epath.Path(request.out) / DECIDED
    if read_json(path) is None:
        write_json(path, {'inputs': _inputs(request, n_folds), **decided._asdict()})


def decide(labels: str, plan: Plan, n_folds: int) -> Decided:
    """Returns the decisions for a plan. labels: the table's name. n_folds: the number that is asked for.

    Raises ValueError if the labels cannot be trained on.
    """
    if 'train' not in plan.targets:
        raise ValueError(f'{labels} has no distance; write the distances in metres into its column distance')
    rows = plan.targets['train'].rows
    if rows.empty:
        raise ValueError(f'{labels} has no row that can be used; correct the rows that are named above')
    has_site = rows['site'] != ''
    n_sites = rows.loc[has_site, 'site'].nunique()
    folds, n_used, warnings = choose_folds_by(n_sites, n_folds)
    if folds == 'site' and not has_site.all():
        n_without = rows.loc[~has_site, 'video_id'].nunique()
        what = '1 clip has no site; it' if n_without == 1 else f'{n_without} clips have no site; each'
        warnings.append(f'{what} counts as a site of its own')
    n_clips = rows['video_id'].nunique()
    if n_clips < n_used:
        what = '1 clip' if n_clips == 1 else f'{n_clips} clips'
        raise ValueError(
            f'{labels} has usable labels of {what}, and {n_used} folds require {n_used}; label more clips'
            + (f', or give --folds={n_clips}' if n_clips > 1 else '')
        )
    if len(rows) < FEW_LABELS:
        warnings.append(
            f'{len(rows)} usable labels are few: expect errors like those of a constant, and intervals that say '
            f'little; label at least {FEW_LABELS}, better 300 or more'
        )
    several = rows.groupby(['video_id', 'time_s']).size().max() > 1
    has_boxes = bool(plan.boxes) or _has_box(rows['box'])
    if several and not has_boxes:
        warnings.append(
            'seconds with several labelled animals are left out of training, because no box tells where each animal '
            'is; give the boxes with --detections, or as columns x1,y1,x2,y2'
        )
    return Decided(folds, n_used, bool(several and has_boxes), len(rows), warnings)


def choose_folds_by(n_sites: int, n_folds: int) -> tuple[str, int, list[str]]:
    """Returns 'site' or 'clip', the number of folds, and a warning if they are not `n_folds` folds by site."""
    if n_sites >= n_folds:
        return 'site', n_folds, []
    if n_sites >= LEAST_SITES:
        return 'site', n_sites, [f'the labels have {n_sites} sites, so there are {n_sites} folds and not {n_folds}']
    what = f'{n_sites} sites are too few for folds by site' if n_sites else 'the labels name no site (column site)'
    return (
        'clip',
        n_folds,
        [
            f'{what}, so the folds are by clip: the members know the sites that they are validated on, the error below '
            'is optimistic, and the intervals are too narrow for new sites'
        ],
    )


def tell_problems(problems: Sequence[Problem], labels: str) -> None:
    """Logs the first problems with file, row and reason, and the number of the others."""
    for problem in problems[:MOST_NAMED]:
        log.info('problem: %s: %s: %s', problem.row or problem.video_id, problem.video_id, problem.reason)
    if len(problems) > MOST_NAMED:
        log.info('problem: %d more rows or clips of %s', len(problems) - MOST_NAMED, labels)


def _has_box(boxes: pd.Series) -> bool:
    return any(box is not None and box[0] == box[0] for box in boxes)  # NaN: no box


def _inputs(request: TrainRequest, n_folds: int) -> dict:
    """Returns what must not change between two starts: hashes of the tables, folders, flags."""
    return json.loads(json.dumps(result_options(request.job(n_folds))))


def _check_inputs(request: TrainRequest, before: dict, now: dict) -> None:
    changed = [name for name in before | now if before.get(name) != now.get(name)]
    if not changed:
        return
    said = {
        'tables_sha256': f'{request.labels} has changed',
        'detections_sha256': f'{request.detections} has changed',
        'clips_full': f'--clips was {" ".join(before.get("clips_full", []))}',
        'enhance': f'--enhance was {before.get("enhance", OFF)}',
        'audio': f'the records were begun {"with" if before.get("audio") else "without"} sound',
        'n_folds': f'--folds was {before.get("n_folds")}',
    }
    texts = [said.get(name, f'{name} was {before.get(name)}, is {now.get(name)}') for name in changed]
    raise ValueError(
        f'{request.out} was begun with other inputs: {"; ".join(texts)}. Give another --out, or delete {request.out}'
    )
