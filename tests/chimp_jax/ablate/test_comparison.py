"""The table, by hand, from members whose files are written here; and the page and lines that show it."""

import csv
import html.parser
import io

import numpy as np
import pandas as pd
import pytest
from made_ablation import LABELS, write_member

from chimp_jax.ablate import report
from chimp_jax.ablate.comparison import Scored, comparison_table
from chimp_jax.ablate.study import BASE, make_study, read_config_file
from chimp_jax.ensemble.prediction_tables import KEY
from configs import ablations, ablations_demo, base
from configs.variants import Variant


def config(records: str = 'data'):
    config = base.get_config('full-a4p50-f7s1')
    config.data.update(records=records, n_folds=2, folds='site')
    return config


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    """Two seeds of the base (+1 m, +2 m), of a variant that is always 0.5 m better, and one that is unfinished."""
    variants = {
        'frames': Variant('Nine?', {'data.n_frames': 9}),
        'mixed': Variant('<b>Mixed?</b>', {'model.temporal': 'mean'}),
        'late': Variant('Late?', {'train.epochs': 30}),
        'gamma_off': Variant('Gamma?', build='gamma=never'),
    }
    folder = tmp_path_factory.mktemp('ablation')
    (folder / 'data').mkdir()
    (folder / 'data' / 'folds.csv').write_text('')
    study = make_study(config(str(folder / 'data')), variants, [], 2, folder / 'runs')
    for seed in range(2):
        for fold in range(2):
            write_member(study, BASE, seed, fold, 1.0 + seed)
            write_member(study, 'frames', seed, fold, 0.5 + seed)
            # On the clips of site s1 it is 1 m worse than the base, on the others 1 m better.
            error_m = {clip: 1 + seed + (1 if clip in ('a.mp4', 'b.mp4') else -1) for clip in LABELS}
            write_member(study, 'mixed', seed, fold, 1.0, error_m.get)
    write_member(study, 'late', 0, 0, 0.0)
    return study


@pytest.fixture(scope='module')
def result(study):
    lines, complete = report.write_result(study)
    return lines, complete, pd.read_csv(study.workdir / 'ablation.csv').set_index(['variant', 'band'])


def test_errors_by_hand(result):
    table = result[2]
    base_row = table.loc['base', 'all']
    assert (base_row['rows'], base_row['sites'], base_row['seeds']) == (8, 3, 2)
    assert base_row['mae_m'] == pytest.approx(1.5)  # of seeds 1 m and 2 m
    assert base_row['rmse_m'] == pytest.approx(np.sqrt((1 + 4) / 2), rel=1e-5)
    assert base_row['bias_m'] == pytest.approx(1.5)
    assert np.isnan(base_row['difference_m'])
    bands = table.loc['base'].drop('all')
    assert bands['rows'].to_dict() == {'0-2': 3, '2-4': 2, '4-6': 1, '9-13': 2}
    assert (base_row['epoch_s'], base_row['member_s'], base_row['memory_mb']) == (2.0, 6.0, 200)


def test_a_variant_that_is_always_better_has_an_interval_of_no_width(result):
    row = result[2].loc['frames', 'all']
    np.testing.assert_allclose(row[['difference_m', 'lower_m', 'upper_m']].astype(float), -0.5, atol=1e-6)
    assert row['verdict'] == 'better'


def test_a_variant_that_depends_on_the_site_is_not_distinguishable(result):
    """Half of the rows are 1 m worse, half 1 m better."""
    row = result[2].loc['mixed', 'all']
    assert row['difference_m'] == pytest.approx(0.0, abs=1e-6)
    assert row['lower_m'] < -0.5 and row['upper_m'] > 0.5
    assert row['verdict'] == 'not distinguishable'
    assert result[2].loc[('mixed', '9-13'), 'difference_m'] == pytest.approx(0.0, abs=1e-6)  # b worse, c better
    assert np.isnan(result[2].loc[('mixed', '4-6'), 'lower_m'])  # one site
    assert 'one site' in result[2].loc[('mixed', '4-6'), 'note']


def test_a_change_without_effect_is_told():
    keys = pd.MultiIndex.from_tuples([(clip, 0, '') for clip in 'abc'], names=KEY)
    error_m, labels = np.array([[1.0, -2.0, 0.5], [1.0, 1.0, 1.0]]), pd.Series([1.0, 1.5, 1.7], keys)
    scored = {name: Scored(error_m + more, labels) for name, more in ((BASE, 0.0), ('same', 0.0), ('other', 1e-6))}
    table, _ = comparison_table(scored, np.array(['s1', 's2', 's3']), dict.fromkeys(scored, (1.0, 1.0, 1.0)))
    note = table[table['band'] == 'all'].set_index('variant')['note']
    assert 'no effect on these clips' in note['same'] and not note['other']


def test_what_is_missing_is_told(result):
    lines, complete, table = result
    assert not complete and 'late' not in table.index and 'gamma_off' not in table.index
    text = '\n'.join(lines)
    assert 'late has 3 parts left; run the command again' in text
    assert '--gamma=never' in text and 'data-gamma-never' in text
    assert 'frames: better, -0.500 m' in text and 'mixed: not distinguishable' in text


