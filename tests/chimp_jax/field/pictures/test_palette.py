"""The colours of tracks: apart from each other with deficient colour vision too, and readable on their background."""

import itertools

import numpy as np
import pytest

from chimp_jax.field.pictures.palette import ON_DARK, ON_LIGHT, STROKES, TrackStyle, in_name_order, track_styles

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
VISION = {
    'normal': np.eye(3),
    'protan': [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    'deutan': [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    'tritan': [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
BACKGROUND = {ON_LIGHT: '#fffdf8', ON_DARK: '#1d231f'}  # --card of page.css


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x, y, z = (
        v ** (1 / 3) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29
        for v in TO_XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one: str, other: str) -> float:
    dark, light = sorted(TO_XYZ[1] @ linear(colour) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize('vision', VISION)
@pytest.mark.parametrize('colours', [ON_LIGHT, ON_DARK])
def test_colours_can_be_told_apart(colours, vision):
    seen = [lab(np.array(VISION[vision]) @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) >= 20


@pytest.mark.parametrize('colours', [ON_LIGHT, ON_DARK])
def test_colours_can_be_read(colours):
    assert contrast('#ffffff', '#000000') == pytest.approx(21)
    assert min(contrast(colour, BACKGROUND[colours]) for colour in colours) >= 3


def test_names_are_sorted_as_people_count():
    assert in_name_order(['10', 'b', '2', 'a10', 'a9', '1']) == ['1', '2', '10', 'a9', 'a10', 'b']


def test_styles_differ_and_do_not_depend_on_the_order():
    names = [str(k) for k in range(1, 21)]
    styles = track_styles(names)
    assert styles == track_styles(reversed(names)) and [*styles] == names
    assert len(set(styles.values())) == 20 <= len(ON_LIGHT) * len(STROKES)
    # Six colours: the seventh track has the first colour again, with the next stroke.
    assert styles['1'] == TrackStyle(0, 0) and styles['6'] == TrackStyle(5, 0) and styles['7'] == TrackStyle(0, 1)
    assert track_styles(['', '']) == {}
