"""The cards of the page: their order, the models' own pictures, known distances, errors by band, simulated members."""

import base64
import io

import numpy as np
import pandas as pd
import pytest
from make_clips import write_clip
from make_estimates import COLUMNS, walks, write_estimates
from PIL import Image
from test_page import report, row

from chimp_jax.field.page.choice import Choice, choose_cards, choose_others

EDGES_M = [0, 2, 4, 8]


def rows_of(*rows: dict) -> pd.DataFrame:
    return pd.DataFrame(rows).reindex(columns=COLUMNS).fillna({'flags': '', 'status': 'ok'})


def choose(rows: pd.DataFrame, edges_m, n_frames: int) -> Choice:
    cards = choose_cards([rows], edges_m, n_frames)
    return Choice(cards, choose_others(rows, cards, n_frames))


def pictures(page) -> dict[str, np.ndarray]:
    jpegs = {i['alt'].partition(':')[0]: base64.b64decode(i['src'].partition(',')[2]) for i in page.all('img')}
    return {name: np.asarray(Image.open(io.BytesIO(jpeg))) for name, jpeg in jpegs.items()}


def test_cards_take_turns_through_the_bins():
    # Doubt: spread / max(distance, 2). far1 has the widest interval, far3 the widest spread, and far2 the most doubt.
    rows = rows_of(
        row('far1', 0, 8.0, 0.0, 30.0, spread=0.8),  # 0.1, bin (4, 8]
        row('far2', 0, 5.0, 4.0, 6.0, spread=1.5),  # 0.3, bin (4, 8]
        row('far3', 0, 20.0, 9.0, 30.0, spread=2.0),  # 0.1, above all bins
        row('near', 0, 0.5, 0.0, 1.0, spread=0.1),  # 0.05, bin [0, 2]
        row('near', 1, 4.0, 0.0, 5.0, spread=0.1),  # 0.025
        row('middle', 3, 3.0, 1.0, 5.0, spread=0.75),  # 0.25, bin (2, 4]
        row('done', 0, 3.0, status='corrected', spread=3.0),
    )
    choice = choose(rows, EDGES_M, 99)
    assert [name for name, _ in choice.cards] == ['far2', 'middle', 'far3', 'near', 'far1', 'done']
    assert choice.cards[3] == ('near', 0) and choice.others == [('near', 1)]
    assert choose(rows, EDGES_M, 2).cards == choice.cards[:2] and not choose(rows, EDGES_M, 6).others


def test_without_a_spread_the_interval_counts_relative_to_the_distance():
    rows = rows_of(row('a', 0, 8.0, 0.0, 12.0), row('b', 0, 5.0, 1.0, 9.0))  # 4 / 8 and 4 / 5, in one bin
    assert [name for name, _ in choose(rows, EDGES_M, 9).cards] == ['b', 'a']


def test_near_animals_are_among_the_open_cards(tmp_path):
    rows = [row(f'far{i:02d}.mp4', 0, 9.0 + i / 100, 0.0, 20.0, spread=5.0) for i in range(60)]
    rows += [row(f'near{i}.mp4', 0, 1.0, 0.5, 1.5, spread=0.1) for i in range(3)]
    page = report(write_estimates(tmp_path, rows, [{'video_id': r['video_id']} for r in rows]))
    shown = [name for name, _ in page.sheet]
    assert len(shown) == 63 and {'near0.mp4', 'near1.mp4', 'near2.mp4'} <= set(shown[:24])
    assert '39 more clips' in page.text('summary')  # the folded ones


def test_other_seconds_of_the_clip_are_in_its_card(tmp_path):
    found = write_estimates(tmp_path, walks({'a.mp4': 9}, seed=3), [{'video_id': 'a.mp4'}])
    page = report(found, n_frames=4)
    assert len(page.all('figure')) == 1 and len(page.sheet) == 4
    assert '8 other seconds of this clip' in page.text('summary')  # cards.js adds those without a picture
    assert len(page.data['clips'][0]['t']) == 9


def test_bins_of_the_run_are_taken_over(tmp_path):
    found = write_estimates(tmp_path, [row('a', 0, 3.0)], [{'video_id': 'a'}], options={'cutpoints': [0, 2.5, 7]})
    assert 'seconds 0 2.5 0 0 0 2.5 7 1 0 1 ' in report(found).text('table') + ' '
    assert 'seconds 0 4 1 0 1 ' in report(found, cutpoints=[0, 4]).text('table') + ' '
    (tmp_path / 'options.json').write_text('{"cutpoints": [7, 0]}')
    with pytest.raises(ValueError, match='rising'):
        report(found)


@pytest.fixture(scope='module')
def grey_clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp('grey')
    write_clip(folder / 's1' / 'a.mp4', np.full((3, 48, 64, 3), 200, np.uint8), 1, options={'crf': '1'})
    return folder


@pytest.mark.parametrize(
    ('gamma', 'recipe', 'luma'),
    [
        # ffmpeg's eq at gamma 0.1: 255 * (Y / 255) ** 10. Grey 200 has the luma 16 + 200 * 219 / 255 = 188 in a video,
        # and 188 becomes 12, which is below black.
        ('True', 'full-a4p50-f7s1/fold_0', 0),
        ('False', 'full-a4p50-f7s1/fold_0', 200),
        ('', 'full-a4p50-f7s1/fold_0', 200),
        ('True', 'down-a4p50-f7s1/fold_0', 200),  # this stream is never corrected
    ],
)
def test_pictures_are_those_that_the_models_saw(tmp_path, grey_clip, gamma, recipe, luma):
    clips = [{'video_id': 's1/a.mp4', 'gamma': gamma}]
    found = write_estimates(
        tmp_path, [row('s1/a.mp4', 1, 3.0)], clips, {'members': [recipe]}, {'clips': str(grey_clip)}
    )
    (picture,) = pictures(report(found)).values()
    assert np.abs(picture.astype(int) - luma).max() <= 3


