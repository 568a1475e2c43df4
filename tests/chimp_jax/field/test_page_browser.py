"""The page in a browser: its script runs, and every typed value is in corrections.csv. Skipped without Chromium."""

import html
import json
import re
import shutil
import subprocess

import pytest
from make_clips import numbered_frames, write_clip
from make_estimates import write_estimates
from test_page import row

from chimp_jax.field.page.page import write_report

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)

# Another page opens the report in a frame, acts as a person would, and notes what there is to see.
ACT = """<iframe id=frame src="PAGE" style="width:390px;height:800px"></iframe><pre id=noted></pre><script>
const wait = ms => new Promise(done => setTimeout(done, ms));
frame.onload = async () => {
  const page = frame.contentDocument, view = frame.contentWindow, note = {};
  page.querySelectorAll('details').forEach(part => { part.open = true; });
  await wait(200);
  const fields = [...page.querySelectorAll('input[data-time]')];
  note.fields = fields.length;
  fields.forEach((field, i) => {
    field.value = i + ',5';
    field.dispatchEvent(new view.Event('input', {bubbles: true}));
  });
  note.keys = fields.map((field, i) => [field.dataset.clip, field.dataset.time, i + '.5']);
  note.csv = page.getElementById('csv').value;
  note.bar = !page.getElementById('bar').hidden;
  page.querySelector('button.picture').click();
  const dialog = page.querySelector('dialog');
  note.enlarged = dialog.open && dialog.querySelectorAll('img').length === 1;
  dialog.click();
  note.closed = !dialog.open;
  note.charts = page.querySelectorAll('.chart').length;
  noted.textContent = JSON.stringify(note);
};
</script>"""


@pytest.mark.skipif(BROWSER is None, reason='there is no Chromium')
def test_every_typed_value_is_saved_and_a_picture_is_enlarged(tmp_path):
    names = [f's/{i:02d} "x".mp4' for i in range(26)]  # two cards are folded
    for name in names[:2]:
        write_clip(tmp_path / 'clips' / name, numbered_frames(4, 48, 64), 1)
    rows = [row(name, t, 3.0 + t, 0.0, 9.0, spread=1.0) for name in names for t in (0, 3)]
    clips = [{'video_id': name, 'duration_s': 4} for name in names]
    write_estimates(tmp_path / 'out', rows, clips, options={'clips': str(tmp_path / 'clips')})
    act = tmp_path / 'act.html'
    act.write_text(ACT.replace('PAGE', write_report(tmp_path / 'out', n_frames=30).as_uri()))
    flags = [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--allow-file-access-from-files',
        f'--user-data-dir={tmp_path}/u',
    ]
    command = [BROWSER, *flags, '--virtual-time-budget=5000', '--dump-dom', act.as_uri()]
    dump = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    note = json.loads(html.unescape(re.search('<pre id="noted">(.*?)</pre>', dump, re.DOTALL)[1]))
    assert note['fields'] == 52 and note['charts'] == 12 and note['bar']
    assert note['enlarged'] and note['closed']
    quoted = {(name, str(t)): '"' + name.replace('"', '""') + f'",{t}' for name in names for t in (0, 3)}
    expected = {f'{quoted[clip, time]},{metres}' for clip, time, metres in note['keys']}
    assert set(note['csv'].strip().split('\n')[1:]) == expected and len(expected) == 52
