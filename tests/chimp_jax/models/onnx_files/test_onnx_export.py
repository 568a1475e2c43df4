"""Exported graphs give the results of the Flax model. A graph with other results is refused."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import small

from chimp_jax import checkpoint, optim, steps
from chimp_jax.commands import entry
from chimp_jax.models.distance_model import DistanceModel
from chimp_jax.models.efficientnet import Stage
from chimp_jax.models.onnx_files import export as onnx_export
from chimp_jax.models.onnx_files import graph as onnx_graph
from configs import base

# Strides and kernels of both kinds, with and without expansion and skip, on odd and even maps.
STAGES = (Stage(1, 3, 1, 32, 16, 1), Stage(2, 5, 2, 16, 24, 6), Stage(2, 3, 2, 24, 32, 6))


def model(**settings) -> DistanceModel:
    return DistanceModel(lstm_units=8, dense_units=6, stages=STAGES, **settings)


def weights(model: DistanceModel, seed: int = 0) -> dict:
    """Returns random values for all variables; those of kernels keep the size of a layer's outputs."""
    rng = np.random.default_rng(seed)
    inputs = {'frames': jnp.zeros((1, 1, 32, 32, 3), jnp.uint8), 'window': jnp.zeros((1, 1, 1), jnp.int32)}
    if model.regions:
        inputs['boxes'] = jnp.zeros((1, 1, 1, 5))
    shapes = jax.eval_shape(functools.partial(model.init, jax.random.key(seed), **inputs))

    def value(path, array):
        name = path[-1].key
        if name in ('scale', 'var'):
            return rng.uniform(0.5, 1.5, array.shape).astype(np.float32)
        if name in ('bias', 'mean'):
            return rng.normal(0, 0.1, array.shape).astype(np.float32)
        return rng.normal(0, np.prod(array.shape[:-1]) ** -0.5, array.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(value, shapes)


@pytest.mark.parametrize(
    'settings,size_px',
    [({}, 37), ({}, 64), ({'backbone': 'efficientnet_lite0'}, 37), ({'normalization': 'imagenet'}, 64)],
    ids=['b0-37', 'b0-64', 'lite0', 'imagenet'],
)
def test_both_graphs_equal_the_flax_model(settings, size_px):
    mine = model(**settings)
    values = weights(mine)
    graphs = onnx_export.export(mine, values, size_px, 5, {})
    rng = np.random.default_rng(1)
    brightness = np.linspace(0.1, 1, 6)[:, None, None, None]
    frames = (brightness * rng.integers(0, 256, (6, size_px, size_px, 3))).astype(np.uint8)
    positions = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [5, 5, 5, 0, 0]])
    expected = jax.jit(mine.apply)(values, frames=frames[None], window=positions[None])[0]  # both halves at once
    (features,) = onnx_export.run_onnx(graphs['backbone'], frames)
    (distance,) = onnx_export.run_onnx(graphs['head'], features[positions])
    assert features.shape == (6, 1280) and distance.shape == (3,)
    np.testing.assert_allclose(distance, expected, atol=1e-5)
    whole = jax.jit(functools.partial(mine.apply, method='encode'))(values, frames=frames[None])[0]
    np.testing.assert_allclose(features, whole, atol=1e-5 * np.abs(whole).max())
    assert np.ptp(features, axis=0).max() > 1e-3 * np.abs(whole).max()  # the frames have different features


def test_graphs_with_regions_equal_the_flax_model():
    """The last layer of the branch starts at zero, so `weights` alone would not show it."""
    mine, rng, size_px = model(regions=True), np.random.default_rng(1), 37
    values = weights(mine)
    delta = values['params']['region_branch']['delta']
    delta['kernel'] = rng.normal(0, 0.1, delta['kernel'].shape).astype(np.float32)
    graphs = onnx_export.export(mine, values, size_px, 5, {})
    frames = rng.integers(0, 256, (6, size_px, size_px, 3)).astype(np.uint8)
    boxes = np.zeros((6, 2, 5), np.float32)
    boxes[:, 0] = (0.1, 0.3, 0.45, 0.999, 0.7)
    boxes[2:5, 1] = (0.0, 0.0, 1.0, 1.0, 0.2)
    positions = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
    expected = jax.jit(mine.apply)(values, frames=frames[None], window=positions[None], boxes=boxes[None])[0]
    (tokens,) = onnx_export.run_onnx(graphs['backbone'], frames, boxes)
    assert tokens.shape == (6, 3, 1280)
    for place in range(3):
        (distance,) = onnx_export.run_onnx(graphs['head'], tokens[positions, place])
        np.testing.assert_allclose(distance, expected[:, place], atol=1e-5)
    assert np.abs(tokens[:, 1:] - tokens[:, :1]).max(axis=(1, 2)).min() > 0.1
    np.testing.assert_array_equal(tokens[0, 2], tokens[0, 0])