def test_known_distance_of_the_same_station(tmp_path, grey_clip):
    names = ['s1/a.mp4', 's1/b.mp4', 's2/c.mp4']
    rows = [row(name, 0, 5.0, 4.0, 6.0) for name in names]
    known = tmp_path / 'known.csv'
    known.write_text('video_id,time,distance\ns1/a.mp4,1,2\ns1/a.mp4,2,5.5\n')
    options = {'clips': str(grey_clip), 'calibrate': str(known)}
    found = write_estimates(tmp_path / 'out', rows, [{'video_id': name} for name in names], options=options)
    page = report(found)
    assert page.text('figure').count('To compare, the same station: 5.5 m in s1/a.mp4, second 2') == 2  # not for s2
    (found / 'corrections.csv').write_text('video_id,time,distance\ns1/a.mp4,0,5.1\n')
    text = report(found).text('figure')
    assert text.count('the same station: 5.1 m in s1/a.mp4, second 0') == 1  # for b; a itself is known now
    known.unlink()
    text = report(found).text()
    assert 'the same station: 5.1 m' in text
    assert f'Known distances are missing. There is no file {known}; run chimp-distance report in the folder' in text


def test_known_seconds_of_the_run_serve_without_their_table(tmp_path, grey_clip):
    rows = [row('s1/a.mp4', 0, 5.0), row('s1/a.mp4', 2, 6.5, status='known distance')]
    options = {'clips': str(grey_clip), 'calibrate': str(tmp_path / 'gone.csv')}
    page = report(write_estimates(tmp_path / 'out', rows, [{'video_id': 's1/a.mp4'}], options=options))
    assert page.text('figure').count('the same station: 6.5 m in s1/a.mp4, second 2') == 1
    assert page.sheet == [('s1/a.mp4', 0)] and page.data['typed'] == []  # no animal, and no correction


def test_words_of_ecologists(tmp_path):
    flagged = row('a', 0, 3.0, 2.0, 9.0, spread=0.52, flags='outside_training wide_spread', members=4)
    found = write_estimates(
        tmp_path, [flagged], [{'video_id': 'a'}], {'device': '2 x cpu', 'members': ['full-x/fold_0']}
    )
    page = report(found)
    assert 'models differ by 0.5 m beyond the training distances models disagree' in page.text('figure')
    shown = page.text().partition('How this was made')[0]  # the table at the end has all settings
    for word in ('cpu', 'member', 'fold_', 'conformal prediction', 'spread'):
        assert word not in shown.replace('wide_spread in distances.csv', '').replace('out-of-fold residuals', ''), word


def test_a_bound_of_zero_is_no_missing_interval(tmp_path):
    rows = [row('a', 0, 3.0, 0.0, 9.0, spread=0.5), row('a', 1, 4.0, 0.0, 9.0, spread=0.5)]
    (clip,) = report(write_estimates(tmp_path, rows, [{'video_id': 'a'}])).data['clips']
    assert clip['lo'] == [0, 0] and clip['hi'] == [9, 9] and 'c' not in clip


BANDS = [
    {'name': '0 to 2 m', 'n': 12, 'mae': 1.61, 'bias': 1.42},
    {'name': '2 to 4 m', 'n': 1040, 'mae': 1.2, 'bias': -0.26},
    {'name': '4 to 6 m', 'n': 9, 'mae': 0.9, 'bias': -0.04},
    {'name': '4 to <b>9', 'n': 0, 'mae': None, 'bias': None},
]


def test_errors_by_band(tmp_path):
    errors = {'mae_m': 2.13, 'bands': BANDS, 'warning': 'the bias at 0 to 2 m is <i>large'}
    found = write_estimates(tmp_path, [row('a', 0, 3.0)], [{'video_id': 'a'}], {'out_of_fold': errors})
    page = report(found)
    assert 'On training clips they had not seen, the models were wrong by 2.1 m on average.' in page.text('header')
    table = page.text('table')
    assert '0 to 2 m 12 1.6 m 1.4 m too far' in table and '2 to 4 m 1,040 1.2 m 0.3 m too near' in table
    assert '4 to 6 m 9 0.9 m right on average' in table
    assert 'Warning. The bias at 0 to 2 m is <i>large.' in page.text() and not page.all('i')


@pytest.mark.parametrize('summary', [{}, {'out_of_fold': {'mae_m': 2.1}}, {'out_of_fold': {}}, {'out_of_fold': None}])
def test_errors_may_be_absent(tmp_path, summary):
    page = report(write_estimates(tmp_path, [row('a', 0, 3.0)], [{'video_id': 'a'}], summary))
    assert ('wrong by 2.1 m on average' in page.text('header')) == (summary == {'out_of_fold': {'mae_m': 2.1}})
    assert not page.all('table', id='bands')


def test_banner_of_simulated_members(tmp_path):
    told = 'The models have seen simulated animals only.'
    assert told in report(write_estimates(tmp_path, [], [], {'simulated': True})).text('header')
    assert told not in report(write_estimates(tmp_path, [], [])).text()
