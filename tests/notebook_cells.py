"""Runs the code cells of a notebook without Jupyter, in this process: python tests/notebook_cells.py docs/demo.ipynb

The command runs a notebook from the repository's root and saves its outputs in it, as Jupyter does.
"""

import ast
import base64
import contextlib
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH_PX = 900  # of a picture that is saved in a notebook


def run_cells(notebook: dict, replaced: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns what each code cell printed, and the value of its last line (None unless that is an expression).

    replaced: variables that get these values in place of what the cell tagged `parameters` assigns.
    """
    names: dict[str, Any] = {}
    results = []
    for cell in notebook['cells']:
        if cell['cell_type'] != 'code':
            continue
        body = ast.parse(''.join(cell['source'])).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(ast.Module(body, []), 'cell', 'exec'), names)
            value = eval(compile(ast.Expression(last.value), 'cell', 'eval'), names) if last else None
        if 'parameters' in cell.get('metadata', {}).get('tags', ()):
            assert replaced.keys() <= names.keys()
            names.update(replaced)
        results.append((printed.getvalue(), value))
    return results


def outputs(printed: str, value: Any, number: int) -> list[dict]:
    """Returns the outputs of a cell in the form of nbformat 4."""
    found = []
    if printed:
        found.append({'output_type': 'stream', 'name': 'stdout', 'text': printed.splitlines(keepends=True)})
    if value is not None:
        data = {'text/plain': repr(value).splitlines(keepends=True)}
        if isinstance(value, Image.Image):
            picture, file = value.convert('RGB'), io.BytesIO()
            picture.thumbnail((WIDTH_PX, WIDTH_PX))
            picture.save(file, 'JPEG', quality=80)
            data = {'image/jpeg': base64.b64encode(file.getvalue()).decode(), 'text/plain': ['the picture']}
        elif hasattr(value, '_repr_html_'):
            data['text/html'] = value._repr_html_().splitlines(keepends=True)
        found.append({'output_type': 'execute_result', 'execution_count': number, 'metadata': {}, 'data': data})
    return found


def main() -> None:
    path = Path(sys.argv[1])
    notebook = json.loads(path.read_text())
    results = run_cells(notebook, {})
    cells = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
    for number, (cell, result) in enumerate(zip(cells, results, strict=True), 1):
        cell |= {'execution_count': number, 'outputs': outputs(*result, number)}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + '\n')


if __name__ == '__main__':
    main()