def test_one_line_a_variant(result):
    for name in ('frames', 'mixed'):
        assert sum(line.startswith(f'{name}: ') for line in result[0]) == 1


class Page(html.parser.HTMLParser):
    """Tags that are opened and not closed, addresses, and the text."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.addresses, self.text = [], [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ('href', 'src')]
        if tag not in ('meta', 'br', 'link', 'img'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ('href', 'src')]

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_needs_no_network_and_shows_the_table(study, result):
    text = (study.workdir / 'ablation.html').read_text()
    page = Page(text)
    assert page.open == [] and page.addresses == ['#main']
    assert '−0.50' in page.text and '3 sites' in page.text and 'Simulated clips.' in page.text
    assert '<b>Mixed' not in text and '&lt;b&gt;Mixed' in text
    assert text.count('<circle') == 4  # two variants, wide and narrow
    assert 'late has 3 parts left' in page.text
    for line in result[0][1:3]:
        assert line.partition(':')[0] in page.text


def test_the_table_is_csv_with_one_header(study, result):
    rows = list(csv.reader(io.StringIO((study.workdir / 'ablation.csv').read_text())))
    assert rows[0][:3] == ['variant', 'band', 'rows'] and {len(row) for row in rows} == {len(rows[0])}


def test_a_variant_of_other_labels_is_left_out(study, result, tmp_path):
    other = make_study(study.base, {'frames': study.variants['frames']}, [], 1, tmp_path)
    for fold in range(2):
        write_member(other, BASE, 0, fold, 1.0)
        write_member(other, 'frames', 0, fold, 0.5)
    path = other.folders('frames')[0] / 'fold_0' / 'oof.csv'
    path.write_text(path.read_text().replace('a.mp4,0,1.0', 'a.mp4,0,1.25'))
    lines, complete = report.write_result(other)
    assert not complete and 'frames cannot be compared' in '\n'.join(lines) and 'a.mp4 at 0 s' in '\n'.join(lines)


def test_one_seed_is_told(study, tmp_path):
    one = make_study(study.base, {'frames': study.variants['frames']}, [], 1, tmp_path)
    for fold in range(2):
        write_member(one, BASE, 0, fold, 1.0)
        write_member(one, 'frames', 0, fold, 0.5)
    lines, complete = report.write_result(one)
    assert complete and 'one seed' in lines[1]
    page = (tmp_path / 'ablation.html').read_text()
    assert '<svg' in page and 'No variant is finished' not in page and 'about 0.05 would be called' in page
    report.write_result(one._replace(variants={}))
    page = (tmp_path / 'ablation.html').read_text()
    assert '<svg' not in page and 'No variant is finished' in page and 'would be called' not in page


def test_without_the_base_nothing_is_compared(study, tmp_path):
    with pytest.raises(ValueError, match='the base has 6 parts left'):
        report.write_result(study._replace(workdir=tmp_path, n_seeds=3))


def test_seeds_of_members_are_all_different(study):
    seeds = [study.config(BASE, seed).seed + fold for seed in range(4) for fold in range(2)]
    assert sorted(set(seeds)) == list(range(8))


def test_what_does_not_fit_is_refused(study, tmp_path):
    with pytest.raises(ValueError, match='--only=frame: there is no such variant; there are frames'):
        make_study(study.base, study.variants, ['frame'], 1, tmp_path)
    with pytest.raises(ValueError, match='--seeds=0'):
        make_study(study.base, study.variants, [], 0, tmp_path)
    with pytest.raises(ValueError, match='variant typo: .*n_frame'):
        make_study(study.base, {'typo': Variant('?', {'data.n_frame': 9})}, [], 1, tmp_path)
    changed = study.variants | {'frames': Variant('Eleven?', {'data.n_frames': 11})}
    with pytest.raises(ValueError, match='data.n_frames'):
        make_study(study.base, changed, [], 2, study.workdir)


@pytest.mark.parametrize('module', [ablations, ablations_demo])
def test_the_shipped_variants_change_fields_that_exist(module, tmp_path):
    shipped = make_study(*read_config_file(f'{module.__file__}:down-a1p80-f9s2'), [], 1, tmp_path)
    assert shipped.base.recipe == 'down-a1p80-f9s2'
    shipped = make_study(*read_config_file(module.__file__), [], 1, tmp_path)
    for name, variant in shipped.variants.items():
        assert variant.question.endswith(('?', '.')) and (variant.changes or variant.tta or variant.build)
        for field, value in variant.changes.items():
            section, leaf = field.split('.')
            assert shipped.base[section][leaf] != value, f'{name} changes nothing'


def test_a_file_without_variants_is_refused(tmp_path):
    with pytest.raises(ValueError, match='there is no Python file nothing.py'):
        read_config_file('nothing.py')
    with pytest.raises(ValueError, match='has no VARIANTS'):
        read_config_file(base.__file__.replace('base', 'demo'))
