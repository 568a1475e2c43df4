"""Ablations: python -m chimp_jax.ablate --config=configs/ablations.py --workdir=runs/ablations

Trains each variant of a list on the same folds and seeds and compares each with the base: WORKDIR/ablation.csv and
WORKDIR/ablation.html. Run the same command again to resume after an interruption. Several machines may run the command
on one shared workdir. A field of the base: --config.data.records=data. Some variants: --only=frames,bf16.
"""

import argparse
import logging
import subprocess
import sys

from chimp_jax import runtime
from chimp_jax.commands.training import config_files  # noqa: F401  (config files import `configs`)
from chimp_jax.commands.training.fields import add_field_flags, take_overrides
from chimp_jax.configs import base
from data_prep.files import failure_line
from data_prep.workers import stopping

INCOMPLETE = 3  # exit code: the result lacks a variant

log = logging.getLogger('chimp_jax.ablate')  # not __main__, whose lines nobody shows


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m chimp_jax.ablate', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--config', required=True, help='FILE.py or FILE.py:MODEL-ID with get_config and VARIANTS')
    add('--workdir', default='runs/ablations', help='folder of all members and of the result; local or gs://')
    add('--only', default='', help='variants, comma-separated; all by default. The base is always included')
    add('--seeds', type=int, default=3, help='number of seeds of each variant (default: 3)')
    add('--train_only', action='store_true', help='trains the variants of --only in this process and writes no result')
    add_field_flags(parser, base.get_config(), but=('recipe',))
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        return _train_here(options) if options.train_only else _run(options)
    except (ValueError, OSError) as error:
        print(f'ablate failed: {failure_line(error)}', file=sys.stderr)
        return 1


def _study(options: argparse.Namespace):
    from chimp_jax.ablate.study import make_study, read_config_file

    config, variants = read_config_file(options.config)
    config.update_from_flattened_dict(take_overrides(dict(vars(options))))
    only = [name.strip() for name in options.only.split(',') if name.strip()]
    return make_study(config, variants, only, options.seeds, options.workdir), only


def _train_here(options: argparse.Namespace) -> int:
    """Trains the variants of --only, without the base unless it is named."""
    from chimp_jax.ablate.training import train_variant
    from chimp_jax.trainer import TrainingError

    log.debug('%s', runtime.use_compile_cache())
    study, only = _study(options)
    if not only:
        raise ValueError('--train_only requires the variants: --only=base,frames')
    for name in only:
        try:
            train_variant(study, name)
        except TrainingError as error:
            raise ValueError(f'{name}: {error}') from None
    return 0


def _run(options: argparse.Namespace) -> int:
    """Trains what is missing, a process for each variant, and writes the result of all finished variants."""
    from chimp_jax.ablate import report
    from chimp_jax.ablate.study import BASE, parts_text

    study, _ = _study(options)
    left = {name: study.left(name) for name in study.names()}
    obstacles = {name: text for name in left if left[name] and (text := study.obstacle(name))}
    if BASE in obstacles:
        raise ValueError(f'the {BASE} {obstacles[BASE]}')
    for name, text in obstacles.items():  # before hours of training
        log.warning('%s %s', name, text)
    for name, n_parts in left.items():
        if not n_parts:
            log.info('%s is finished', name)
        elif name not in obstacles:
            log.info('%s: %s to train', name, parts_text(n_parts))
            _start_process(name)
    lines, complete = report.write_result(study)
    print('\n'.join(lines))
    return 0 if complete else INCOMPLETE


def _start_process(name: str) -> None:
    """Runs this command for one variant. A failure is told by that process, and the result lacks the variant."""
    # If a flag is given twice, the last one counts.
    command = [sys.executable, '-m', 'chimp_jax.ablate', *sys.argv[1:], f'--only={name}', '--train_only']
    code = subprocess.run(command, check=False).returncode
    if code:
        log.error('%s: the training ended with exit code %d; its message is above', name, code)


if __name__ == '__main__':
    runtime.configure()
    runtime.start_logging(times=True)
    raise SystemExit(stopping.run('ablate', main))
