"""The picture of one clip."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from chimp_jax.field.pictures import clip_figure
from chimp_jax.field.pictures.clip_figure import draw_clip, even_places
from chimp_jax.field.pictures.palette import ON_LIGHT


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', (64, 36), (shade,) * 3).save(file, 'JPEG')
    return file.getvalue()


@pytest.fixture
def figures(monkeypatch):
    """The drawn figures, kept open for the test."""
    kept = []
    monkeypatch.setattr(clip_figure.plt, 'close', kept.append)
    yield kept
    monkeypatch.undo()
    plt.close('all')


def test_bands_frames_and_legend(tmp_path, figures):
    member_m = np.array([[1.0, 3.0], [2.0, 6.0], [4.0, 4.0]])  # means 2, 4, 4; standard deviations 1, 2, 0
    draw_clip(tmp_path / 'x.png', [0, 1, 2], [2, 4, 4], member_m, [0, 2], [jpeg(0), jpeg(255)], 'a <clip> $.mp4')
    assert Image.open(tmp_path / 'x.png').format == 'PNG'
    (figure,) = figures
    top, *strip = figure.axes
    assert [s.get_title() for s in strip] == ['2.0 m', '4.0 m']
    assert [s.get_xlabel() for s in strip] == ['0 s', '2 s']
    assert [int(s.images[0].get_array().mean()) for s in strip] == [0, 255]
    band, deviation = (c.get_paths()[0].vertices for c in top.collections)
    # The extents: members from 1 to 6; mean +- 1 sd: 1..3, 2..6, 4..4.
    assert (band[:, 1].min(), band[:, 1].max()) == (1, 6)
    assert {(x, y) for x, y in deviation.tolist()} == {(0, 1), (0, 3), (1, 2), (1, 6), (2, 4)}
    assert [t.get_text() for t in top.get_legend().get_texts()] == [
        'range of 2 members', 'one standard deviation to each side', 'distance'
    ]  # fmt: skip


def test_bands_end_at_a_missing_distance(tmp_path, figures):
    distance_m = np.array([3, 3, np.nan, 5, np.nan])
    draw_clip(tmp_path / 'x.png', range(5), distance_m, distance_m[:, None] + [0, 1], [2], [jpeg(9)], 'x')
    top, below = figures[0].axes
    assert below.get_title() == 'no distance'
    extents = [(p.vertices[:, 0].min(), p.vertices[:, 0].max()) for c in top.collections for p in c.get_paths()]
    alone = pytest.approx((2.825, 3.175))  # second 3 has no neighbour: a bar of 0.35 of a second
    assert extents == [(0, 1), alone, (0, 1), alone]
    assert [t.get_text() for t in top.get_legend().get_texts()][-1] == 'no distance'


@pytest.mark.parametrize(('n', 'members', 'k'), [(1, 1, 1), (1, 3, 0), (60, 1, 60), (900, 4, 900)])
def test_any_length(tmp_path, figures, n, members, k):
    frames = np.zeros((k, 18, 32, 3), np.uint8)
    draw_clip(tmp_path / 'x.png', np.arange(n), np.full(n, 4.0), np.full((n, members), 4.0), range(k), frames, 'x')
    assert len(figures[0].axes) == 1 + min(k, 8)
    assert len(figures[0].axes[0].collections) == (0 if members == 1 else 2)


def test_nothing_known(tmp_path):
    draw_clip(tmp_path / 'x.png', [0, 1], [np.nan] * 2, np.full((2, 3), np.nan), [], [], 'x')
    assert (tmp_path / 'x.png').stat().st_size > 1000


def test_even_places():
    assert even_places(3, 8) == [0, 1, 2] and even_places(0, 8) == []
    assert even_places(15, 8) == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize(
    ('times_s', 'distance_m', 'member_m', 'seconds', 'frames'),
    [
        ([], [], np.zeros((0, 2)), [], []),
        ([0, 1], [2], np.zeros((2, 2)), [], []),
        ([0], [2], np.zeros((2, 2)), [], []),
        ([0], [2], np.zeros(1), [], []),
        ([0], [2], np.zeros((1, 2)), [0, 1], [jpeg(0)]),
    ],
)
def test_shapes_that_do_not_fit(tmp_path, times_s, distance_m, member_m, seconds, frames):
    with pytest.raises(ValueError, match='the picture requires|got 2 seconds'):
        draw_clip(tmp_path / 'x.png', times_s, distance_m, member_m, seconds, frames, 'x')
    assert not (tmp_path / 'x.png').exists()


def lines_of(axes) -> dict[str, list[tuple[float, float]]]:
    """The lines of the legend beside the chart: {label: points}, a gap is None."""
    points = {line.get_label(): line.get_xydata().tolist() for line in axes.get_lines()}
    return {label: [None if np.isnan(x) else (x, y) for x, y in xy] for label, xy in points.items()}


def test_each_animal_has_a_line_and_a_box(tmp_path, figures):
    times_s, animal = [0, 0, 1, 2, 4], ['1', '2', '1', '2', '1']
    distance_m = np.array([3.0, 8, 4, 7, 5])
    box = np.full((5, 4), np.nan)
    box[:2] = [[0.25, 0.5, 0.5, 0.75], [0.5, 0, 1, 1]]
    draw_clip(
        tmp_path / 'x.png', times_s, distance_m, distance_m[:, None] + [-1, 1], [0, 4], [jpeg(0), jpeg(9)], 'x',
        animal=animal, box=box, note='A note.',
    )  # fmt: skip
    top, first, last = figures[0].axes
    lines = lines_of(top)
    assert lines['animal 1'] == [(0, 3), (1, 4), None, (4, 5)]  # without a row in seconds 2 and 3
    assert lines['animal 2'] == [(0, 8), None, (2, 7)]
    colours = [line.get_color() for line in top.get_lines()][:2]
    assert colours == [ON_LIGHT[0], ON_LIGHT[1]]
    assert [(t.get_text(), t.xy) for t in top.texts] == [('1', (4, 5)), ('2', (2, 7))]  # at the ends, the lowest first
    assert first.get_title() == '1: 3.0 m\n2: 8.0 m' and last.get_title() == '1: 5.0 m'
    # The pictures are 64 x 36.
    assert [(*p.get_xy(), p.get_width(), p.get_height()) for p in first.patches] == [(16, 18, 16, 9), (32, 0, 32, 36)]
    assert [t.get_text() for t in first.texts] == ['1', '2'] and not last.patches
    assert 'A note.' in [t.get_text() for t in figures[0].texts]
    # One standard deviation is 1 m. Animal 1: a band over 0 and 1 s and a bar at 4 s; animal 2: two bars.
    extents = [p.vertices for c in top.collections for p in c.get_paths()]
    assert [(v[:, 1].min(), v[:, 1].max()) for v in extents] == [(2, 5), (4, 6), (7, 9), (6, 8)]


def test_many_animals_and_odd_names(tmp_path, figures):
    names = ['$x$ <b>', 'A very long name of an animal', *map(str, range(1, 19))]
    member_m = np.arange(1.0, 21)[:, None] + [0, 1]
    draw_clip(
        tmp_path / 'x.png', np.zeros(20, int), member_m.mean(1), member_m, [0], [jpeg(0)], 'x', animal=names,
        box=np.tile([0.1, 0.1, 0.9, 0.9], (20, 1)),
    )  # fmt: skip
    top, below = figures[0].axes
    assert below.get_title() == '1: 3.5 m\n2: 4.5 m\n3: 5.5 m\nand 17 more'  # in the order of the names
    assert len(below.patches) == 20 and len(top.texts) == 20
    heights = sorted(t.xy[1] for t in top.texts)
    assert min(np.diff(heights)) > 0.03 * top.get_ylim()[1]  # the names do not cover each other


def test_wrong_shapes_of_animals_and_boxes(tmp_path):
    for more in ({'animal': ['1', '2']}, {'box': np.zeros((1, 3))}):
        with pytest.raises(ValueError, match='animals and'):
            draw_clip(tmp_path / 'x.png', [0], [2], np.zeros((1, 2)), [], [], 'x', **more)
