"""Moves of a camera: backgrounds and shifts by hand, epochs of small stations, rates on simulated stations."""

import numpy as np
import pytest
from make_clips import SHARED_CLIPS
from PIL import Image
from scipy import ndimage

from bench import camera_moves
from chimp_jax.stations.movement import background, find_moves
from chimp_jax.stations.picture_shift import COMPARABLE, shift_px

HEIGHT, MARGIN = 360, 64


def scene(seed: int) -> np.ndarray:
    """Returns a texture larger than a background, [488, 768], 0..1."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT + 2 * MARGIN, 640 + 2 * MARGIN))
    smooth = ndimage.gaussian_filter(noise, 2)
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


SCENES = [scene(seed) for seed in range(3)]
take = np.random.default_rng(9)


def view(right: int = 0, down: int = 0, of: np.ndarray = SCENES[0]) -> np.ndarray:
    """Returns a background in which the scene lies `right` and `down` pixels from where it lies in view()."""
    rows, columns = MARGIN - down, MARGIN - right
    cut = of[rows : rows + HEIGHT, columns : columns + 640] * 200 + take.normal(0, 4, (HEIGHT, 640))
    return np.clip(cut, 0, 255).astype(np.uint8)


DARK = np.full((HEIGHT, 640), 3, np.uint8)


def test_background_is_the_median_at_640_px():
    greys = np.array([10, 200, 20], np.uint8)
    frames = np.broadcast_to(greys[:, None, None, None], (3, 90, 160, 3))
    found = background(frames)
    assert found.shape == (360, 640) and found.dtype == np.uint8 and (found == 20).all()
    assert (background(frames[..., 0]) == found).all()


def test_background_of_a_long_clip_uses_both_ends():
    frames = np.zeros((101, 36, 64), np.uint8)
    frames[1:100] = np.arange(1, 100, dtype=np.uint8)[:, None, None]
    frames[100] = 100
    # 20 frames from 0 to 100: 0, 5, 11, ..., 47, 53, ..., 100. The middle two are 47 and 53.
    assert (background(frames) == 50).all()


def test_an_animal_in_less_than_half_of_the_frames_is_not_in_the_background():
    frames = np.full((9, 36, 64), 100, np.uint8)
    frames[:4, 10:20, 10:20] = 255
    assert (background(frames) == 100).all()


@pytest.mark.parametrize('frames', [np.zeros((0, 4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((2, 4, 4))])
def test_frames_are_checked(frames):
    with pytest.raises(ValueError, match='give uint8 frames'):
        background(frames)


@pytest.mark.parametrize(('right', 'down'), [(0, 0), (12, 0), (0, 9), (-20, 5), (40, -30), (1, 2)])
def test_shift_of_a_cut_picture(right, down):
    found = shift_px(view(right, down), view())
    assert found.confidence > 3 * COMPARABLE and abs(found.roll_px) < 1
    assert (found.dx_px, found.dy_px) == pytest.approx((right, down), abs=0.5)


def test_light_does_not_matter():
    picture = view(16, -8)
    inverted = 255 - picture  # as leaves in infrared
    half_dark = np.where(np.arange(640) < 300, picture, picture // 4)
    bright = (255 * (picture / 255) ** 0.4).astype(np.uint8)
    for other in (inverted, half_dark, bright):
        found = shift_px(other, view())
        assert (found.dx_px, found.dy_px) == pytest.approx((16, -8), abs=0.5) and found.confidence > COMPARABLE


def test_an_info_bar_that_stays_does_not_hide_a_move():
    text = np.where(SCENES[2][:40, :640] > 0.5, 255, 0)
    pictures = [view(10, 6), view()]
    for picture in pictures:
        picture[-40:], picture[:24] = text, text[:24]
    found = shift_px(*pictures)
    assert (found.dx_px, found.dy_px) == pytest.approx((10, 6), abs=0.5)


def test_other_scenes_and_dark_pictures_have_no_confidence():
    noise = take.normal(3, 2, (2, HEIGHT, 640)).clip(0, 255).astype(np.uint8)
    for one, other in ((view(), view(of=SCENES[1])), (view(), DARK), (DARK, DARK), (noise[0], noise[1])):
        assert shift_px(one, other).confidence < COMPARABLE - 3


def test_a_rolled_camera():
    # Counterclockwise by 2 degrees: the right edge, 320 px from the middle, rises by 320 tan(2 degrees) = 11.2 px.
    large = Image.fromarray((SCENES[0] * 200).astype(np.uint8))
    rolled = np.asarray(large.rotate(2, Image.Resampling.BICUBIC))[MARGIN:-MARGIN, MARGIN:-MARGIN]
    found = shift_px(np.ascontiguousarray(rolled), view())
    assert np.hypot(found.dx_px, found.dy_px) < 3 and found.roll_px == pytest.approx(-11.2, abs=2)
    moves = find_moves([view(), view(), rolled, rolled])
    assert moves.epochs == [0, 0, 1, 1]


def test_pictures_of_another_shape_are_refused():
    with pytest.raises(ValueError, match='cannot be compared'):
        shift_px(view(), view()[:300])
    with pytest.raises(ValueError, match='a background must be uint8'):
        shift_px(view()[:, :600], view())


def test_a_move_is_confirmed_by_a_second_clip():
    moves = find_moves([view(), view(2, 1), view(), view(16, 12), view(15, 12), view(16, 13)])
    assert moves == ([0, 0, 0, 1, 1, 1], ['', 'the picture shifted by 20 px'], {}, frozenset())


def test_one_clip_that_differs_is_doubtful():
    alone = 'the picture is shifted by 20 px, and no second clip confirms a move'
    assert find_moves([view(), view(), view(16, 12), view(), view()]) == (
        [0] * 5,
        [''],
        {2: alone},
        frozenset({2}),
    )
    last = find_moves([view(), view(), view(16, 12)])
    assert last == ([0] * 3, [''], {2: alone}, frozenset({2}))
    moves = find_moves([view(), view(16, 12), view(-30, 0), view()])  # two, but not at one place
    assert (moves.epochs, [*moves.doubtful]) == ([0] * 4, [1, 2])


def test_dark_clips_neither_make_nor_hide_a_move():
    moves = find_moves([view(), view(), DARK, None, view(0, 20), DARK, view(0, 20)])
    assert moves.epochs == [0, 0, 0, 0, 1, 1, 1] and [*moves.doubtful] == [2, 3, 5]
    assert 'may be dark' in moves.doubtful[2] and moves.doubtful[3] == 'there is no picture to compare'
    moves = find_moves([DARK, DARK, view(), view(), DARK, DARK])
    assert (moves.epochs, moves.starts, [*moves.doubtful]) == ([0] * 6, [''], [0, 1, 4, 5])


def test_many_small_moves_are_a_move():
    moves = find_moves([view(0, down) for down in (0, 3, 6, 9, 10, 9)])
    assert moves.epochs == [0, 0, 0, 1, 1, 1]


def test_a_camera_that_moves_back_has_three_epochs():
    moves = find_moves([view(down=down) for down in (0, 0, 20, 20, 0, 0)])
    assert moves.epochs == [0, 0, 1, 1, 2, 2] and not moves.doubtful


def test_an_entirely_different_picture_is_told():
    moves = find_moves([view(), view(), view(of=SCENES[1]), view(of=SCENES[1])])
    assert moves.epochs == [0, 0, 1, 1] and [*moves.doubtful] == [2]
    assert 'cannot be compared' in moves.starts[1]
    moves = find_moves([view(), view(), view(of=SCENES[1]), view(of=SCENES[1]), view()])  # and then as before
    assert moves.epochs == [0] * 5 and [*moves.doubtful] == [2, 3]


def test_nights_alone_do_not_make_an_epoch():
    pictures = [view(), view(), view(of=SCENES[1]), view(of=SCENES[1])]
    moves = find_moves(pictures, infrared=[False, False, True, True])
    assert moves.epochs == [0, 0, 0, 0] and [*moves.doubtful] == [2, 3]
    assert find_moves(pictures, infrared=[False, True, True, True]).epochs == [0, 0, 1, 1]
    with pytest.raises(ValueError, match='infrared for each of 4'):
        find_moves(pictures, infrared=[True])


def test_a_dark_night_before_the_next_day_makes_no_epoch():
    night, day = view(of=SCENES[1]), view()
    moves = find_moves([day, day, night, night, night, day, night, day])
    assert moves.epochs == [0] * 8 and [*moves.doubtful] == [2, 3, 4, 6]


def test_a_later_clip_places_a_night_that_could_not_be_compared():
    # Day on the left and night on the right half: this clip can be compared with both.
    both = np.where(np.arange(SCENES[0].shape[1]) < 384, *SCENES[:2])
    moves = find_moves([view(), view(of=SCENES[1], right=20), view(of=both, right=20)])
    assert moves.epochs == [0, 1, 1] and moves.starts[1] == 'the picture shifted by 20 px'


def test_a_second_camera_is_told():
    moves = find_moves([view(), view()[:320], view(), None])
    assert moves.epochs == [0] * 4 and [*moves.doubtful] == [1, 3]
    assert '(640 x 320 and 640 x 360)' in moves.doubtful[1]


def test_nothing_to_compare():
    assert find_moves([]) == ([], [''], {}, frozenset())
    assert find_moves([None, view()]).epochs == [0, 0]


def rates(draws) -> dict:
    """Measures a move of 8 px and a shift of 4 px, which is no move, with two clips before and two after."""
    recorded = [
        camera_moves.record(np.random.default_rng(i), '', draw, (4, 8), n_clips=2, widths_px=(320,))
        for i, draw in enumerate(draws)
    ]
    return camera_moves.measure(recorded)


def check(rows):
    assert rows['4']['pairs_moved'] <= 0.02 and rows['4']['stations_moved'] == 0
    assert rows['8']['pairs_moved'] >= 0.95 and rows['8']['stations_exact'] == 1


def test_rates_on_simulated_stations():
    check(rates(map(camera_moves.simulated_station, range(2))))


@pytest.mark.skipif(not SHARED_CLIPS.exists(), reason=f'there is no {SHARED_CLIPS}')
def test_rates_on_real_clips():
    check(rates(camera_moves.real_station(SHARED_CLIPS / name) for name in ('tai_11060025.AVI', 'chimp.mp4')))


def test_a_drawn_shift_has_its_size():
    rng = np.random.default_rng(0)
    drawn = np.array([camera_moves.draw_shift(rng, 40) for _ in range(50)])
    assert np.hypot(*drawn.T) == pytest.approx(np.full(50, 40.0)) and abs(drawn[:, 1]).max() <= 26
    assert (drawn[:, 0] < 0).any() and (drawn[:, 0] > 0).any()
