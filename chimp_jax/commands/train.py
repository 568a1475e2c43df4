"""Trains members on labelled clips, on this machine, in one go:

    chimp-distance train labels.csv --clips CLIPS --out runs

labels.csv has the columns video_id (path below the clips folder), time (s), distance (m) and site. The command prepares
the records (OUT/data), deals the sites to folds, trains a member for each fold, and tells the error at sites that the
members have not seen, with the intervals that `estimate` will give. Without sites, or with too few of them, the folds
are by clip. If seconds have several labelled animals with boxes, the members give a distance for each animal.

Run the same command again to resume after an interruption. Rows and clips that cannot be used are listed in
OUT/data/problems.csv, and the job continues. The exit code is 3 if there are such rows or clips, or if a warning doubts
the result. chimp-train trains other recipes on the same records.
"""

import argparse
import logging
import sys

from etils import epath
from ml_collections import ConfigDict

from chimp_jax.commands.training.deciding import Decided, keep_decided, read_or_decide
from chimp_jax.commands.training.request import TrainRequest, add_train_flags, make_request
from chimp_jax.training.bounds import check_bounds, check_words
from data_prep.build import build
from data_prep.inputs.labels import Problem
from data_prep.lock import hold
from data_prep.plan import Plan

WARMUP_SHARE = 0.2  # of all updates, at most

log = logging.getLogger(__name__)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance train',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --config.train.epoch is a mistake
    )
    add_train_flags(parser)
    return parser


def run(options: argparse.Namespace) -> int:
    """Check, decide, prepare, train, tell."""
    request = make_request(options)
    config = request.config()
    check_bounds(config)
    check_words(config)
    with hold(request.out):
        decided, plan = read_or_decide(request, config.data.n_folds)
        config = decided_config(request, config, decided)
        _check_config(request, config, decided)
        for warning in decided.warnings:
            log.info('warning: %s', warning)
        keep_decided(request, decided, request.config().data.n_folds)
        problems = prepare(request, decided, plan)
        code = _train(request, config)
        if code:
            return code
        from chimp_jax.commands.training.results import WARNING, describe_result

        lines = describe_result(request, config, decided, problems)
        print('\n'.join(lines))
    return 3 if problems or any(line.startswith(WARNING) for line in lines) else 0


def decided_config(request: TrainRequest, config: ConfigDict, decided: Decided) -> ConfigDict:
    """Returns the config to train. A field that the user set takes precedence, if it can be done.

    Raises ValueError if it cannot.
    """
    config.data.n_folds = decided.n_folds
    if 'data.folds' not in request.overrides:
        config.data.folds = decided.folds
    elif (config.data.folds, decided.folds) == ('site', 'clip'):
        raise ValueError(
            f'--config.data.folds=site requires labels of more sites: {decided.warnings[0]}; leave the flag out'
        )
    if 'model.regions' not in request.overrides:
        config.model.regions = decided.regions
    if 'train.warmup_steps' not in request.overrides:  # few labels make few steps
        most = WARMUP_SHARE * (_in_training(decided) // config.train.batch_size * config.train.epochs)
        config.train.warmup_steps = min(config.train.warmup_steps, int(most))
    return config.lock()


def prepare(request: TrainRequest, decided: Decided, plan: Plan | None) -> list[Problem]:
    """Makes the records and returns their problems. Raises ValueError if clips have changed since they were made."""
    problems = build(request.job(decided.n_folds), plan, tell=log.debug, passing=True)
    changed = [problem for problem in problems if problem.stage == 'files']
    if changed:
        raise ValueError(
            f'{len(changed)} clips have changed since {request.data} was made, the first: {changed[0].video_id}; give '
            f'another --out, or delete {request.out}'
        )
    return problems


def _check_config(request: TrainRequest, config: ConfigDict, decided: Decided) -> None:
    """Raises ValueError if the config cannot be trained, as far as it can be known before the records are made."""
    from chimp_jax import train
    from chimp_jax.models import pretrained

    train.check_configs([config], request.out)
    if config.start.init == 'lite0':
        pretrained.lite0_path()
    in_training = _in_training(decided)
    if in_training < config.train.batch_size:
        raise ValueError(
            f'a member trains on about {in_training} of the {decided.n_labels} labels, fewer than a batch of '
            f'{config.train.batch_size}; label more seconds, or give --config.train.batch_size'
        )


def _in_training(decided: Decided) -> int:
    """Returns about how many labels a member trains on."""
    return decided.n_labels * (decided.n_folds - 1) // decided.n_folds


def _train(request: TrainRequest, config: ConfigDict) -> int:
    """Trains the members that are not finished. Returns 0, or 1 if the training fails."""
    from chimp_jax import train, trainer

    ours = logging.getLogger('chimp_jax')
    level = ours.level
    if level > logging.DEBUG:
        ours.setLevel(logging.WARNING)  # the progress line has epoch and error
    try:
        train.train_recipes([config], epath.Path(request.out))
    except trainer.TrainingError as error:
        print(f'train failed: {error}', file=sys.stderr)
        return 1
    finally:
        ours.setLevel(level)
    return 0
