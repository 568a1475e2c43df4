"""The exported detector gives the boxes and scores of a second implementation. A wrong graph is refused."""

import jax
import numpy as np
import onnx
import pytest
from yolox_twin import YoloXTwin

from chimp_jax.commands import entry
from chimp_jax.models import detector, detector_weights
from chimp_jax.models.onnx_files import detector as onnx_detector
from chimp_jax.models.onnx_files import export as onnx_export

SIZE_PX = 64
N_CELLS = 8 * 8 + 4 * 4 + 2 * 2


@pytest.fixture(scope='module')
def pictures():
    return np.random.default_rng(1).integers(0, 256, (3, SIZE_PX, SIZE_PX, 3), np.uint8)


@pytest.fixture(scope='module')
def twin(pictures):
    """Parameters of yolox.py with random weights, and the boxes and scores of the TensorFlow twin."""
    twin = YoloXTwin()
    outputs = twin(pictures)
    return detector.to_parameters(detector_weights.convert(twin.tensors)), *outputs


def test_the_graph_equals_the_twin_and_the_flax_model(twin, pictures):
    parameters, expected_boxes, expected_scores = twin
    graph = onnx_export.export_detector(parameters, SIZE_PX, {'weights': 'x'})  # compares with the Flax model
    boxes, scores = onnx_export.run_onnx(graph, pictures)
    assert boxes.shape == (3, N_CELLS, 4) and scores.shape == (3, N_CELLS)
    np.testing.assert_allclose(scores, expected_scores, atol=2e-4)
    assert np.ptp(scores) > 0.5
    # Random weights give boxes of any size, so the tolerance is a share of the size.
    size = np.abs(expected_boxes[..., 2:] - expected_boxes[..., :2]).max(-1, keepdims=True)
    assert (np.abs(boxes - expected_boxes) <= 2e-3 * (8 + size)).all()
    assert {prop.key: prop.value for prop in graph.metadata_props} == {'weights': 'x', 'size_px': '64'}


def test_a_graph_with_other_results_is_refused(twin, monkeypatch):
    """The class logits of stride 32 have the wrong sign: 4 of 84 scores differ, and no box."""
    cells = onnx_detector._cells

    def negated(graph, head, level, x):
        sizes, objects, classes = cells(graph, head, level, x)
        return [sizes, objects, graph.node('Neg', classes) if level == 2 else classes]

    monkeypatch.setattr(onnx_detector, '_cells', negated)
    with pytest.raises(ValueError, match='the ONNX detector .scores. differs from the Flax model by'):
        onnx_export.export_detector(twin[0], SIZE_PX, {})


def test_small_scores_are_compared_by_their_own_size(twin):
    """In a picture without animals all scores are small. A graph with half of these scores is wrong."""
    parameters = jax.tree.map(np.array, twin[0])

    def add_to_object_logits(value):
        for level in range(3):
            parameters['head'][f'obj_preds_{level}']['bias'] += np.float32(value)

    add_to_object_logits(-8)
    graph = onnx_export.export_detector(parameters, SIZE_PX, {})
    add_to_object_logits(np.log(2))  # almost doubles sigmoid(-8 + x)
    errors = onnx_export.compare_detector(graph, parameters, SIZE_PX)
    assert 0.01 < errors['detector (scores)'] <= 0.5
    assert errors['detector (boxes)'] < onnx_export.TOLERANCE


def test_the_command_writes_one_file(twin, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(detector, 'read_detector', lambda: twin[0])
    monkeypatch.setattr(detector, 'SIZE_PX', SIZE_PX)
    out = tmp_path / 'new' / 'detector.onnx'
    assert entry.main(['export', '--detector', '--out', str(out)]) == 0
    assert [path.name for path in out.parent.iterdir()] == ['detector.onnx']
    noted = {prop.key: prop.value for prop in onnx.load(out).metadata_props}
    assert noted.pop('weights').endswith('yolox_tiny_640_20220528.pth of zamba==2.7.2')
    assert noted.pop('weights_sha256').startswith('31f8690f')
    assert noted == {'size_px': '64', 'least_score': '0.25', 'most_overlap': '0.45'}  # as zamba
    assert 'detector.onnx: 20.' in capsys.readouterr().out  # 5.02 million parameters of 4 bytes are 20.1 MB


def test_without_weights_the_command_names_the_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert entry.main(['export', '--detector', '--out', str(tmp_path / 'detector.onnx')]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('export failed: ') and line.endswith('fetch them with: chimp-distance fetch detector')


@pytest.mark.parametrize(
    ('what', 'message'), [([], 'required'), (['runs/x/fold_0', '--detector'], 'not allowed with argument')]
)
def test_the_command_takes_a_member_or_the_detector(what, message, capsys):
    with pytest.raises(SystemExit):
        entry.main(['export', *what, '--out', 'x.onnx'])
    assert message in capsys.readouterr().err
