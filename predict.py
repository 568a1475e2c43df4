"""Distances from clips: python predict.py --members runs --records data --out distances.csv

With --records the targets are those of a split of prepared data; with --clips, every whole second of every readable
clip of a folder. All members below --members are combined: mean over folds, then weights over recipes.
"""

from chimp_jax import runtime

if __name__ == '__main__':
    runtime.configure()

import argparse  # noqa: E402  (JAX must start after runtime.configure)
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

import pandas as pd  # noqa: E402
from etils import epath  # noqa: E402


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--members', required=True, help='folder of train.py --workdir')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--records', help='folder that data_prep.build wrote')
    source.add_argument('--clips', help='folder of clips: every whole second is a target')
    parser.add_argument('--split', default='test', help='of --records (default: test)')
    parser.add_argument('--out', required=True, help='CSV to write: video_id, time, distance in metres')
    parser.add_argument('--submission_format', help='CSV whose rows, in their order, are to be written')
    parser.add_argument('--details', action='store_true', help='adds a column for each recipe')
    parser.add_argument('--weights', choices=('greedy', 'mean'), default='greedy', help='of the recipes')
    parser.add_argument(
        '--round',
        choices=('none', 'train'),
        default='none',
        help='train: to the nearest training distance, as published',
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    from chimp_jax import ensemble, members, predict
    from chimp_jax.workdir import write_whole
    from data_prep import build
    from data_prep.job import Job

    options = parse(arguments)
    out = epath.Path(options.out)
    parts = out.parent / f'{out.name}.parts'
    found = members.find_members(options.members)
    predict.log.info('%d members: %s', len(found), ', '.join(member.name for member in found))
    records, split, problems = options.records, options.split, []
    if options.clips:
        records, split = parts / 'data', 'test'
        problems = build.build(Job(out=str(records), clips_full=(options.clips,), workers=os.cpu_count() or 1))
    by_recipe = predict.predict_recipes(found, records, split, parts)
    distance, weights = predict.combine_recipes(found, by_recipe, options.weights, options.round)
    rows = distance.reset_index()
    if options.details:
        rows = rows.merge(by_recipe.reset_index(), on=ensemble.KEY)
    order = rows
    if options.submission_format:
        with epath.Path(options.submission_format).open() as file:
            order = pd.read_csv(file)
    ensemble.write_predictions(out, rows, order)
    write_whole(parts / 'weights.json', json.dumps(weights, indent=2) + '\n')
    for recipe, weight in weights.items():
        print(f'weight {weight:7.4f}  {recipe}')
    print(f'{len(order)} distances of {order["video_id"].nunique()} clips in {out}')
    for problem in problems:
        print(f'not used: {problem.video_id}: {problem.reason}')
    return 3 if problems else 0


if __name__ == '__main__':
    runtime.start_logging()
    runtime.use_compile_cache()
    try:
        sys.exit(main())
    except (ValueError, OSError) as failure:
        sys.exit(f'predict.py: {failure}')
