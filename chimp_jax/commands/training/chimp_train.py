"""Trains members: python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

Any field of the config can be overridden: --config.train.batch_size=32 --config.model.dtype=bfloat16.
All twelve published recipes: --config=configs/deep_chimpact.py:all. Some of them: --recipes='full-*,down-a4p50-f7s1'.
A model ID alone stands for the published recipe: --config=full-a4p50-f7s1.
"""

import re
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from chimp_jax import configs, runtime
from chimp_jax.commands.training import config_files  # noqa: F401  (config files import `configs`)
from chimp_jax.configs import base, recipes
from data_prep.workers import stopping

CONFIG = config_flags.DEFINE_config_file('config', help_string='FILE.py:MODEL-ID, FILE.py:all, MODEL-ID or all.')
flags.register_validator('config', bool, message='requires a model ID, for example --config=full-a4p50-f7s1')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Folder of the members; local or gs://.')
RECIPES = flags.DEFINE_list('recipes', None, 'With :all, model IDs or patterns such as full-*; all by default.')
FOLDS = flags.DEFINE_list('folds', None, 'Numbers of the folds to train, comma-separated; all by default.')
COMPILE_CACHE = flags.DEFINE_string('compile_cache', None, f'DIR|off: {runtime.COMPILE_CACHE}.')
VERBOSE = flags.DEFINE_bool('verbose', False, 'Also shows lines for developers: XLA flags, compilations.')
MULTIHOST = flags.DEFINE_bool('multihost', False, 'One training on several machines: the same command on each.')

PUBLISHED = Path(configs.__file__).parent / 'deep_chimpact.py'  # stands for a model ID without a file
CONFIG_FLAGS = ('--config', '-config')


def parse(argv: list[str]) -> list[str]:
    """Parses the flags. A malformed model ID or an unknown field exits with one line and the nearest name."""
    try:
        return flags.FLAGS(_name_the_file(argv))
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        # config_flags quotes a KeyError twice, and puts the whole stack of a failing config file into its message.
        text = str(error).strip('"\'').replace('\\n', ' ').replace('\\', '')
        reason = text.splitlines()[-1].removeprefix('ValueError: ') if 'Traceback' in text else ' '.join(text.split())
        raise SystemExit(f'train.py: {_with_fields(reason, argv)}') from None


def _with_fields(reason: str, argv: list[str]) -> str:
    """Returns the reason. If an unknown field is the reason, adds the nearest name or the fields of its section."""
    near = re.fullmatch(r'\W*(\w+)\W+Did you mean "(\w+)".*', reason)
    reason = near[1] if near else reason
    for argument in argv:
        path = argument.partition('=')[0].split('.')
        if path[0] == '--config' and reason in path:
            what = f'{".".join(path)}: there is no field {reason!r}'
            if near:
                return f'{what}; did you mean {near[2]!r}?'
            section = base.get_config()
            for name in path[1 : path.index(reason)]:
                section = section[name]
            return f'{what}; the fields there are {", ".join(section)}'
    return reason


def _name_the_file(argv: list[str]) -> list[str]:
    """Returns the arguments with --config=FILE.py:MODEL-ID in place of --config=MODEL-ID."""
    named = []
    for before, argument in zip(['', *argv[:-1]], argv, strict=True):
        flag, joined, value = argument.partition('=')
        if flag in CONFIG_FLAGS and joined:
            named.append(f'{flag}={_with_file(value)}')
        else:
            named.append(_with_file(argument) if before in CONFIG_FLAGS else argument)
    return named


def _with_file(value: str) -> str:
    return value if not value or '.py' in value else f'{PUBLISHED}:{value}'


def main(_) -> None:
    from chimp_jax import train

    runtime.start_logging(VERBOSE.value, times=True)
    config = flags.FLAGS.config.lock()
    try:
        if MULTIHOST.value:
            runtime.start_processes()
        train.log.debug('%s', runtime.use_compile_cache(COMPILE_CACHE.value))
        if FOLDS.value and not all(fold.strip().isdigit() for fold in FOLDS.value):
            raise ValueError(f'--folds={",".join(FOLDS.value)}: give numbers such as 0,1')
        folds = [int(fold) for fold in FOLDS.value] if FOLDS.value else None
        table = train.train_recipes(recipes.each_recipe(config, RECIPES.value), WORKDIR.value, folds)
    except (ValueError, OSError, train.TrainingError) as error:
        raise SystemExit(f'train.py: {error}') from None
    train.log.info(
        'cross-validation MAE, metres (also in %s/cv_mae.csv):\n%s', WORKDIR.value, table.round(4).to_string()
    )


def start() -> None:
    """Runs the command in a process of its own."""
    stopping.while_loading('train.py')
    runtime.configure()
    sys.modules['__main__'].__doc__ = __doc__  # absl's --help prints the docstring and the flags of the main module
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    stopping.run('train.py', lambda: app.run(main, argv=sys.argv, flags_parser=parse))
