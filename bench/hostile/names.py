"""Names of clips and folders that are formulas, markup or code: in tables, in the page and in distance.R."""

import csv
import re
import subprocess
from pathlib import Path

from bench.hostile.clips import PICTURES
from bench.hostile.commands import Case, run_cases
from bench.hostile.records import write_members
from bench.hostile.sandbox import Sandbox

NAMES = (
    "=cmd|' /C calc'!A0.mp4",
    '@SUM(1+1).mp4',
    '<img src=x onerror=alert(1)>.mp4',
    "s'); system('touch hostile'); ('/a\"b'c.mp4",
    '</script><script>alert(2)<!--/a.mp4',
    '{{7*7}}${7*7}/`id`$(id).mp4',
    'new\nline/a.mp4',
)
STATION = "s'); system('touch hostile'); ('"


def run_names(sandbox: Sandbox, ffmpeg: str) -> dict:
    """Runs estimate and report over clips with such names. Returns counts and faults."""
    clips, out = sandbox.folder / 'clips', sandbox.folder / 'out'
    _write_clips(ffmpeg, clips)
    deployments = _write_deployments(sandbox.folder / 'deployments.csv')
    runs = write_members(sandbox)
    survey = [
        '--format',
        'distance',
        '--deployments',
        str(deployments),
        '--snapshot',
        '2',
        '--theta',
        '42',
        '--every_second_has_an_animal',
        '--every',
        '2',
    ]
    estimate = ['estimate', str(clips), '--members', str(runs), '--out', str(out), '--weights', 'mean', *survey]
    rows = run_cases(sandbox, [Case('estimate', estimate), Case('report', ['report', str(out)])])
    faults = [f'{row["name"]}: {fault}' for row in rows for fault in row['faults']]
    faults += [f'{row["name"]}: refused: {row["printed"][-300:]}' for row in rows if row['code'] not in (0, 3)]
    return {'files': len(NAMES), 'faults': faults + _faults_of(out, rows)}


def _write_clips(ffmpeg: str, clips: Path) -> None:
    for name in NAMES:
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        command = [ffmpeg, '-v', 'error', '-y', '-f', 'lavfi', '-i', PICTURES, '-t', '3', '-c:v', 'mpeg4', '-f', 'mp4']
        subprocess.run([*command, f'file:{clips / name}'], check=True)


def _write_deployments(path: Path) -> Path:
    columns = ('station', 'folder', 'region', 'area_km2', 'start', 'end')
    cells = (STATION, '.', '=1+1', '12.5', '2024-03-01T08:00:00Z', '2024-03-11T08:00:00Z')
    with path.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([columns, cells])
    return path


def _faults_of(out: Path, rows: list[dict]) -> list[str]:
    """Returns what is wrong with the tables, the page and the script."""
    faults = []
    for path in out.rglob('*.csv'):
        with path.open(newline='', encoding='utf-8') as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        formulas = {cell for cell in cells if re.match(r'[=@]|[+-][^\d.]', cell)}
        if formulas and not any('formula' in row['printed'] for row in rows):
            faults.append(f'{path.name}: has the formulas {sorted(formulas)}, of which nothing was told')
    page = next(out.glob('*.html'), None)
    if page is None:
        return [*faults, 'there is no page']
    text = page.read_text(encoding='utf-8')
    for markup in ('<script>alert', '<img src=x', '<!--/a.mp4'):
        if markup in text:
            faults.append(f'{page.name}: holds {markup}')
    script = next(out.rglob('*.R'), None)
    if script is None:
        faults.append('there is no script for R')
    elif 'system(' in script.read_text(encoding='utf-8'):
        faults.append(f'{script.name}: holds the name of a clip')
    return faults
