"""The arithmetic of the benchmarks: ratios, verdicts, the table, the fits. These tests measure nothing."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import end_to_end, scaling, suite, table, turns

ROOT = Path(__file__).resolve().parents[2]


def test_ratios_are_those_of_each_round():
    """Rounds of 2, 4 and 1.5 have the median 2; the ratio of the medians would be 6 / 2 = 3."""
    found = turns.ratio([1.0, 2.0, 4.0], [2.0, 8.0, 6.0])
    assert found == {'ratio': 2.0, 'range': [1.5, 4.0]}
    with pytest.raises(ValueError):
        turns.ratio([1.0], [1.0, 2.0])


def test_net_seconds_are_without_start_up():
    """Ours 7 - 5 = 2 and 9 - 5 = 4, theirs 30 - 10 = 20 and 40 - 10 = 30: ratios 10 and 7.5."""
    seconds = {
        ('ours', 'start'): [5.0, 5.0],
        ('ours', 'whole'): [7.0, 9.0],
        ('published', 'start'): [9.0, 11.0],
        ('published', 'whole'): [30.0, 40.0],
    }
    row = end_to_end.net_ratio(seconds)
    assert row['ratio'] == 8.75 and row['range'] == [7.5, 10.0]
    assert row['whole'] == (10 + 25) / (5 + 3)
    assert row['whole_range'] == [(10 + 20) / (5 + 2), (10 + 30) / (5 + 4)]
    assert (row['ours_net_s'], row['published_net_s'], row['published_start_s']) == (3.0, 25.0, 10.0)


def test_our_work_may_be_several_times_as_much():
    """Three clips in 11 - 5 = 6 s are one clip in 2 s. The other way takes 20 s for one."""
    seconds = {('ours', 'start'): [5.0], ('ours', 'whole'): [11.0]}
    seconds |= {('published', 'start'): [10.0], ('published', 'whole'): [30.0]}
    row = end_to_end.net_ratio(seconds, times_ours=3)
    assert row['ratio'] == 10.0 and row['whole'] == 30 / 7


@pytest.mark.parametrize('starts,whole', [([5.0], 5.1), ([5.0, 7.0], 8.0), ([5.0], 4.0)])
def test_work_as_short_as_the_variation_of_start_up_gives_no_ratio(starts, whole):
    seconds = {('ours', 'start'): starts, ('ours', 'whole'): [whole] * len(starts)}
    seconds |= {('published', 'start'): [9.0] * len(starts), ('published', 'whole'): [90.0] * len(starts)}
    with pytest.raises(RuntimeError, match='ours: .* too short to compare'):
        end_to_end.net_ratio(seconds)


@pytest.mark.parametrize(
    'row,expected',
    [
        ({'value': 2.0, 'goal': 2.0}, True),
        ({'value': 1.99, 'goal': 2.0}, False),
        ({'value': 7.9, 'goal': 8, 'less_is_better': True}, True),
        ({'value': 8.1, 'goal': 8, 'less_is_better': True}, False),
        ({'value': 1.0, 'goal': None}, None),
    ],
)
def test_verdicts(row, expected):
    assert table.reached(row) is expected


def test_the_table_has_figures_goals_and_failures():
    rows = [
        {'work': 'w', 'against': 'p', 'value': 1.5, 'range': [1.25, 2], 'unit': ' x', 'goal': 2.0, 'note': 'n'},
        {
            'work': 's',
            'against': '-',
            'value': 6.5,
            'range': [6, 7],
            'unit': ' s',
            'goal': 8,
            'less_is_better': True,
            'date': '2026-01-02',
        },
        {'work': 'v', 'against': 'q', 'failed': 'q: openvino | is not installed'},
    ]
    assert table.rows_text(rows).splitlines()[2:] == [
        '| w | p | 1.50 x (1.25 to 2.00) | at least 2 x | **no** |  | n |',
        '| s | - | 6.50 s (6.00 to 7.00) | below 8 s | yes | 2026-01-02 |  |',
        '| v | q | not measured |  |  |  | q: openvino / is not installed |',
    ]


def test_only_the_text_between_the_marks_is_replaced():
    marks = '<!-- table: written by the command, do not edit -->', '<!-- end of table -->'
    page = f'before\n{marks[0]}\nold\n{marks[1]}\nafter\n'
    new = table.replace_section(page, 'table', 'new')
    assert new == f'before\n{marks[0]}\nnew\n{marks[1]}\nafter\n'
    assert table.replace_section(new, 'table', 'old') == page
    for broken in (page.replace(marks[1], ''), page + page, '\n'.join(marks[::-1])):
        with pytest.raises(ValueError, match='the page needs one line'):
            table.replace_section(broken, 'table', 'new')


def test_the_page_has_its_marks():
    page = (ROOT / 'docs' / 'performance.md').read_text()
    for name in ('table', 'growth'):
        assert 'x y z' in table.replace_section(page, name, 'x y z')


def test_a_missing_side_is_named_and_the_other_rows_are_kept():
    run = turns.Race({'ours': [1.0, 2.0], 'Keras': [2.0, 2.0]}, {}, ['ONNX Runtime: onnxruntime is not installed'])
    row = suite.ratio_row(run, 'work', 'ours', 'Keras', 2.0, n=10)
    assert row['value'] == 1.5 and row['range'] == [1.0, 2.0]
    assert row['note'] == '6.7 and 5.0 frames/s, 2 rounds'  # 10 frames in the median of 1 and 2 s, and in 2 s
    row = suite.ratio_row(run, 'work', 'ours', 'ONNX Runtime', 1.0, n=10)
    assert row['failed'] == 'ONNX Runtime: onnxruntime is not installed'


@pytest.mark.parametrize(
    ('ours_s', 'file_s', 'error', 'fastest', 'text'),
    [(1.0, 2.0, 0.0, 0, 'no bfloat16'), (4.0, 2.0, 0.012, 1, 'error 1.2e-02 of')],
)
def test_the_fastest_mode_has_the_goal(ours_s, file_s, error, fastest, text):
    seconds = {'ours': [ours_s], 'OpenVINO bf16': [file_s], 'OpenVINO bf16, from Keras': [3.0]}
    rows = suite.fastest_mode(turns.Race(seconds, {'OpenVINO bf16': {'error': error}}, []), n=6)
    assert [row['value'] for row in rows] == [3 / ours_s, 3 / file_s]
    assert [row['goal'] for row in rows] == [1.0 if k == fastest else None for k in range(2)]
    assert text in rows[1]['note'] and rows[fastest]['work'].endswith('the fastest mode')


def test_without_openvino_its_rows_say_so():
    run = turns.Race({'ours': [1.0]}, {}, ['OpenVINO bf16, from Keras: openvino is not installed'])
    rows = suite.fastest_mode(run, n=6)
    assert [row['failed'] for row in rows] == run.absent * 2


def test_the_seconds_per_frame_by_hand():
    """Turns of 2, 4 and 3 s for 10 frames: 0.3 s per frame, between 0.2 and 0.4 s."""
    run = turns.Race({'ours': [2.0, 4.0, 3.0]}, {}, [])
    row = suite.seconds_row(run, 'work', 'ours', 0.25, n=10)
    assert row['value'] == 0.3 and row['range'] == [0.2, 0.4] and table.reached(row) is False
    run = turns.Race({}, {}, ['ours ended: error'])
    assert suite.seconds_row(run, 'work', 'ours', 0.25, n=10)['failed'] == 'ours ended: error'


def test_rows_tell_of_other_work_on_the_machine():
    text = '**not alone**: at the start other programs took 85 % of the processor'
    rows = suite.beside([FINE, FINE | {'note': '9 rounds'}], 85.2)
    assert [row['note'] for row in rows] == [text, f'9 rounds; {text}']
    assert suite.beside([FINE], 9.0) == [FINE]


FINE = {'work': 'w', 'against': 'p', 'value': 1, 'range': [1, 1], 'unit': ' x', 'goal': None}

OTHER = {'cpu': 'X', 'cores': 3, 'instructions': ['avx2'], 'memory_gb': 9, 'system': 'S', 'versions': {'numpy': '1'}}


@pytest.fixture
def suite_of(monkeypatch, tmp_path):
    """Returns a function that runs the suite with given parts in an empty folder, and one that reads results.json."""
    monkeypatch.setattr(suite, 'RESULTS', tmp_path / 'results.json')
    monkeypatch.setattr(suite, 'PAGE', tmp_path / 'page.md')
    monkeypatch.setattr(suite, 'others_percent', lambda: 0.0)
    suite.PAGE.write_text('<!-- table: written by the command, do not edit -->\n<!-- end of table -->\n')

    def run(parts, *arguments):
        monkeypatch.setattr(suite, 'PARTS', parts)
        monkeypatch.setattr('sys.argv', ['suite', *arguments])
        suite.main()

    return run, lambda: json.loads(suite.RESULTS.read_text())


def raises(error):
    def part(scratch, quick):
        raise error

    return part


def test_a_failed_part_does_not_stop_the_others_and_older_rows_are_kept(suite_of):
    run, results = suite_of
    suite.RESULTS.write_text(json.dumps({'machines': {'c': OTHER}, 'parts': {'c': [FINE | {'date': '2026-01-02'}]}}))
    fails = raises(RuntimeError('no clips'))
    run({'a': fails, 'b': lambda scratch, quick: [FINE], 'c': fails}, '--only', 'a', 'b')
    parts = results()['parts']
    assert parts['a'][0]['failed'] == 'RuntimeError: no clips' and parts['c'] == [FINE | {'date': '2026-01-02'}]
    (row,) = parts['b']
    here = table.machine()
    assert row.items() >= FINE.items() and row['reached'] is None and f'cores of {here["cpu"]} (' in row['machine']
    assert '2026-01-02' < parts['a'][0]['date'] == row['date']
    assert results()['machines'] == {'c': OTHER, 'a': table.machine(), 'b': table.machine()}
    assert '\n- c: 3 cores of X (avx2), 9 GB; S. numpy 1.\n- a, b: ' in suite.PAGE.read_text()
    assert suite.PAGE.read_text().count('| w | p | 1.00 x') == 2 and 'no clips' in suite.PAGE.read_text()


def test_an_interrupted_run_keeps_its_measured_parts(suite_of):
    run, results = suite_of
    with pytest.raises(KeyboardInterrupt):
        run({'a': lambda scratch, quick: [FINE], 'b': raises(KeyboardInterrupt())})
    assert list(results()['parts']) == ['a'] and '| w | p | 1.00 x' in suite.PAGE.read_text()


def test_sides_take_turns_and_a_broken_one_is_named():
    sides = [
        turns.Side('quick', 'turns', 'Side', {}, ('no_such_package',)),
        turns.Side('broken', 'table', 'no_such_function'),
    ]
    run = turns.race(sides, 2)
    assert run.seconds == {}
    assert run.absent[0] == 'quick: no_such_package is not installed'
    assert run.absent[1].startswith('broken ended: ') and 'no_such_function' in run.absent[1]


def test_powers_of_growth_by_hand():
    assert scaling.power([1, 10, 100], [3, 30, 300]) == pytest.approx(1)
    assert scaling.power([1, 4, 16], [5, 10, 20]) == pytest.approx(0.5)
    rows = [{'count': count, 'seconds': 2 + 0.5 * count, 'mb': 700.0} for count in (10, 20, 40)]
    assert scaling.fit(rows, 2.0) == pytest.approx({'seconds_power': 1, 'memory_power': 0, 'one_more_s': 0.5}, abs=1e-9)


def test_the_fit_skips_counts_within_start_up():
    rows = [{'count': n, 'seconds': s, 'mb': 700.0} for n, s in ((1, 1.9), (10, 3.0), (20, 4.0))]
    assert scaling.fit(rows, 2.0)['seconds_power'] == pytest.approx(1)  # 1 s and 2 s above start-up
    assert scaling.fit(rows[:2], 2.0)['seconds_power'] != scaling.fit(rows[:2], 2.0)['seconds_power']  # NaN


def test_the_estimate_is_called_an_estimate():
    """100,000 clips of 3.6 s take 100 h, on 10 machines 10 h."""
    text = scaling.cost_text(3.6, {'clips': {'seconds_power': 1.0}})
    assert text.startswith('**Estimate**') and '100 h on this machine' in text and '10 machines 10.0 h' in text


@pytest.mark.parametrize('module', ['suite', 'our_side', 'published_way'])
def test_modules_start(module):
    done = subprocess.run(
        [sys.executable, '-m', f'bench.{module}', '--help'], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 'usage' in done.stdout


def test_every_name_that_the_benchmarks_use_of_the_project_exists():
    """Other tests run few of the scripts. This one reads all of them: `from module import name` and `module.name`."""
    missing = []
    for path in sorted((ROOT / 'bench').glob('*.py')):
        tree, imported = ast.parse(path.read_text()), {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.split('.')[0] in PROJECT:
                for alias in node.names:
                    inner = f'{node.module}.{alias.name}'
                    if module_file(inner):
                        imported[alias.asname or alias.name] = inner
                    elif alias.name not in names_in(module_file(node.module)):
                        missing.append(f'{path.name}: {inner}')
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in imported:
                module = imported[node.value.id]
                if node.attr not in names_in(module_file(module)):
                    missing.append(f'{path.name}:{node.lineno}: {module}.{node.attr}')
    assert missing == []


PROJECT = ('bench', 'chimp_jax', 'configs', 'data_prep')


def module_file(name: str) -> Path | None:
    stem = ROOT.joinpath(*name.split('.'))
    return next((path for path in (stem.with_suffix('.py'), stem / '__init__.py') if path.exists()), None)


def names_in(path: Path) -> set[str]:
    """The names that a module defines or imports at its top level."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names
