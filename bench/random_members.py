"""Writes members with random weights, to measure speed: python -m bench.random_members --runs DIR --recipes ID"""

import argparse
import json
from pathlib import Path

from chimp_jax import runtime

if __name__ == '__main__':
    runtime.configure()

import numpy as np  # noqa: E402  (JAX must start after runtime.configure)
import pandas as pd  # noqa: E402

from chimp_jax import checkpoint, optim, steps  # noqa: E402
from chimp_jax.models.distance_model import DistanceModel  # noqa: E402
from configs import base  # noqa: E402


def write_members(runs: Path, recipes: list[str], size_px: int, folds: int = 1, animals: int = 0) -> None:
    """Writes RUNS/RECIPE/fold_K for all recipes, as train.py does. Members that exist are not changed.

    animals: slots of boxes in a frame, for members with the region branch.
    """
    config = base.get_config()
    config.model.regions = animals > 0
    settings = config.train
    optimizer = optim.make_optimizer(settings.adam_b1, settings.adam_b2, settings.adam_eps)
    plateau = optim.make_plateau(settings.learning_rate, **settings.plateau)
    state = steps.initial_state(DistanceModel(**config.model), optimizer, plateau, seed=0)
    # Prediction does not read the optimizer. Without its two copies of the parameters a member is a third as large.
    state = state.replace(opt_state=np.zeros(1, np.float32))
    for recipe, fold in ((recipe, fold) for recipe in recipes for fold in range(folds)):
        folder = runs / recipe / f'fold_{fold}'
        if (folder / 'member.json').exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        config = base.get_config(recipe)
        config.data.size_px = size_px
        config.model.regions = animals > 0
        config.data.most_animals = animals or config.data.most_animals
        (folder.parent / 'config.json').write_text(config.to_json_best_effort())
        with checkpoint.open_manager(folder / 'checkpoints') as manager:
            checkpoint.save(manager, state, [{'epoch': 1, 'val_mae': 2.0}])
        rows = [(f'{fold}_{k}.mp4', 0, float(k), k + 0.5) for k in range(4)]
        table = pd.DataFrame(rows, columns=['video_id', 'time', 'distance', 'prediction'])
        table.to_csv(folder / 'oof.csv', index=False)
        member = {'recipe': recipe, 'fold': fold, 'best_epoch': 1, 'val_mae': 2.0, 'folds_sha256': ''}
        (folder / 'member.json').write_text(json.dumps(member) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=Path, required=True)
    parser.add_argument('--recipes', nargs='+', required=True)
    parser.add_argument('--size_px', type=int, default=512)
    parser.add_argument('--folds', type=int, default=1)
    parser.add_argument('--animals', type=int, default=0, help='slots of boxes in a frame; 0: no region branch')
    options = parser.parse_args()
    runtime.use_compile_cache()
    write_members(options.runs, options.recipes, options.size_px, options.folds, options.animals)


if __name__ == '__main__':
    main()
