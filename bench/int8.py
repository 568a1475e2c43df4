"""Compares a member's backbone in int8 with float32 in ONNX Runtime:

    python -m bench.int8 RUNS/RECIPE/fold_K --records DATA

Exports the member as `chimp-distance export --int8` does and prints a row: the change of the distances of clips that
did not calibrate, frames/s of both files in turns, and sizes.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.turns import Side, race, ratio
from chimp_jax.commands import export

N_FRAMES, BATCH = 64, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('member', help='folder of a trained member: RUNS/RECIPE/fold_K')
    parser.add_argument('--records', required=True, help='folder of data_prep.build')
    parser.add_argument('--rounds', type=int, default=9, help='turns of each file')
    options = parser.parse_args()
    member = export.load_member(options.member)
    graphs = export.member_graphs(member)
    graphs |= export.int8_graph(member, graphs, options.records, most_error_m=float('inf'))
    noted = {prop.key: prop.value for prop in graphs['.backbone.int8.onnx'].metadata_props}
    size_px = int(noted['size_px'])
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f'model{name}' for name in graphs if 'backbone' in name}
        for name, path in paths.items():
            path.write_bytes(graphs[name].SerializeToString())
        common = {'n': N_FRAMES, 'size_px': size_px, 'batch': BATCH}
        sides = [
            Side(name, 'peers', 'onnx_encode', common | {'path': str(path)}, ('onnxruntime',))
            for name, path in paths.items()
        ]
        run = race(sides, options.rounds)
        sizes = [path.stat().st_size / 1e6 for path in paths.values()]
    whole, quantized = (run.seconds[name] for name in paths)
    speeds = [N_FRAMES / statistics.median(seconds) for seconds in (whole, quantized)]
    faster = ratio(quantized, whole)
    error = f'{noted["int8_mean_change_m"]} m (at most {noted["int8_largest_change_m"]} m)'
    speed = f'{faster["ratio"]:.2f} x ({faster["range"][0]:.2f} to {faster["range"][1]:.2f})'
    print('| backbone | change of the distances | speed (range) | frames/s | MB |\n|---|---|---|---|---|')
    print(
        f'| {member.config.model.backbone}, {size_px} px | {error} | {speed} | {speeds[0]:.0f} and {speeds[1]:.0f} | '
        f'{sizes[0]:.1f} and {sizes[1]:.1f} |'
    )


if __name__ == '__main__':
    main()
