"""A quantised graph differs from the float32 graph by no more than its steps allow; a worse one is not written."""

import numpy as np
import onnx
import pytest
import small
from onnx import TensorProto, helper, numpy_helper
from test_onnx_export import member

from chimp_jax.commands import entry
from chimp_jax.models.onnx_files import export as onnx_export
from chimp_jax.models.onnx_files.int8 import Windows, quantize_backbone, run_windows
from chimp_jax.models.onnx_files.nodes import OnnxGraph

SIZE_PX, CHANNELS = 6, 8


def one_convolution(kernel: np.ndarray) -> onnx.ModelProto:
    """Frames -> the mean of a 1x1 convolution [N, 8], in the manner of graph.backbone_graph."""
    graph = OnnxGraph()
    x = graph.node('Cast', graph.node('Transpose', 'frames', perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    x = graph.node('Conv', x, graph.constant(kernel), kernel_shape=[1, 1])
    graph.node('Flatten', graph.node('GlobalAveragePool', x), output='features')
    frames = helper.make_tensor_value_info('frames', TensorProto.UINT8, ['N', SIZE_PX, SIZE_PX, 3])
    features = helper.make_tensor_value_info('features', TensorProto.FLOAT, ['N', CHANNELS])
    made = graph.model('backbone', [frames], [features])
    helper.set_model_props(made, {'recipe': 'x'})
    return made


def test_the_error_is_within_the_steps_of_quantisation():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (20, SIZE_PX, SIZE_PX, 3), np.uint8)
    frames[0, 0, 0] = 255
    # Channels of very different sizes: one scale for all of them would lose the small ones.
    kernel = (rng.normal(0, 1, (CHANNELS, 3, 1, 1)) * 10.0 ** -np.arange(CHANNELS)[:, None, None, None]).astype('f4')
    graph = one_convolution(kernel)
    quantized = quantize_backbone(graph, Windows(frames, None, np.zeros((0, 1), int)))
    (exact,), (found,) = (onnx_export.run_onnx(one, frames) for one in (graph, quantized))
    # Weights have 64 steps to each side. Pixels and both maps have 255 steps from the least to the largest value or 0.
    maps = np.einsum('nhwc,fc->nhwf', frames.astype(float), kernel[:, :, 0, 0])
    half_step_of_weights = np.abs(kernel).max(axis=(1, 2, 3)) / 64 / 2
    step_of_maps = (max(maps.max(), 0) - min(maps.min(), 0)) / 255
    of_weights = 3 * 255 * half_step_of_weights
    of_pixels = np.abs(kernel).sum(axis=(1, 2, 3)) * 0.5
    bound = of_weights + of_pixels + 2 * step_of_maps
    error = np.abs(found - exact).max(axis=0)
    assert (error <= bound).all() and error.max() > 0
    (weights,) = [
        numpy_helper.to_array(one)
        for one in quantized.graph.initializer
        if one.data_type == TensorProto.INT8 and one.dims[0] == CHANNELS and len(one.dims) == 4
    ]
    # Each channel uses all of its steps, so each has a scale of its own.
    assert np.abs(weights.astype(int)).max(axis=(1, 2, 3)).min() >= 63
    assert {prop.key: prop.value for prop in quantized.metadata_props} == {'recipe': 'x'}


def test_frames_are_calibrated_some_at_a_time():
    calls = list(Windows(np.zeros((19, 2, 2, 3), np.uint8), np.arange(19.0), np.zeros((0, 1))).calls())
    assert [len(call['frames']) for call in calls] == [8, 8, 3] == [len(call['boxes']) for call in calls]
    assert calls[2]['boxes'].tolist() == [16, 17, 18]


@pytest.fixture(scope='module')
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp('records')
    small.write_data(folder)
    return folder


def test_the_command_writes_int8_with_its_error_and_refuses_a_large_one(records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_export, 'DistanceModel', small.model)
    arguments = [
        'export',
        str(member(tmp_path / 'runs')),
        '--out',
        str(tmp_path / 'model.onnx'),
        '--int8',
        str(records),
    ]
    assert entry.main([*arguments, '--most_error', '0']) == 1
    assert 'on average, more than --most_error=0; export float32' in capsys.readouterr().err
    assert not list(tmp_path.glob('*.onnx'))

    assert entry.main([*arguments, '--most_error', '100']) == 0
    names = sorted(path.name for path in tmp_path.glob('*.onnx'))
    assert names == ['model.backbone.int8.onnx', 'model.backbone.onnx', 'model.head.onnx']
    whole, quantized, head = (onnx.load(tmp_path / name) for name in (names[1], names[0], names[2]))
    noted = {prop.key: prop.value for prop in quantized.metadata_props}
    assert (noted['precision'], noted['recipe'], noted['size_px']) == ('int8', 'full-a1p50-f7s2', '32')
    # Clips 0, 2 and 4 calibrate; clips 1, 3 and 5 are compared, with windows of 7 frames at their 4 targets.
    assert 'changes the distances of 12 windows' in capsys.readouterr().out
    frames = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    windows = Windows(frames, None, np.arange(7)[None] + np.arange(3)[:, None])
    change_m = np.abs(run_windows(quantized, head, windows) - run_windows(whole, head, windows))
    assert 0 < change_m.max() < 1
    assert 0 < float(noted['int8_mean_change_m']) <= float(noted['int8_largest_change_m'])


def test_int8_is_of_a_member(tmp_path, capsys):
    assert entry.main(['export', '--detector', '--out', str(tmp_path / 'd.onnx'), '--int8', str(tmp_path)]) == 1
    assert '--int8 requires a member' in capsys.readouterr().err
