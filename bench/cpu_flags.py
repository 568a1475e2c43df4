"""Compares values of XLA's flag for YNN fusions on this processor: python -m bench.cpu_flags

jaxlib 0.10.2 fuses reductions and products for YNNPACK on x86-64. Its reduction crashes at rank 7 and 8 (jax issues
39257, 40412) and can be slow (37465). The sides run in turns; a ratio above 1 means that a value is faster than XLA's
default.
"""

import argparse

from bench.turns import Side, race, ratio

FLAG = '--xla_cpu_experimental_ynn_fusion_type'
VALUES = {'default': '', 'no fusions': f'{FLAG}=', 'no reductions': f'{FLAG}=-reduce'}
WORK = {
    'B0 features, 512 px': ('encode', {'n': 16, 'size_px': 512}),
    'update, 2 x 7 frames, 256 px': ('update', {'batch': 2, 'n_frames': 7, 'size_px': 256}),
    'LSTM and head, 2,000 windows': ('read_windows', {'n': 2000, 'n_frames': 7}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=7)
    options = parser.parse_args()
    print('| work | value | speed against the default (range) |\n|---|---|---|')
    for work, (function, settings) in WORK.items():
        sides = [
            Side(name, 'our_side', function, settings, environment={'XLA_FLAGS': flags})
            for name, flags in VALUES.items()
        ]
        run = race(sides, options.rounds)
        for name in list(VALUES)[1:]:
            if name not in run.seconds:
                print(f'| {work} | {name} | {"; ".join(run.absent)} |', flush=True)
                continue
            found = ratio(run.seconds[name], run.seconds['default'])
            low, high = found['range']
            print(f'| {work} | {name} | {found["ratio"]:.2f} x ({low:.2f} to {high:.2f}) |', flush=True)


if __name__ == '__main__':
    main()
