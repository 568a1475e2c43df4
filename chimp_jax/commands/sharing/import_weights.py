"""Makes a finished member of a Keras file of the whole model:

    chimp-distance import model.h5 --recipe full-a4p50-f7s1 --fold 0 --out runs

WEIGHTS is a .h5 or .weights.h5 with the weights or with the whole saved model, or a .keras. The model is the published
one: EfficientNet-B0 without top on each frame, LSTM(1024), Dense(300), Dense(1). Nothing in the file is executed. OUT
gets a member that estimate, score, clip and export use like a trained one, and provenance.json with the file's name and
SHA-256, the source and the date. If the file does not fit, the command tells what is missing and what is too many.

An imported member has no out-of-fold predictions, so its distances have no intervals. Give --val_mae if you know its
validation error, and --folds published if it was trained with the original's folds, that is, without the clips of
fold K. Only then `score --split oof` accepts it.
"""

import argparse

from chimp_jax.sharing.importing import FOLDS, UNKNOWN_FOLDS, ImportRequest, import_member


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance import', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('weights', metavar='WEIGHTS', help='the Keras file; local or gs://')
    add('--recipe', required=True, help='model ID of the weights, such as full-a4p50-f7s1')
    add('--fold', required=True, type=int, help='number of the fold that the weights were not trained on')
    add('--out', required=True, help='folder of the members')
    add('--val_mae', '--val-mae', type=float, dest='val_mae_m', help='validation MAE in metres (default: unknown)')
    add('--folds', choices=FOLDS, default=UNKNOWN_FOLDS, help=f'folds of the training (default: {UNKNOWN_FOLDS})')
    add('--size_px', '--size-px', type=int, default=512, help='pixels of the frames in training (default: 512)')
    add('--source', default='', help='where the file is from: an address, a paper, a person')
    return parser


def run(options: argparse.Namespace) -> int:
    flags = vars(options)
    weights = flags.pop('weights')
    print_imported(*import_member(weights, ImportRequest(**flags)))
    return 0


def print_imported(folder, was_there: bool) -> None:
    """Prints what the import has made, and what the member lacks."""
    if was_there:
        print(f'{folder}: the member is there already')
        return
    print(f'{folder}: the imported member')
    print('note: it has no out-of-fold predictions, so its distances have no intervals')