def test_the_graph_is_made_of_real_convolutions():
    """Stem, top, one block with two convolutions, four blocks with three, and two in the gate of each block."""
    graph = onnx_export.export(model(), weights(model()), 32, 3, {'recipe': 'x'})['backbone']
    convolutions = [node for node in graph.graph.node if node.op_type == 'Conv']
    groups = [attribute.i for node in convolutions for attribute in node.attribute if attribute.name == 'group']
    assert len(convolutions) == 2 + 2 + 4 * 3 + 5 * 2
    assert sorted(group for group in groups if group > 1) == [32, 96, 144, 144, 192]  # and 16, 24, 24, 32 times 6
    assert {'BatchNormalization', 'Pad', 'Slice'}.isdisjoint(node.op_type for node in graph.graph.node)
    noted = {prop.key: prop.value for prop in graph.metadata_props}
    assert noted == {'recipe': 'x', 'size_px': '32', 'n_frames': '3'}


def test_a_graph_with_other_results_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_graph, 'BN_EPSILON', 2e-3)
    with pytest.raises(ValueError, match='the ONNX backbone differs from the Flax model by'):
        onnx_export.export(model(), weights(model()), 32, 3, {})


def member(runs: Path) -> Path:
    """A finished member with random weights of the small model."""
    config = base.get_config('full-a1p50-f7s2')
    config.data.size_px = small.SIZE_PX
    folder = runs / 'full-a1p50-f7s2' / 'fold_1'
    state = steps.initial_state(
        small.model(), optim.make_optimizer(0.9, 0.999, 1e-7), optim.make_plateau(1e-3, 0.5, 3, 1e-4, 1e-8), 0
    )
    with checkpoint.open_manager(folder / 'checkpoints') as manager:
        checkpoint.save(manager, state, [{'epoch': 1, 'val_mae': 2.0}])
    (folder.parent / 'config.json').write_text(config.to_json_best_effort())
    row = {'recipe': 'full-a1p50-f7s2', 'fold': 1, 'best_epoch': 1, 'val_mae': 2.0, 'folds_sha256': ''}
    (folder / 'member.json').write_text(json.dumps(row))
    return folder


def test_the_command_writes_both_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_export, 'DistanceModel', small.model)
    arguments = [str(member(tmp_path / 'runs')), '--out', str(tmp_path / 'new' / 'model.onnx')]
    assert entry.main(['export', *arguments]) == 0
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == ['model.backbone.onnx', 'model.head.onnx']
    backbone = onnx.load(tmp_path / 'new' / 'model.backbone.onnx')
    noted = {prop.key: prop.value for prop in backbone.metadata_props}
    assert json.loads(noted.pop('member'))['val_mae'] == 2.0
    assert noted == {'recipe': 'full-a1p50-f7s2', 'fold': '1', 'step_s': '2', 'size_px': '32', 'n_frames': '7'}
    assert 'model.head.onnx' in capsys.readouterr().out


def test_a_folder_without_a_member_is_refused_in_one_line(tmp_path, capsys):
    for out, message in (
        ('model.onnx', 'holds no finished member; give a folder RUNS/RECIPE/fold_K'),
        ('model', 'requires a name that ends in .onnx'),
    ):
        assert entry.main(['export', str(tmp_path), '--out', str(tmp_path / out)]) == 1
        assert message in capsys.readouterr().err


def test_a_member_without_an_lstm_is_refused():
    with pytest.raises(ValueError, match="model.temporal=lstm can be exported; this one has 'mean'"):
        onnx_export.export(DistanceModel(temporal='mean'), {}, 32, 7, {})
