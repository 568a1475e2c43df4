"""Errors in one line for people."""

import pytest

from data_prep.files import failure_line


@pytest.mark.parametrize(
    'error, line',
    [
        (FileNotFoundError(2, 'No such file or directory', 'a.csv'), 'a.csv: No such file or directory'),
        (OSError(28, 'No space left on device'), 'No space left on device'),
        (OSError('a text alone'), 'a text alone'),
        (ValueError('two\n   lines'), 'two lines'),
        (EOFError(), 'EOFError'),
    ],
)
def test_an_error_is_one_line(error, line):
    assert failure_line(error) == line


def test_both_files_of_a_failed_rename_are_named(tmp_path):
    with pytest.raises(OSError) as caught:
        (tmp_path / 'gone').rename(tmp_path / 'new')
    assert failure_line(caught.value) == f'{tmp_path}/gone and {tmp_path}/new: No such file or directory'
