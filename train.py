"""Train members: python train.py --config=configs/deep_chimpact.py:full-a4p50-f7s1 --workdir=runs

Any field of the config can be overridden: --config.train.batch_size=32 --config.model.dtype=bfloat16.
The twelve published recipes: --config=configs/deep_chimpact.py:all; some of them: --recipes='full-*,down-a4p50-f7s1'.
"""

from chimp_jax import runtime

if __name__ == '__main__':
    SETTINGS = runtime.configure()

from absl import app, flags  # noqa: E402  (JAX must start after runtime.configure)
from ml_collections import config_flags  # noqa: E402

from configs import base  # noqa: E402

CONFIG = config_flags.DEFINE_config_file('config', help_string='configs/FILE.py:MODEL-ID, or :all', lock_config=True)
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Folder of the members; local or gs://.')
RECIPES = flags.DEFINE_list('recipes', None, 'With FILE.py:all, model IDs or patterns such as full-*; all by default.')
FOLDS = flags.DEFINE_list('folds', None, 'Numbers of the folds to train, comma-separated; all by default.')
COMPILE_CACHE = flags.DEFINE_string('compile_cache', None, f'DIR|off: {runtime.COMPILE_CACHE}.')
MULTIHOST = flags.DEFINE_bool('multihost', False, 'One training on several machines: the same command on each.')


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; a malformed model ID or an unknown field is one line, with the nearest name."""
    try:
        return flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        # config_flags quotes a KeyError twice, and puts the whole stack of a failing config file into its message.
        text = str(error).strip('"\'').replace('\\n', ' ').replace('\\', '')
        reason = text.splitlines()[-1] if 'Traceback' in text else ' '.join(text.split())
        raise SystemExit(f'train.py: {reason}') from None


def main(_) -> None:
    from chimp_jax import recipes, train

    runtime.start_logging()
    try:
        if MULTIHOST.value:
            runtime.start_processes()
        train.log.info('%s; %s', SETTINGS, runtime.use_compile_cache(COMPILE_CACHE.value))
        if FOLDS.value and not all(fold.strip().isdigit() for fold in FOLDS.value):
            raise ValueError(f'--folds wants numbers such as 0,1; got {",".join(FOLDS.value)}')
        folds = [int(fold) for fold in FOLDS.value] if FOLDS.value else None
        table = recipes.train_recipes(base.each_recipe(CONFIG.value, RECIPES.value), WORKDIR.value, folds)
    except (ValueError, OSError, train.TrainingError) as error:
        raise SystemExit(f'train.py: {error}') from None
    train.log.info(
        'cross-validation MAE, metres (also in %s/cv_mae.csv):\n%s', WORKDIR.value, table.round(4).to_string()
    )


if __name__ == '__main__':
    flags.mark_flag_as_required('config')
    app.run(main, flags_parser=parse)
