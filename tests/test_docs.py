"""docs/fidelity.md names code and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = {path.stem: path for path in (ROOT / 'tests').rglob('test_*.py')}
TEXT = (ROOT / 'docs' / 'fidelity.md').read_text()


def test_every_test_that_fidelity_names_exists():
    named = set(re.findall(r'`(test_\w+)::(\w+)`', TEXT)) - {('test_x', 'name')}
    assert len(named) > 50
    missing = [
        f'{file}::{name}'
        for file, name in sorted(named)
        if not re.search(rf'^def test_{name}\(', TESTS[file].read_text(), re.MULTILINE)
    ]
    assert not missing


def test_every_file_that_fidelity_names_exists():
    named = set(re.findall(r'\b([a-z_0-9]+/[a-z_0-9/]+\.py)\b', TEXT))
    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == ['tests/test_x.py']
