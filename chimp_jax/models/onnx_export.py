"""A member as two ONNX files: python -m chimp_jax.models.onnx_export runs/full-a4p50-f7s1/fold_0 --out model.onnx

Writes model.backbone.onnx and model.head.onnx, for ONNX Runtime, OpenVINO, R, phones, browsers:

    backbone: frames [N, S, S, 3] uint8 RGB, S as `size_px` in the file's metadata -> features [N, 1280] float32
    head:     windows [N, T, 1280] float32, T = `n_frames` features `step_s` seconds apart -> distance [N] metres

Frames are resized as in training: bilinear, half-pixel centres, no antialiasing, aspect ratio ignored, then floor.
Both are run by ONNX Runtime and compared with the Flax model before they are written: a file that is off is refused.
Needs the extra `onnx`: pip install -e .[onnx].
"""

import argparse
import json
import sys
from typing import Any

from chimp_jax import runtime

if __name__ == '__main__':
    runtime.configure()

import jax  # noqa: E402  (it must start after runtime.configure)
import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from etils import epath  # noqa: E402

from chimp_jax.members import Member, find_members  # noqa: E402
from chimp_jax.models.distance_model import DistanceModel  # noqa: E402
from chimp_jax.models.onnx_graph import backbone_graph, head_graph  # noqa: E402
from chimp_jax.train import make_model  # noqa: E402

TOLERANCE = 1e-4  # of the largest value, or of 1 where all are smaller


def load_member(folder) -> Member:
    """The member whose folder this is, RUNS/RECIPE/fold_K. Raises ValueError where it is none that is finished."""
    folder = epath.Path(folder)
    if not (folder / 'member.json').exists():
        raise ValueError(f'{folder} is no finished member: give RUNS/RECIPE/fold_K that holds member.json')
    runs = folder.resolve().parent.parent
    return next(member for member in find_members(runs) if member.folder.resolve() == folder.resolve())


def export(
    model: DistanceModel, weights: dict[str, Any], size_px: int, n_frames: int, note: dict[str, str]
) -> dict[str, onnx.ModelProto]:
    """{'backbone', 'head'}, compared with the model in float32; `note` and the shapes stand in their metadata.

    Raises ValueError where ONNX Runtime's results differ from the Flax model's by more than TOLERANCE.
    """
    model = model.clone(dtype=np.float32)
    graphs = {'backbone': backbone_graph(model, weights, size_px), 'head': head_graph(weights)}
    note = note | {'size_px': str(size_px), 'n_frames': str(n_frames)}
    for graph in graphs.values():
        onnx.helper.set_model_props(graph, note)
    for name, error in compare(graphs, model, weights, size_px, n_frames).items():
        if not error <= TOLERANCE:  # also where it is no number
            raise ValueError(f'the {name} as ONNX differs from the Flax model by {error:.1e}, more than {TOLERANCE}')
    return graphs


def compare(graphs: dict[str, onnx.ModelProto], model: DistanceModel, weights, size_px: int, n_frames: int) -> dict:
    """Largest difference of each graph's results from the Flax model's, relative to their largest value or to 1."""
    rng = np.random.default_rng(0)
    # Not noise alone: its frames look all the same to the last layers.
    frames = rng.integers(0, 256, (n_frames, 1, 1, 3)) * rng.uniform(0, 1, (n_frames, size_px, size_px, 1))
    frames = frames.astype(np.uint8)
    features = jax.jit(lambda w, x: model.apply(w, x[None], method='encode')[0])(weights, frames)
    windows = np.stack([features, features[::-1]])
    distance = jax.jit(lambda w, x: model.apply(w, x, method='distance'))(weights, windows)
    pairs = {
        'backbone': (run(graphs['backbone'], frames), np.asarray(features)),
        'head': (run(graphs['head'], windows), np.asarray(distance)),
    }
    return {name: float(np.abs(a - b).max() / max(1.0, np.abs(b).max())) for name, (a, b) in pairs.items()}


def run(graph: onnx.ModelProto, array: np.ndarray) -> np.ndarray:
    """The graph's one output for its one input, by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: array})[0]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('member', help='RUNS/RECIPE/fold_K')
    parser.add_argument('--out', required=True, help='NAME.onnx: NAME.backbone.onnx and NAME.head.onnx are written')
    options = parser.parse_args(arguments)
    out = epath.Path(options.out)
    if out.suffix != '.onnx':
        raise ValueError(f'--out wants a name that ends in .onnx, not {options.out}')
    member = load_member(options.member)
    data = member.config.data
    note = {'recipe': member.recipe, 'fold': str(member.fold), 'step_s': str(data.step_s)}
    note['member'] = json.dumps(json.loads((member.folder / 'member.json').read_text()))
    graphs = export(make_model(member.config), member.weights(), data.size_px, data.n_frames, note)
    out.parent.mkdir(parents=True, exist_ok=True)
    for name, graph in graphs.items():
        path = out.with_suffix(f'.{name}.onnx')
        unfinished = path.with_suffix('.tmp')
        unfinished.write_bytes(graph.SerializeToString())
        unfinished.replace(path)
        print(f'{path}: {path.stat().length / 1e6:.1f} MB')


if __name__ == '__main__':
    runtime.start_logging()
    try:
        main()
    except (ValueError, OSError) as failure:
        sys.exit(f'chimp_jax.models.onnx_export: {failure}')
