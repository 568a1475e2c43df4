"""Trains members: python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

Any field of the config can be overridden: --config.train.batch_size=32 --config.model.dtype=bfloat16.
All twelve published recipes: --config=configs/deep_chimpact.py:all. Some of them: --recipes='full-*,down-a4p50-f7s1'.
A model ID alone stands for the published recipe: --config=full-a4p50-f7s1.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from chimp_jax import runtime
from chimp_jax.configs import base, recipes

WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Folder of the members; local or gs://.')
RECIPES = flags.DEFINE_list('recipes', None, 'With :all, model IDs or patterns such as full-*; all by default.')
FOLDS = flags.DEFINE_list('folds', None, 'Numbers of the folds to train, comma-separated; all by default.')
COMPILE_CACHE = flags.DEFINE_string('compile_cache', None, f'DIR|off: {runtime.COMPILE_CACHE}.')
MULTIHOST = flags.DEFINE_bool('multihost', False, 'One training on several machines: the same command on each.')


def parse(argv: list[str]) -> list[str]:
    """Parses the flags. A malformed model ID or an unknown field exits with one line and the nearest name."""
    try:
        return flags.FLAGS(_define_config(argv))
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        # config_flags quotes a KeyError twice, and puts the whole stack of a failing config file into its message.
        text = str(error).strip('"\'').replace('\\n', ' ').replace('\\', '')
        reason = text.splitlines()[-1] if 'Traceback' in text else ' '.join(text.split())
        raise SystemExit(f'train.py: {reason}') from None


def _define_config(argv: list[str]) -> list[str]:
    """Defines the flag --config for FILE.py:ID or for ID; returns the arguments that are left to parse."""
    argv = _with_equals_sign(argv)
    given = next((argument for argument in argv if argument.startswith('--config=')), '')
    value = given.removeprefix('--config=')
    if not value or '.py' in value:
        config_flags.DEFINE_config_file('config', help_string='FILE.py:MODEL-ID, FILE.py:all or MODEL-ID')
        flags.mark_flag_as_required('config')
        return argv
    left = [argument for argument in argv if argument != given]
    config_flags.DEFINE_config_dict('config', base.get_config(value), sys_argv=left)  # else it finds no overrides
    return left


def _with_equals_sign(argv: list[str]) -> list[str]:
    """Returns the arguments with `--config X` as `--config=X`."""
    place = argv.index('--config') if '--config' in argv[:-1] else None
    return argv if place is None else [*argv[:place], f'--config={argv[place + 1]}', *argv[place + 2 :]]


def main(_) -> None:
    from chimp_jax import train

    runtime.start_logging()
    config = flags.FLAGS.config.lock()
    try:
        if MULTIHOST.value:
            runtime.start_processes()
        train.log.info('%s', runtime.use_compile_cache(COMPILE_CACHE.value))
        if FOLDS.value and not all(fold.strip().isdigit() for fold in FOLDS.value):
            raise ValueError(f'--folds takes numbers such as 0,1; got {",".join(FOLDS.value)}')
        folds = [int(fold) for fold in FOLDS.value] if FOLDS.value else None
        table = train.train_recipes(recipes.each_recipe(config, RECIPES.value), WORKDIR.value, folds)
    except (ValueError, OSError, train.TrainingError) as error:
        raise SystemExit(f'train.py: {error}') from None
    train.log.info(
        'cross-validation MAE, metres (also in %s/cv_mae.csv):\n%s', WORKDIR.value, table.round(4).to_string()
    )


def start() -> None:
    """Runs the command in a process of its own."""
    runtime.configure()
    app.run(main, argv=sys.argv, flags_parser=parse)
