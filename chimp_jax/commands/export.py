"""Writes a member as two ONNX files: chimp-distance export runs/full-a4p50-f7s1/fold_0 --out model.onnx

Writes model.backbone.onnx and model.head.onnx for ONNX Runtime, OpenVINO, R, phones and browsers:

    backbone: frames [N, S, S, 3] uint8 RGB, S is `size_px` in the file's metadata -> features [N, 1280] float32
    head:     windows [N, T, 1280] float32, T = `n_frames` features `step_s` seconds apart -> distance [N] metres

Resize the frames as in training: bilinear, half-pixel centres, no antialiasing, aspect ratio ignored, then floor.
Before the files are written, ONNX Runtime runs them and the results are compared with the Flax model. A file whose
results differ is not written. The command requires the extra `onnx`: pip install -e .[onnx].
"""

import argparse
import json

from etils import epath

from chimp_jax.members import Member, find_members
from data_prep.files import write_whole


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance export', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('member', help='folder of the member: RUNS/RECIPE/fold_K')
    parser.add_argument('--out', required=True, help='NAME.onnx; writes NAME.backbone.onnx and NAME.head.onnx')
    return parser


def run(options: argparse.Namespace) -> int:
    out = epath.Path(options.out)
    if out.suffix != '.onnx':
        raise ValueError(f'--out requires a name that ends in .onnx, not {options.out}')
    member = load_member(options.member)
    try:
        from chimp_jax.models.onnx_export import DistanceModel, export
    except ImportError as error:
        raise ValueError(
            f'export requires the extra onnx ({error}); install it with: pip install chimp_jax[onnx]'
        ) from None
    data = member.config.data
    note = {'recipe': member.recipe, 'fold': str(member.fold), 'step_s': str(data.step_s)}
    note['member'] = json.dumps(json.loads((member.folder / 'member.json').read_text()))
    graphs = export(DistanceModel(**member.config.model), member.weights(), data.size_px, data.n_frames, note)
    for name, graph in graphs.items():
        path = out.with_suffix(f'.{name}.onnx')
        write_whole(path, graph.SerializeToString())
        print(f'{path}: {path.stat().length / 1e6:.1f} MB')
    return 0


def load_member(folder) -> Member:
    """Returns the member in RUNS/RECIPE/fold_K. Raises ValueError if the folder holds no finished member."""
    folder = epath.Path(folder)
    if not (folder / 'member.json').exists():
        raise ValueError(f'{folder} holds no finished member; give a folder RUNS/RECIPE/fold_K with member.json')
    runs = folder.resolve().parent.parent
    return next(member for member in find_members(runs) if member.folder.resolve() == folder.resolve())
